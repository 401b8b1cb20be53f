"""What the fuzzers found, and what it became."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rewardsmith.reward.failure import RewardFailure
from tests.reward.conftest import GOOD, body

Rejection = Callable[[str], RewardFailure]

COMPILER = {
    "break outside a loop": (body("break"), 4),
    "a parameter twice": ("def helper(a, a):\n    return a\n" + GOOD, 1),
    "__debug__ as a parameter": ("def helper(__debug__):\n    return 1\n" + GOOD, 1),
    "21 loops in each other": (
        body(*["    " * depth + "for i in range(1):" for depth in range(21)], "    " * 21 + "pass"),
        24,
    ),
}
TYPES = {
    "array": body("kind = np.array(float).item()"),
    "full": body("kind = np.full(3, np.float64).tolist()[0]"),
    "arange": body("kind = np.arange(float)"),
    "dict": body("kinds = dict(dtype=float)"),
    "helper": "def helper(dtype):\n    return dtype\n" + body("kind = helper(dtype=float)"),
    "helper called full": "def full(a, b, c):\n    return c\n" + body("kind = full(1, 2, float)"),
}
CONSTANTS = {
    "record": 'HELD = np.zeros(1, dtype=[("a", "f8")])[0]\n',
    "in a tuple": 'HELD = (1.0, np.zeros(1, dtype=[("a", "f8")])[0])\n',
    "of texts": 'HELD = np.array(("a", "b"))\n',
    "that holds itself": (
        "def looped():\n    items = []\n    items.append(items)\n    return items\n"
        "HELD = looped()\n"
    ),
}


@pytest.mark.parametrize("name", COMPILER)
def test_what_only_the_compiler_minds_is_a_rejection(name: str, rejection: Rejection) -> None:
    source, line = COMPILER[name]
    failure = rejection(source)
    assert (failure.reason, failure.line) == ("syntax", line)


@pytest.mark.parametrize("name", TYPES)
def test_types_are_not_values(name: str, rejection: Rejection) -> None:
    assert rejection(TYPES[name]).reason == "function_value"


@pytest.mark.parametrize("name", ["einsum", "get"])
def test_helpers_of_a_known_name_take_no_text(name: str, rejection: Rejection) -> None:
    helper = f"def {name}(kind):\n    return kind\n"
    assert rejection(helper + body(f'kind = {name}("O")')).reason == "string"


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_that_could_change_are_rejected_with_their_line(
    name: str, rejection: Rejection
) -> None:
    failure = rejection(CONSTANTS[name] + GOOD)
    assert failure.reason == "constant_kind"
    assert failure.source_line.startswith("HELD =")


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_lines_are_counted_as_python_counts_them(end: str, rejection: Rejection) -> None:
    failure = rejection("# one\n# two\n".replace("\n", end) + body("total = missing"))
    assert failure.line == 6
    assert failure.source_line == "total = missing"


@pytest.mark.parametrize("sign", ["\x1b]0;title\x07", "\x0b", "\u202e", "\x7f"])
def test_messages_hold_nothing_that_a_terminal_obeys(sign: str, rejection: Rejection) -> None:
    failure = rejection(body(f"total = {sign}"))
    assert failure.line == 4
    assert str(failure).isprintable()
    assert failure.source_line.isprintable()


def test_deep_code_names_a_line(rejection: Rejection) -> None:
    failure = rejection(body("total = " + "-" * 60 + "total"))
    assert (failure.reason, failure.line) == ("too_complex", 4)
