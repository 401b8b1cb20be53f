"""Text that is hard to parse, to compile, or to take apart."""

from __future__ import annotations

from random import Random

from tests.reward.fragments import indented


def bomb(rng: Random) -> str:
    """Text that is hard to parse, to compile, or to take apart."""
    count = rng.choice([3, 12, 21, 26, 48, 60, 101, 300, 1500, 5000, 15000])
    make = rng.choice(_BOMBS)
    text = make(count)[: rng.choice([15_800, 16_500, 40_000])]
    if "\n" in text and rng.random() < 0.7:
        return f"def compute_reward(state, action, next_state):\n{indented(text)}"
    body = f"x = {text}\nreturn x, {{'a': x}}"
    return f"def compute_reward(state, action, next_state):\n{indented(body)}"


def _nested(opening: str, count: int, ending: str = "pass") -> str:
    lines = [" " * depth + opening.replace("NAME", f"f{depth}") for depth in range(count)]
    return "\n".join([*lines, " " * count + ending])


_BOMBS = (
    lambda count: "-" * count + "1",
    lambda count: "not " * count + "1",
    lambda count: "~" * count + "action",
    lambda count: "(" * count + ")" * count,
    lambda count: "(" * count + "1" + ")" * count,
    lambda count: "[" * count + "]" * count,
    lambda count: "{'a':" * count + "1" + "}" * count,
    lambda count: "action" + ".T" * count,
    lambda count: "action" + "[0]" * count,
    lambda count: "abs(" * count + "1" + ")" * count,
    lambda count: "1" + "+1" * count,
    lambda count: "1" + "**1" * count,
    lambda count: "2" + "**64" * count,
    lambda count: "9" * count,
    lambda count: "0x" + "f" * count,
    lambda count: "1" + "_1" * count,
    lambda count: "1e" + "9" * count,
    lambda count: "1" + " if 1 else 1" * count,
    lambda count: "1" + " < 1" * count,
    lambda count: "1" + " and 1" * count,
    lambda count: "lambda: " * count + "1",
    lambda count: "'" + "a" * count + "'",
    lambda count: "'a' " * count,
    lambda count: "f'{" * count + "1" + "}'" * count,
    lambda count: "[i for i in " * count + "action" + "]" * count,
    lambda count: "(" + "1, " * count + ")",
    lambda count: "dict(" + ", ".join(f"a{place}=1" for place in range(count)) + ")",
    lambda count: "abs(" + ", ".join(["1"] * count) + ")",
    lambda count: "1;" * count + "1",
    lambda count: "\\\n" * count + "1",
    lambda count: "1\n" + "\n" * count + "return",
    lambda count: "1\n" + "\n".join(f"x{place} = {place}" for place in range(count)),
    lambda count: _nested("if action:", count),
    lambda count: _nested("for i in range(1):", count),
    lambda count: _nested("for i in ():", count, "break"),
    lambda count: _nested("def NAME():", count, "return"),
    lambda count: _nested("while 1:", count),
    lambda count: _nested("try:", count),
    lambda count: _nested("class NAME:", count),
    lambda count: "if 1: pass\n" + "elif 1: pass\n" * count,
    lambda count: "@abs\n" * count + "def f(): pass",
    lambda count: " = ".join(["x"] * count) + " = 1\npass",
)
