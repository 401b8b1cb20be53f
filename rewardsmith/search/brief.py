"""Facts about a task for the built-in designer, which does not read prose."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from rewardsmith.llm.builtin import Brief, Pair, Parent
from rewardsmith.search.base import rank
from rewardsmith.tasks.task import RandomPlay, Task
from rewardsmith.types import Field, FloatArray, Trial

SMALLEST = 1e-6
"""Distances and movements below this count as none."""


def build_brief(task: Task, play: RandomPlay, trials: Sequence[Trial]) -> Brief:
    """Look at the fields in random play, and at what was trained so far."""
    fields = task.layout.fields
    state = play.transitions.next_state
    vectors = [item for item in fields if not item.scalar]
    return Brief(
        pairs=tuple(_pairs(vectors, state)),
        movements={
            item.name: float(np.abs(_values(item, state)).mean())
            for item in vectors
            if "per" in item.unit.split() and np.abs(_values(item, state)).mean() > SMALLEST
        },
        columns=tuple(_columns(vectors, state)),
        parents=tuple(_parents(trials)),
    )


def _values(item: Field, state: FloatArray) -> FloatArray:
    return state[:, item.start : item.stop]


def _pairs(fields: Sequence[Field], state: FloatArray) -> list[Pair]:
    pairs = []
    for first, second in combinations(fields, 2):
        places = not ("per" in first.unit.split() or "relative" in first.name + second.name)
        same = first.unit == second.unit and first.shape == second.shape and first.unit
        goals = {"achieved_goal", "desired_goal"} == {first.name, second.name}
        if not goals and not (same and places):
            continue
        distance = np.linalg.norm(_values(first, state) - _values(second, state), axis=-1)
        if distance.max() > SMALLEST:
            goal = "goal" in first.name or "goal" in second.name
            pairs.append(Pair(first.name, second.name, float(np.median(distance)), goal))
    return pairs


def _columns(fields: Sequence[Field], state: FloatArray) -> list[tuple[str, int, float]]:
    columns = []
    for item in fields:
        sizes = np.abs(_values(item, state)).mean(axis=0)
        columns += [
            (item.name, place, float(size)) for place, size in enumerate(sizes) if size > SMALLEST
        ]
    return columns


def _parents(trials: Sequence[Trial]) -> list[Parent]:
    ranking = rank(trials)
    last = max(len(ranking) - 1, 1)
    return [
        Parent(trial.candidate.reward.source, 1.0 - place / last)
        for place, trial in enumerate(ranking)
        if trial.candidate.reward is not None
    ]
