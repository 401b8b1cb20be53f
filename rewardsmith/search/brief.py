"""Facts about a task for the built-in designer, which does not read prose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from rewardsmith.llm.terms import Brief, Number, Pair, Parent, Stage
from rewardsmith.search.base import rank
from rewardsmith.tasks.task import RandomPlay, Task
from rewardsmith.types import Field, FloatArray, Trial

SMALLEST = 1e-6
"""Distances and movements below this count as none."""


def build_brief(task: Task, play: RandomPlay, trials: Sequence[Trial]) -> Brief:
    """Look at the fields in random play, and at what was trained so far."""
    fields = task.layout.fields
    state = play.transitions.next_state
    vectors = _different([item for item in fields if not item.scalar], state)
    stages = tuple(_stages(vectors, play))
    pairs = tuple(_pairs(vectors, state, {stage.mover for stage in stages}))
    numbered = [item for item in fields if item.scalar or not pairs]
    return Brief(
        pairs=pairs,
        movements={
            item.name: float(np.abs(_values(item, state)).mean())
            for item in vectors
            if _is_rate(item) and np.abs(_values(item, state)).mean() > SMALLEST
        },
        numbers=tuple(number for item in numbered for number in _numbers(item, play)),
        parents=tuple(_parents(trials)),
        stages=stages,
    )


def _values(item: Field, state: FloatArray) -> FloatArray:
    return state[:, item.start : item.stop]


def _is_rate(item: Field) -> bool:
    return "per" in item.unit.split() or "/" in item.unit


def _is_goal(item: Field) -> bool:
    return "achieved" not in item.name and ("goal" in item.name or "target" in item.name)


def _different(fields: Sequence[Field], state: FloatArray) -> list[Field]:
    """Leave out what only repeats another field: ``achieved_goal`` often is somebody's position."""
    kept: list[Field] = []
    for item in fields:
        if not any(_is_same(item, other, state) for other in kept):
            kept.append(item)
    return kept


def _is_same(first: Field, second: Field, state: FloatArray) -> bool:
    if (first.unit, first.shape) != (second.unit, second.shape):
        return False
    return bool(np.abs(_values(first, state) - _values(second, state)).max() <= SMALLEST)


def _distance(first: Field, second: Field, state: FloatArray) -> FloatArray:
    distance: FloatArray = np.linalg.norm(_values(first, state) - _values(second, state), axis=-1)
    return distance


def _are_comparable(first: Field, second: Field) -> bool:
    """Whether both are places of one kind, whose distance means something."""
    if {"achieved_goal", "desired_goal"} == {first.name, second.name}:
        return first.shape == second.shape
    if first.unit != second.unit or first.shape != second.shape or not first.unit:
        return False
    return not (_is_rate(first) or "relative" in first.name + second.name)


def _pairs(fields: Sequence[Field], state: FloatArray, movers: set[str]) -> Iterator[Pair]:
    """Places that can be near each other; a mover's own distance to the goal is not the task."""
    for first, second in combinations(fields, 2):
        if not _are_comparable(first, second):
            continue
        distance = _distance(first, second, state)
        if distance.max() > SMALLEST:
            goal = (_is_goal(first) or _is_goal(second)) and not movers & {first.name, second.name}
            yield Pair(first.name, second.name, _typical(distance), goal)


def _stages(fields: Sequence[Field], play: RandomPlay) -> Iterator[Stage]:
    """What has to be moved where, and by what: the point that moves most in random play."""
    transitions = play.transitions
    state = transitions.next_state
    for goal in filter(_is_goal, fields):
        points = [item for item in fields if not _is_goal(item) and _are_comparable(item, goal)]
        if len(points) < 2:
            continue
        mover = max(
            points,
            key=lambda item: np.abs(_values(item, state) - _values(item, transitions.state)).mean(),
        )
        achieved = [item for item in points if item.name == "achieved_goal"]
        for thing in achieved or points:
            if thing is not mover:
                reach, bring = _distance(mover, thing, state), _distance(thing, goal, state)
                yield Stage(mover.name, thing.name, goal.name, _typical(reach), _typical(bring))


def _typical(distance: FloatArray) -> float:
    return max(float(np.median(distance)), SMALLEST)


def _numbers(item: Field, play: RandomPlay) -> Iterator[Number]:
    """The columns of a field that vary; one without a column if it is a single number."""
    before = _values(item, play.transitions.state)
    after = _values(item, play.transitions.next_state)
    for column in range(item.stop - item.start):
        value, change = after[:, column], after[:, column] - before[:, column]
        size = float(np.abs(value).mean())
        if size > SMALLEST and np.ptp(value) > SMALLEST:
            moves = np.ptp(change) > SMALLEST
            yield Number(
                item.name,
                None if item.scalar else column,
                size,
                float(np.median(value)),
                float(np.abs(change).mean()) if moves else 0.0,
            )


def _parents(trials: Sequence[Trial]) -> list[Parent]:
    ranking = rank(trials)
    last = max(len(ranking) - 1, 1)
    return [
        Parent(trial.candidate.reward.source, 1.0 - place / last)
        for place, trial in enumerate(ranking)
        if trial.candidate.reward is not None
    ]
