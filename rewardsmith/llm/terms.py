"""What the built-in designer composes rewards of: facts about a task, and terms made from them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

GOAL_WEIGHT = 4.0
"""How much likelier a distance to a goal is picked than another."""
NAMED_WEIGHT = 4.0
"""How much likelier a number that the task names is picked than a column of a vector."""
LARGEST = "10.0"
"""Bound of terms that would grow with speed or distance."""


@dataclass(frozen=True)
class Pair:
    """Two fields that can be close to or far from each other.

    Attributes:
        first: name of a field.
        second: name of a field of the same unit and width.
        scale: their typical distance in random play.
        is_goal: to bring them together is the task, as far as names tell.
    """

    first: str
    second: str
    scale: float
    is_goal: bool


@dataclass(frozen=True)
class Stage:
    """A point that follows the actions, one that it has to move, and where to.

    Attributes:
        mover: field of the point that moves most in random play, such as a gripper.
        thing: field of the point that has to be moved.
        goal: field of the place where it has to be.
        reach: typical distance from mover to thing.
        bring: typical distance from thing to goal.
    """

    mover: str
    thing: str
    goal: str
    reach: float
    bring: float


@dataclass(frozen=True)
class Number:
    """One number of each state.

    Attributes:
        name: of the field.
        column: of a vector; None for a field that is a number itself.
        size: typical magnitude in random play.
        middle: its median.
        change: typical change in a step, 0 if it hardly changes.
    """

    name: str
    column: int | None
    size: float
    middle: float
    change: float

    def of(self, when: str) -> str:
        """The expression that reads it from ``state`` or ``next_state``."""
        column = "" if self.column is None else f"[:, {self.column}]"
        return f'{when}["{self.name}"]{column}'

    @property
    def label(self) -> str:
        """Name for a term."""
        return self.name if self.column is None else f"{self.name}_c{self.column}"


@dataclass(frozen=True)
class Parent:
    """An earlier reward: its source and how many of the others it beat, 0 to 1."""

    source: str
    rank: float


@dataclass(frozen=True)
class Brief:
    """What the designer knows; it does not read the prompt.

    Attributes:
        pairs: fields whose distance varies.
        movements: velocity fields, by name, with their typical size.
        numbers: fields that are numbers, and columns of vectors where there are no pairs.
        parents: earlier rewards.
        stages: what has to be moved where, and by what.
        operator: what is to become of the parents, ``mutation`` or ``crossover``; empty leaves it
            to the designer.
    """

    pairs: tuple[Pair, ...]
    movements: Mapping[str, float]
    numbers: tuple[Number, ...]
    parents: tuple[Parent, ...] = ()
    stages: tuple[Stage, ...] = ()
    operator: str = ""


@dataclass(frozen=True)
class Term:
    """One part of a reward."""

    name: str
    weight: float
    body: str

    @property
    def is_dense(self) -> bool:
        """Whether it tells better from worse in every state, not only at events."""
        return self.name.startswith(("near_", "more_", "less_", "keep_"))


Maker = Callable[[Brief, random.Random], Term]


# -- distances ----------------------------------------------------------------------------------


def attraction(brief: Brief, chance: random.Random) -> Term:
    """Something that should be near something else; for tasks without places, a level."""
    if not brief.pairs:
        return level(brief, chance)
    pair = _pick(brief, chance)
    body = _kernel(_distance("next_state", pair.first, pair.second), pair.scale, chance)
    return Term(f"near_{pair.second}", chance.choice((0.5, 1.0, 1.0, 2.0)), body)


def bonus(brief: Brief, chance: random.Random) -> Term:
    """A reward for being there."""
    if not brief.pairs:
        return level(brief, chance)
    pair = _pick(brief, chance)
    radius = number(pair.scale * chance.choice((0.15, 0.25, 0.35)))
    distance = _distance("next_state", pair.first, pair.second)
    body = f"np.where({distance} < {radius}, 1.0, 0.0)"
    return Term(f"at_{pair.second}", chance.choice((0.5, 1.0, 2.0)), body)


def progress(brief: Brief, chance: random.Random) -> Term:
    """A reward for each step that comes nearer."""
    if not brief.pairs:
        return gain(brief, chance)
    pair = _pick(brief, chance)
    before = _distance("state", pair.first, pair.second)
    after = _distance("next_state", pair.first, pair.second)
    rate = number(10.0 / pair.scale)
    return Term(
        f"toward_{pair.second}", chance.choice((0.3, 1.0)), f"{rate} * ({before} - {after})"
    )


# -- moving one thing with another --------------------------------------------------------------


def approach(brief: Brief, chance: random.Random) -> Term:
    """Bring the mover to the thing; weaker than what comes after it."""
    stage = chance.choice(brief.stages)
    body = _kernel(_distance("next_state", stage.mover, stage.thing), stage.reach, chance)
    return Term(f"near_{stage.thing}", chance.choice((0.25, 0.5, 1.0)), body)


def delivery(brief: Brief, chance: random.Random) -> Term:
    """Bring the thing to the goal."""
    stage = chance.choice(brief.stages)
    body = _kernel(_distance("next_state", stage.thing, stage.goal), stage.bring, chance)
    return Term(f"near_{stage.goal}", chance.choice((1.0, 2.0, 4.0)), body)


def gated_delivery(brief: Brief, chance: random.Random) -> Term:
    """The thing near the goal, which counts only while the mover is near the thing."""
    stage = chance.choice(brief.stages)
    reach = number(chance.choice((1.0, 2.0)) / stage.reach)
    bring = number(chance.choice((1.0, 2.0, 4.0)) / stage.bring)
    near = f"np.exp(-{reach} * {_distance('next_state', stage.mover, stage.thing)})"
    there = f"np.exp(-{bring} * {_distance('next_state', stage.thing, stage.goal)})"
    return Term(f"near_{stage.goal}", chance.choice((1.0, 2.0)), f"{near} * {there}")


def behind(brief: Brief, chance: random.Random) -> Term:
    """The mover on the side of the thing that faces away from the goal: the cosine of the turn.

    The guard lets the term fade where a direction means nothing any more.
    """
    stage = chance.choice(brief.stages)
    when = "next_state"
    onward = f'({when}["{stage.thing}"] - {when}["{stage.mover}"])'
    outward = f'({when}["{stage.goal}"] - {when}["{stage.thing}"])'
    lengths = [f"np.linalg.norm({vector}, axis=-1)" for vector in (onward, outward)]
    guard = number(0.05 * stage.reach * stage.bring, smallest=1e-6)
    body = f"np.sum({onward} * {outward}, axis=-1) / ({lengths[0]} * {lengths[1]} + {guard})"
    return Term(f"behind_{stage.thing}", chance.choice((0.1, 0.25, 0.5)), body)


def delivery_progress(brief: Brief, chance: random.Random) -> Term:
    """A reward for each step that brings the thing nearer to the goal."""
    stage = chance.choice(brief.stages)
    before = _distance("state", stage.thing, stage.goal)
    after = _distance("next_state", stage.thing, stage.goal)
    body = f"{number(10.0 / stage.bring)} * ({before} - {after})"
    return Term(f"toward_{stage.goal}", chance.choice((1.0, 3.0)), body)


# -- numbers ------------------------------------------------------------------------------------


def level(brief: Brief, chance: random.Random) -> Term:
    """One number that is wanted high, low, at zero, or where it usually is."""
    if not brief.numbers:
        return effort(brief, chance)
    item = _pick_number(brief, chance)
    value, rate = item.of("next_state"), number(1.0 / item.size)
    kind = chance.choice(("more", "less", "keep"))
    if kind == "keep":
        middle = chance.choice((0.0, item.middle))
        gap = f"np.abs({value})" if middle == 0.0 else f"np.abs({value} - ({middle:.3g}))"
        body = f"np.exp(-{rate} * {gap})"
    else:
        sign = "" if kind == "more" else "-"
        body = chance.choice(
            (
                f"{sign}np.clip({rate} * {value}, -{LARGEST}, {LARGEST})",
                f"{sign}np.tanh({rate} * {value})",
            )
        )
    return Term(f"{kind}_{item.label}", chance.choice((0.3, 1.0, 2.0)), body)


def gain(brief: Brief, chance: random.Random) -> Term:
    """One number that should rise, or fall, from step to step."""
    changing = [item for item in brief.numbers if item.change]
    if not changing:
        return effort(brief, chance)
    item = chance.choice(changing)
    first, second = "next_state", "state"
    if chance.random() < 0.5:
        first, second = second, first
    rate = number(1.0 / item.change)
    body = f"np.clip({rate} * ({item.of(first)} - {item.of(second)}), -{LARGEST}, {LARGEST})"
    return Term(f"gain_{item.label}", chance.choice((0.1, 0.3)), body)


# -- restraint ----------------------------------------------------------------------------------


def effort(brief: Brief, chance: random.Random) -> Term:
    """A price for large actions."""
    body = "-np.mean(np.square(action), axis=-1)"
    return Term("effort", chance.choice((0.01, 0.05, 0.1)), body)


def stillness(brief: Brief, chance: random.Random) -> Term:
    """A price for moving fast."""
    name = chance.choice(sorted(brief.movements))
    rate = number(1.0 / brief.movements[name])
    mean = f'np.mean(np.abs(next_state["{name}"]), axis=-1)'
    return Term(
        f"calm_{name}", chance.choice((0.02, 0.1)), f"-np.minimum({rate} * {mean}, {LARGEST})"
    )


# -- text ---------------------------------------------------------------------------------------


def number(value: float, smallest: float = 1e-3) -> str:
    """A positive number with three digits, without an exponent."""
    text = f"{max(value, smallest):.3g}"
    return f"{float(text):.12f}".rstrip("0").rstrip(".") if "e" in text else text


def _pick(brief: Brief, chance: random.Random) -> Pair:
    weights = [GOAL_WEIGHT if pair.is_goal else 1.0 for pair in brief.pairs]
    return chance.choices(brief.pairs, weights)[0]


def _pick_number(brief: Brief, chance: random.Random) -> Number:
    weights = [NAMED_WEIGHT if item.column is None else 1.0 for item in brief.numbers]
    return chance.choices(brief.numbers, weights)[0]


def _distance(when: str, first: str, second: str) -> str:
    return f'np.linalg.norm({when}["{first}"] - {when}["{second}"], axis=-1)'


def _kernel(distance: str, scale: float, chance: random.Random) -> str:
    sharpness = number(chance.choice((0.5, 1.0, 2.0, 4.0)) / scale)
    return chance.choice(
        (
            f"1.0 - np.tanh({sharpness} * {distance})",
            f"np.exp(-{sharpness} * {distance})",
            f"-{number(1.0 / scale)} * {distance}",
        )
    )
