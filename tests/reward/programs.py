"""Programs in and around the dialect, drawn at random: what the fuzzers of the sandbox feed it.

Everything is drawn from one `random.Random`, so that hypothesis can put its own in its place (and
shrink what it finds), and a benchmark a seeded one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from rewardsmith.reward import allowed, dialect
from tests.reward import fragments
from tests.reward.bombs import bomb
from tests.reward.fragments import indented, seeds
from tests.reward.mutations import mutated, scrambled

NUMPY = sorted(allowed.NUMPY_FUNCTIONS | allowed.NUMPY_TYPES)
MATH = sorted(allowed.MATH_FUNCTIONS)
BUILTINS = sorted(allowed.BUILTIN_FUNCTIONS)
METHODS = sorted(allowed.METHODS)
KEYWORDS = sorted(allowed.NUMPY_KEYWORDS) + ["out", "where", "casting", "subok", "like", "key"]
OPERATORS = ("+", "-", "*", "/", "//", "%", "**", "@", "&", "|", "^", "<<")
COMPARISONS = ("<", ">", "==", "!=", "in", "not in", "is", "and", "or")


@dataclass(frozen=True)
class Program:
    """A source, and how it was made."""

    kind: str
    source: str


@cache
def inside(pool: Sequence[str], frame: str) -> tuple[str, ...]:
    """Those pieces that the dialect accepts when they stand in a frame."""
    return tuple(
        piece
        for piece in pool
        if _accepted(
            frame.replace("PIECE", piece.replace("\n", "\n    " if "    PIECE" in frame else "\n"))
        )
    )


def _accepted(source: str) -> bool:
    try:
        dialect.parse(source)
    except dialect.Violation:
        return False
    return True


def program(rng: Random) -> Program:
    """Draw one."""
    kind = rng.choice(["inside"] * 4 + ["around"] * 4 + ["mutant"] * 5 + ["text"] * 2 + ["bomb"])
    if kind in ("inside", "around"):
        return Program(kind, Writer(rng, strict=kind == "inside").source())
    if kind == "mutant":
        return Program(kind, mutated(rng, rng.choice(seeds())))
    if kind == "bomb":
        return Program(kind, bomb(rng))
    start = rng.choice(seeds()) if rng.random() < 0.5 else Writer(rng, strict=True).source()
    return Program(kind, scrambled(rng, start))


def hostile(rng: Random) -> Program:
    """Draw one that is meant for a process without a dialect: it says what it wants plainly."""
    writer = Writer(rng, strict=False)
    writer.extra = fragments.HOSTILE
    return Program("hostile", writer.source())


class Writer:
    """Writes one program by a grammar."""

    def __init__(self, rng: Random, *, strict: bool) -> None:
        """Take the source of chance.

        Args:
            rng: it.
            strict: stay within what the dialect is likely to accept, with odd values.
        """
        self.rng = rng
        self.strict = strict
        self.extra = self.pool(fragments.STATEMENTS, _FRAME)
        self.values = self.pool(fragments.FORBIDDEN, _VALUE)
        self.scalars = self.pool(fragments.SCALARS, _VALUE)
        self.shapes = self.pool(fragments.SHAPES, _VALUE)
        self.types = self.pool(
            fragments.DTYPES, _VALUE.replace("PIECE", "np.zeros(1, dtype=PIECE)")
        )
        self.arrays: Sequence[str] = ("x", "y", "i")
        self.helpers: list[str] = []
        self.depth = 0

    def pool(self, pieces: tuple[str, ...], frame: str) -> Sequence[str]:
        """All pieces, or those that the dialect accepts."""
        return inside(pieces, frame) if self.strict else pieces

    def source(self) -> str:
        """The whole program."""
        rng = self.rng
        parts = ["CONSTANT = 1.0\nTABLE = (1.0, 2.0)"]
        if rng.random() < 0.4:
            frame = "PIECE\ndef compute_reward(state, action, next_state):\n    return action, {}"
            parts.append(rng.choice(self.pool(fragments.TOP, frame)))
        for name in rng.sample(fragments.HELPERS, rng.choice([0, 0, 1, 1, 2])):
            default = rng.choice(["", "=1", "=None", "=(1, 2)"])
            default = default if self.strict or rng.random() < 0.8 else "=" + self.value()
            inner = indented("i = 0") + self.body(rng.randint(1, 2), "return x")
            parts.append(f"def {name}(x, y{default}):\n{inner}")
            self.helpers.append(name)
        self.arrays = fragments.ARRAYS
        lines = ["total = -np.sum(action**2, axis=-1)", 'parts = {"a": total}', "x = y = i = total"]
        ending = 'parts["b"] = total * 0\nreturn total, parts'
        if rng.random() < 0.4:  # what was computed is what is answered
            ending = 'parts = {"a": total}\n' + ending.split("\n")[1]
        block = indented("\n".join(lines)) + self.body(rng.randint(1, 4), ending)
        parts.append(f"def compute_reward(state, action, next_state):\n{block}")
        if rng.random() < 0.1:
            rng.shuffle(parts)
        return "\n".join(parts)

    def body(self, count: int, ending: str) -> str:
        """An indented block."""
        return indented("\n".join([*(self.statement() for _ in range(count)), ending]))

    def statement(self) -> str:
        """One statement, perhaps of several lines."""
        rng = self.rng
        if self.arrays == fragments.ARRAYS and rng.random() < (0.25 if self.strict else 0.4):
            return rng.choice(self.extra)
        kind = rng.randrange(8)
        if kind < 3 or self.depth > 3:
            target = rng.choice(
                [
                    "total",
                    "total",
                    "x",
                    "parts['c']" if self.arrays == fragments.ARRAYS else "i",
                    "y",
                    "x",
                ]
            )
            return f"{target} {rng.choice(['=', '=', '=', '+=', '*=', '**='])} {self.value()}"
        if kind == 3:
            return f"x = np.asarray({self.value()}).astype(float).size"
        self.depth += 1
        block = self.body(rng.randint(1, 2), "pass")
        self.depth -= 1
        if kind == 4:
            return f"if {self.value()}:\n{block}"
        if kind == 5:
            kinds = rng.sample(fragments.KINDS, 2)
            cast = f"    x = np.array({self.value()}).astype(kind)"
            return f"for kind in {tuple(kinds)!r}:\n{cast}\n{block}"
        if kind == 6:
            return f"for i in {self.iterable()}:\n{block}"
        return f"x = [{self.value()} for i in {self.iterable()} if {self.value()}]"

    def iterable(self) -> str:
        """What a loop may run over."""
        rng = self.rng
        return rng.choice(
            [
                f"range({self.scalar()})",
                "range(3)",
                f"({self.value()}, {self.value()})",
                self.value(),
                f"enumerate({self.value()})",
                f"zip({self.value()}, {self.value()})",
                "list(range(90000))",
            ]
        )

    def scalar(self) -> str:
        """A number, often an odd one."""
        return self.rng.choice(self.scalars)

    def value(self) -> str:
        """An expression."""
        rng = self.rng
        if self.depth > 3 or rng.random() < 0.2:
            return rng.choice(self.arrays) if rng.random() < 0.6 else self.scalar()
        if rng.random() < 0.1 and self.arrays == fragments.ARRAYS:
            return rng.choice(self.values)
        self.depth += 1
        text = rng.choice(_EXPRESSIONS)(self)
        self.depth -= 1
        return text

    def arguments(self, most: int = 3) -> str:
        """Of a call of numpy."""
        rng = self.rng
        items = [self.argument() for _ in range(rng.randint(1, most))]
        if rng.random() < 0.35:
            name = rng.choice(KEYWORDS[: len(KEYWORDS) - 6 * self.strict])
            odd = {"dtype": self.types, "axis": ("0", "-1", "1", "9", "None", "(0, 1)")}
            value = rng.choice(odd[name]) if name in odd else self.argument()
            items.append(f"{name}={value}")
        return ", ".join(items)

    def argument(self) -> str:
        kind = self.rng.randrange(10)
        if kind < 6:
            return self.value()
        return self.rng.choice(
            self.shapes if kind < 8 or self.strict else self.types if kind < 9 else self.arrays
        )

    def numpy_call(self) -> str:
        return f"np.{self.rng.choice(NUMPY)}({self.arguments()})"

    def other_call(self) -> str:
        rng = self.rng
        kind = rng.randrange(5)
        if kind == 0:
            return f"math.{rng.choice(MATH)}({self.scalar()}, {self.scalar()})"
        if kind == 1:
            name = rng.choice(["norm", "det", "svd"][: 3 - self.strict])
            return f"np.linalg.{name}({self.arguments()})"
        if kind == 2 and self.helpers:
            text = rng.choice(
                ['"O"', '"i,j->k"', "float", self.value(), self.value(), self.value()]
            )
            return f"{rng.choice(self.helpers)}({text})"
        if kind == 3:
            return f"({self.value()}).{rng.choice(METHODS)}({self.arguments(2)})"
        return f"{rng.choice(BUILTINS)}({self.value()})"

    def operation(self) -> str:
        sign = self.rng.choice(OPERATORS[: len(OPERATORS) - self.strict])
        return f"({self.value()} {sign} {self.value()})"

    def comparison(self) -> str:
        return f"({self.value()} {self.rng.choice(COMPARISONS)} {self.value()})"

    def item(self) -> str:
        places = [
            "0",
            "-1",
            ":",
            "::2",
            "..., 0",
            "None",
            ":, :, None",
            "'a'",
            "10**9",
            "True",
            "99",
        ]
        return f"({self.value()})[{self.rng.choice([*places, self.value()])}]"

    def collection(self) -> str:
        left, right = self.value(), self.value()
        return self.rng.choice(
            [
                f"({left}, {right})",
                f"[{left}] * {right}",
                f"{{'a': {left}, 'b': {right}}}",
                f"sum(i for i in {left})",
                f"{{k: {left} for k in ('a', 'b')}}",
                f"-{left}",
                f"~({left})",
                f"({left} if {right} else {left})",
            ]
        )


_FRAME = """
CONSTANT = 1.0
TABLE = (1.0, 2.0)
def compute_reward(state, action, next_state):
    total = x = y = i = action[:, 0]
    parts = {"a": total}
    PIECE
    return total, parts
"""
_VALUE = _FRAME.replace("PIECE", "x = PIECE")

_EXPRESSIONS = (
    [Writer.numpy_call] * 6
    + [Writer.other_call] * 3
    + [Writer.operation] * 3
    + [Writer.comparison, Writer.item, Writer.collection]
)
