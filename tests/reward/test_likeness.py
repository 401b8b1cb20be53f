"""Which rewards count as the same code, and how values are compared."""

import numpy as np
import pytest

from rewardsmith.reward.likeness import likeness, normal_form

FIELDS = ("goal", "place")
PLAIN = """
def compute_reward(state, action, next_state):
    gap = np.linalg.norm(next_state["place"] - next_state["goal"], axis=-1)
    near = -2 * gap
    return near, {"near": near}
"""
HELPED = """
RATE = 2.0

def scaled(value, rate=RATE):
    return rate * value

def compute_reward(state, action, next_state):
    gap = np.sum(next_state["place"], axis=-1)
    return scaled(gap, rate=3.0), {"gap": scaled(gap, rate=3.0)}
"""


def alike(first: str, second: str) -> bool:
    return normal_form(first, FIELDS) == normal_form(second, FIELDS)


@pytest.mark.parametrize(
    "changes",
    [
        {"gap": "distance"},
        {'"near"': '"closeness"'},
        {"-2 *": "-2.0 *", "axis=-1": "axis = -1.0"},
        {"    near =": '    """How near."""\n    # nearer is better\n    near ='},
        {"    near =": "    near: np.ndarray ="},
        {"next_state):": "next_state) -> tuple:"},
        {"(state, action, next_state)": "(s, a, n)", "next_state[": "n["},
        {"\ndef": "\nimport numpy as np\n\ndef"},
    ],
    ids=str,
)
def test_wording_does_not_matter(changes: dict[str, str]) -> None:
    other = PLAIN
    for old, new in changes.items():
        assert old in other
        other = other.replace(old, new)
    assert alike(PLAIN, other)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-2 *", "-3 *"),
        ("-2 * gap", "-2 * gap + 0"),
        ('next_state["place"]', 'state["place"]'),
        ('"place"', '"goal"'),
        ("axis=-1", "axis=0"),
        ("np.linalg.norm(", "np.sum("),
    ],
)
def test_meaning_does(old: str, new: str) -> None:
    assert not alike(PLAIN, PLAIN.replace(old, new, 1))


def test_names_are_told_apart_function_by_function() -> None:
    other = HELPED.replace("RATE", "SPEED").replace("value", "gap").replace("scaled", "times")
    assert alike(HELPED, other)
    assert not alike(HELPED, HELPED.replace("return rate * value", "return value * rate"))


def test_arguments_by_name_are_not_mixed_up() -> None:
    first = "def f(a, b):\n    return a - b\n\ndef compute_reward(s, c, n):\n    return f(a=1, b=2)"
    assert not alike(first, first.replace("f(a, b)", "f(b, a)").replace("a - b", "b - a"))


def test_a_monotone_map_keeps_the_ranks_and_an_affine_one_the_values() -> None:
    values = np.random.default_rng(0).normal(size=500)
    bent, doubled = likeness(values, np.exp(values)), likeness(values, 2.0 * values)
    assert bent.spearman == pytest.approx(1.0)
    assert bent.pearson < 0.9
    assert doubled.pearson == pytest.approx(1.0)
    assert doubled.scale == pytest.approx(2.0)
    assert doubled.shift == pytest.approx(0.0)
    assert likeness(values, -values).pearson == pytest.approx(-1.0)


def test_an_offset_is_a_shift_and_a_constant_is_like_nothing() -> None:
    values = np.random.default_rng(0).normal(size=500)
    assert likeness(values, values + 3.0).shift == pytest.approx(3.0 / values.std())
    assert likeness(values, np.full(500, 7.0)).pearson == 0.0
