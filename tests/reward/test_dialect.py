"""What the dialect accepts and rejects, and that hostile text crashes nobody."""

from __future__ import annotations

import ast
from collections.abc import Callable

import numpy as np
import pytest

from rewardsmith.reward import allowed, dialect, reasons
from rewardsmith.reward.failure import RewardFailure
from rewardsmith.reward.process import RewardProcess
from rewardsmith.types import RewardFunction
from tests.reward.conftest import GOOD, body, evaluate, make_transitions

FIELDS = frozenset({"observation", "achieved_goal", "desired_goal"})

REJECTED = {
    "import": [
        "import os\n" + GOOD,
        "from numpy import load\n" + GOOD,
        body("import numpy.random"),
    ],
    "no_function": ["x = 1\n", "def reward(state, action, next_state):\n    return 1\n", ""],
    "two_functions": [GOOD + GOOD],
    "signature": [
        "def compute_reward(state, action):\n    return 1\n",
        "def compute_reward(state, action, next_state, info=None):\n    return 1\n",
        "def compute_reward(next_state, action, state):\n    return 1\n",
        "def compute_reward(state, action, *, next_state):\n    return 1\n",
        "def compute_reward(*state, action, next_state):\n    return 1\n",
    ],
    "top_level": [GOOD + "compute_reward(1, 2, 3)\n", "if 1:\n    x = 1\n" + GOOD],
    "while_loop": [body("while True: pass")],
    "try": [body("try:", "    x = 1", "except: pass")],
    "with": [body("with total: pass")],
    "class": ["class A: pass\n" + GOOD],
    "lambda": [body("f = lambda x: x"), body("total = (lambda: total)()")],
    "decorator": ["@np.vectorize\n" + GOOD.strip()],
    "global": [body("global total2"), body("nonlocal total2")],
    "yield": [body("yield total"), body("total = (yield)"), "async def f(): pass\n" + GOOD],
    "statement": [body("del total"), body("assert True"), body("raise total")],
    "string": [
        body('total = "O"'),
        body('total = total.astype("O")'),
        body('parts["__class__"] = total'),
        body('parts["' + "a" * 41 + '"] = total'),
        body('parts["Upper"] = total'),
        body("total = b'x'"),
    ],
    "f_string": [body('parts[f"{total}"] = total')],
    "print": [body("print(total)"), body("x = print(total)")],
    "unknown_name": [body("total = self.x"), body("total = open(1)"), body("x = __builtins__")],
    "rebound_name": [
        body("np = total"),
        body("sum = total"),
        "def f(np):\n    return np\n" + GOOD,
        "def sum(x):\n    return x\n" + GOOD,
        body("compute_reward = total"),
        body("if (x := 1): pass"),
    ],
    "function_value": [
        body("f = np.sin"),
        body("f = abs"),
        body("f = total.sum"),
        body("total = sorted(parts, key=np.sin)").replace("key=", "reverse="),
        body("m = np"),
        body("f = [np.sin, np.cos]"),
        body("f = compute_reward"),
    ],
    "np_function": [
        body("total = np.load(1)"),
        body("total = np.f2py.os.system(1)"),
        body("total = np.ctypeslib.ctypes"),
        body("total = np.empty(3)"),
        body("total = np.lib.stride_tricks.as_strided(total)"),
        body("total = np.linalg.svd(total)"),
        body("total = np.sum.reduce(total)"),
        body("total = np.frombuffer(total)"),
    ],
    "random": [body("total = np.random.rand(3)"), body("total = np.random.seed")],
    "math_function": [body("total = math.factorial(10)"), body("total = math.nan2")],
    "attribute": [
        body("total = total.base"),
        body("total = total.flags"),
        body("total.setflags(write=True)"),
        body("total.tofile(1)"),
        body("total = total.ctypes"),
        body("total = total.view(int)"),
        body("total.sort()"),
    ],
    "underscore": [
        body("x = total.__class__"),
        body("x = total._x"),
        body("x = np.__dict__"),
        body("total.__init__()"),
        body("__x = 1"),
        body("total._x = 1"),
    ],
    "keyword": [
        body("np.add(total, total, out=total)").replace("    np.", "    x = np."),
        body("total = np.add(total, total, where=total)"),
        body("total = total.astype(float, casting=1)"),
        body("total = np.array(total, subok=True)"),
    ],
    "call": [body("total = parts[0](1)").replace("parts[0]", "total"), body("x = (1)(2)")],
    "star": [
        body("total = np.sum(*total)").replace("*total", "**parts"),
        "def f(*x):\n    return x\n" + GOOD,
        "def f(**x):\n    return x\n" + GOOD,
    ],
    "mutable_default": [
        "def f(x, y=[]):\n    return x\n" + GOOD,
        "def f(x, *, y={}):\n    return x\n" + GOOD,
        "A = [0]\ndef f(x, y=A):\n    return x\n" + GOOD,
        "A = 1\nA = [0]\ndef f(x, y=A):\n    return x\n" + GOOD,
        "def f(x, y=np.zeros(1)):\n    return x\n" + GOOD,
    ],
    "constant_changed": [
        "A = [0]\n" + body("A[0] = 1"),
        "A = [0]\n" + body("A.append(1)"),
        "D = {1: 2}\n" + body("D.update({3: 4})"),
    ],
    "assign_target": [
        body("total.x = 1"),
        body("a, *b = total"),
        body("state[0][0] = 1"),
        body("state.update(parts)"),
        body("info = next_state", "info.update({0: 1})"),
    ],
    "recursion": [
        "def f(x):\n    return f(x)\n" + GOOD,
        "def f(x):\n    return g(x)\ndef g(x):\n    return f(x)\n" + GOOD,
    ],
    "loop_too_long": [
        body("for i in range(1001): pass"),
        body(*[" " * 4 * n + f"for i{n} in range(100):" for n in range(3)], " " * 12 + "pass"),
        body("x = [i for i in range(10**9)]"),
        body("for i in range(0, -10**12, -1): pass"),
    ],
    "number_too_large": [body("x = 10**19"), body("x = 1e300"), body("x = 0x" + "f" * 5000)],
    "number_kind": [body("x = 1j")],
    "power": [body("x = 2 ** 65"), body("x = total ** 1000"), body("total **= 100")],
    "unknown_field": [
        body('total = state["nonsense"]'),
        body('total = next_state.get("nonsense")'),
    ],
    "syntax": [body("x = ("), body("x = = 1"), "def compute_reward(:\n", "\tx = 1\n  y = 2\n"],
    "too_long": ["#" * 16_001],
}
BOMBS = {
    "unary minuses": body("x = " + "-" * 15_000 + "1"),
    "fewer unary minuses": body("x = " + "-" * 4_000 + "1"),
    "nots": body("x = " + "not " * 3_900 + "1"),
    "attributes": body("x = total" + ".a" * 5_000),
    "fewer attributes": body("x = total" + ".a" * 2_000),
    "brackets": body("x = " + "(" * 7_000 + ")" * 7_000),
    "open brackets": body("x = " + "[" * 14_000),
    "subscripts": body("x = total" + "[0]" * 1_600),
    "calls": body("x = total" + "()" * 2_000),
    "sum": body("x = 1" + "+1" * 2_400),
    "powers": body("x = 9" + "**9" * 2_000),
    "comparisons": body("x = 1" + "<1" * 4_000),
    "conditions": body("x = " + "1 if 1 else " * 1_500 + "1"),
    "lambdas": body("x = " + "lambda: " * 1_900 + "1"),
    "blocks": body(*[" " * n + "if 1:" for n in range(95)], " " * 95 + "pass"),
    "elifs": body("if 1: pass", *["elif 1: pass"] * 900),
    "huge integer": body("x = " + "9" * 15_000),
    "huge hexadecimal": body("x = 0x" + "f" * 15_000),
    "long name": body("x" * 15_000 + " = 1", "total = y"),
    "long string": body('x = "' + "a" * 15_000 + '"'),
    "f-strings": body('x = f"' + "{" * 3_000 + '"'),
    "nul": body("x = 1\0"),
    "nul in a comment": body("# \0", "x = open"),
    "surrogate": body("x = '\ud800'"),
    "surrogate in a name": body("\udfff = 1"),
    "wide letters": body("x = ｏｐｅｎ(1)"),
    "form feeds": body("\f" * 9_000 + "x = open"),
    "line separators": body("x = '\u2028\u2029\x85\x1c' + open"),
    "byte order mark": "\ufeff" + body("x = open"),
    "encoding line": "# -*- coding: utf-7 -*-\n" + body("x = open"),
    "unknown encoding": "# -*- coding: nonsense -*-\n" + body("x = open"),
    "backslashes": body("x = " + "\\\n" * 3_000 + "open"),
    "carriage returns": body("x = 1\r    y = open\r"),
    "tabs and blanks": "\t" * 5_000 + "x\n" + " " * 5_000 + "y\n",
    "dedents": "".join(" " * n + "if 1:\n" for n in range(100)),
    "nothing": "",
    "only blanks": " \n" * 3_000,
}
ARGUMENTS = {
    **dict.fromkeys("add copysign equal float_power floor_divide fmax fmin greater "
                    "greater_equal heaviside hypot less less_equal logaddexp logical_and "
                    "logical_or logical_xor maximum minimum multiply not_equal power subtract "
                    "arctan2 allclose array_equal divide dot inner isclose cross fmod mod "
                    "remainder".split(), "v, v"),
    **dict.fromkeys("column_stack concatenate dstack hstack stack vstack".split(), "[v, v]"),
    **dict.fromkeys("tril triu transpose det".split(), "m"),
    **dict.fromkeys("percentile quantile".split(), "v, 0.5"),
    **dict.fromkeys("repeat tile full_like expand_dims roll".split(), "v, 1"),
    "append": "v, v", "arange": "3", "broadcast_to": "v, (2, 3)", "clip": "v, 0.0, 1.0",
    "einsum": '"i,i->i", v, v', "full": "3, 1.0", "interp": "v, v, v", "linspace": "0, 1, 5",
    "logical_not": "v", "matmul": "m, m", "moveaxis": "m, 0, 1", "ones": "3", "outer": "v, v",
    "reshape": "v, (3, 1)", "searchsorted": "v, v", "select": "[v > 1], [v], 0.0",
    "swapaxes": "m, 0, 1", "take": "v, [0, 1]", "take_along_axis": "m, i, 1",
    "where": "v > 1, v, 0.0", "zeros": "3", "any": "v > 0", "all": "v > 0",
}  # fmt: skip
METHOD_ARGUMENTS = {
    "astype": "float", "clip": "0.0, 1.0", "dot": "v", "repeat": "2", "reshape": "-1",
    "swapaxes": "0, 0", "take": "[0, 1]",
}  # fmt: skip
NOT_OF_ARRAYS = {"append", "extend", "get", "item", "items", "keys", "update", "values"}


@pytest.mark.parametrize(
    ("reason", "source"),
    [(reason, source) for reason, sources in REJECTED.items() for source in sources],
)
def test_rejected_with_its_reason(reason: str, source: str) -> None:
    with pytest.raises(dialect.Violation) as caught:
        dialect.parse(source, FIELDS)
    assert caught.value.reason == reason


def test_every_static_reason_can_happen() -> None:
    table = list(reasons.REASONS)
    static = set(table[: table.index("array_truth")])
    elsewhere = {"parser_crash", "constant_kind", "too_complex", "expression"}
    assert static - set(REJECTED) == elsewhere


@pytest.mark.parametrize(
    ("line", "source"),
    [
        (4, body("while True: pass")),
        (1, "import os\n" + GOOD),
        (5, body("x = 1", "total = np.load(x)")),
        (4, body("x = (1,")),
    ],
)
def test_line_of_a_rejection(line: int, source: str) -> None:
    with pytest.raises(dialect.Violation) as caught:
        dialect.parse(source, FIELDS)
    assert caught.value.place[0] == line


def test_message_names_line_and_text(rejection: Callable[[str], RewardFailure]) -> None:
    failure = rejection(body("x = 1", "total = total + np.load(x)"))
    assert failure.line == 5
    assert failure.source_line == "total = total + np.load(x)"
    assert str(failure).startswith("line 5, `np.load`: `np` has no such function here;")


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_rejected_and_nothing_crashes(
    name: str, rejection: Callable[[str], RewardFailure]
) -> None:
    failure = rejection(BOMBS[name])
    assert failure.reason in reasons.REASONS
    assert failure.reason not in reasons.MEASURED
    str(failure).encode()


@pytest.mark.parametrize("character", ["\0", "\ud800", "\udfff"])
def test_what_is_not_text_is_a_syntax_error(character: str) -> None:
    with pytest.raises(dialect.Violation) as caught:
        dialect.parse(GOOD + f"# {character}\n")
    assert caught.value.reason == "syntax"
    assert caught.value.place[0] == GOOD.count("\n") + 1


def test_what_means_nothing_is_dropped() -> None:
    source = (
        '"""Module."""\nfrom __future__ import annotations\nimport numpy as np\nimport math\n'
        "from typing import Dict\nx: int\ny: float = 2.0\n"
        'def compute_reward(state: Dict, action: "a", next_state) -> Dict:\n'
        '    """Function."""\n    return y, {}\n'
    )
    tree = dialect.parse(source)
    assert ast.unparse(tree) == (
        "y = 2.0\n\ndef compute_reward(state, action, next_state):\n    return (y, {})"
    )


@pytest.mark.parametrize(
    "constant",
    ["(i for i in (1, 2))", "zip((1, 2))", "enumerate((1, 2))", "reversed((1, 2))",
     "{1: [2]}.values()", "[zip((1, 2))]", "{1: (i for i in (1, 2))}",
     "np.array([zip((1, 2)), 1.5])", "np.array(None)"],
)  # fmt: skip
def test_constants_that_remember_are_rejected(
    constant: str, rejection: Callable[[str], RewardFailure]
) -> None:
    assert rejection(f"C = {constant}\n{GOOD}").reason == "constant_kind"


@pytest.mark.parametrize(
    "code",
    [
        ["x = L", "x[0] = 1.0"],
        ["x = L", "x.append(1.0)"],
        ["x = D", "x[1] = 1.0"],
        ["x = D[0]", "x.append(1.0)"],
        ["x = A", "x += 1.0"],
        ["x = A[:1]", "x[0] = 1.0"],
        ["for x in V:", "    x[0] = 1.0"],
        ["np.add(A, A, A)"],
        ["np.add(1.0, 1.0, D[1])"],
    ],
)
def test_constants_cannot_be_changed_through_an_alias(
    code: list[str], process: RewardProcess
) -> None:
    code = [line.replace("np.add(", "x = np.add(") for line in code]
    constants = "L = [1.0]\nD = {0: [1.0], 1: np.zeros(1)}\nA = np.zeros(2)\nV = (A, [1.0], L)\n"
    process.load(RewardFunction(constants + body(*code)))
    with pytest.raises(RewardFailure) as caught:
        evaluate(process, make_transitions(process.layout, 3))
    assert caught.value.reason in ("read_only", "exception")


def covered() -> list[tuple[str, str]]:
    """Every allowed numpy function and array method, as an expression to call."""
    functions = [
        (f"np.{name}", f"np.{name}({ARGUMENTS.get(name, 'v')})")
        for name in sorted(allowed.NUMPY_FUNCTIONS)
        if hasattr(np, name)
    ]
    linalg = [("np.linalg.norm", "np.linalg.norm(v)"), ("np.linalg.det", "np.linalg.det(m)")]
    methods = [
        (f".{name}", f"v.{name}({METHOD_ARGUMENTS.get(name, '')})")
        for name in sorted(allowed.METHODS - NOT_OF_ARRAYS)
        if hasattr(np.ndarray, name)
    ]
    return functions + linalg + methods


@pytest.mark.parametrize("expression", [code for _, code in covered()])
def test_allowed_function_works_behind_the_lock(expression: str, process: RewardProcess) -> None:
    """Numpy imports some helpers on first use, which no reward process could do any more."""
    names = {"v": np.array([0.2, 0.5, 0.8]), "m": np.eye(3), "i": np.zeros((3, 1), dtype=int)}
    with np.errstate(all="ignore"):
        expected = eval(expression, {"np": np}, dict(names))
    source = (
        "v = np.array([0.2, 0.5, 0.8])\nm = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0],"
        " [0.0, 0.0, 1.0]])\ni = np.zeros((3, 1), dtype=int)\n"
        + body(f"found = {expression}", "flat = np.zeros(len(action))")
        + ""
    ).replace(
        "    return total, parts",
        "    total = flat + np.sum(np.nan_to_num(np.asarray(found, dtype=float)))\n"
        '    return total, {"a": total}',
    )
    process.load(RewardFunction(source))
    found = evaluate(process, make_transitions(process.layout, 3)).total[0]
    assert found == pytest.approx(np.sum(np.nan_to_num(np.asarray(expected, dtype=float))))


@pytest.mark.parametrize("name", sorted(allowed.MATH_FUNCTIONS))
def test_allowed_math_function_exists(name: str, process: RewardProcess) -> None:
    two = {"atan2", "copysign", "fmod", "hypot", "isclose", "pow"}
    call = {"dist": "(1.0, 2.0), (3.0, 4.0)", "fsum": "(1.0, 2.0)", "atanh": "0.5"}.get(name, "1.0")
    call = "1.0, 1.0" if name in two else call
    process.load(RewardFunction(body(f"x = math.{name}({call})", "total = total + 0.0 * x", *[
        'parts = {"a": total}'])))  # fmt: skip
    evaluate(process, make_transitions(process.layout, 3))
