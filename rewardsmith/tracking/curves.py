"""How candidates came on: means over their trainings, look by look, as soon as all have looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rewardsmith.types import Evaluation

Look = tuple[int, dict[str, float]]
"""Environment steps, and the means of all trainings after so many."""


class SuccessCurves:
    """Gathers the looks of all trainings of all candidates."""

    def __init__(self, trainings: int) -> None:
        """Expect so many trainings of each candidate."""
        self._trainings = trainings
        self._seen: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
        self._told: set[tuple[str, int]] = set()

    def add(self, label: str, point: Mapping[str, Any]) -> Look | None:
        """Take in one training's look; give the means when it was the last one's.

        Args:
            label: of the candidate.
            point: a `rewardsmith.types.Checkpoint` as plain data.
        """
        key = label, int(point["timesteps"])
        points = self._seen.setdefault(key, [])
        points.append(point)
        return self._means(key, points) if len(points) == self._trainings else None

    def rest(self, label: str, evaluation: Evaluation) -> list[Look]:
        """Means that were not given yet, of a candidate that is finished."""
        by_steps: dict[int, list[Mapping[str, Any]]] = {}
        for curve in evaluation.curves:
            for point in curve:
                by_steps.setdefault(point.timesteps, []).append(asdict(point))
        looks = [self._means((label, steps), by_steps[steps]) for steps in sorted(by_steps)]
        return [look for look in looks if look is not None]

    def _means(self, key: tuple[str, int], points: Sequence[Mapping[str, Any]]) -> Look | None:
        if key in self._told:
            return None
        self._told.add(key)
        self._seen.pop(key, None)
        values = {}
        for name in ("success", "own_return"):
            found = [point[name] for point in points if point[name] is not None]
            if found:
                values[f"{name}/{key[0]}"] = sum(found) / len(found)
        return key[1], values
