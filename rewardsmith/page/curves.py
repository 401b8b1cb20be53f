"""Curves for the page: what the looks during training saw, per training seed and on average."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from rewardsmith.evaluation import bootstrap, wilson
from rewardsmith.types import Checkpoint

MOST_POINTS = 60
"""Looks in one curve; of more, so many are shown, evenly chosen."""
MOST_SEEDS = 10
"""Training seeds that get a line of their own."""

Curve = Sequence[Checkpoint]


def curves(found: Sequence[Curve], trainings: Sequence[int]) -> dict[str, Any] | None:
    """Curves of one candidate.

    Args:
        found: one curve per training seed; they may be of unequal lengths.
        trainings: their numbers.

    Returns:
        ``timesteps`` (T,); ``success``, ``low``, ``high``, ``own``, ``own_low``, ``own_high``, and
        each of ``components``: (T,), means over the seeds with 95 % intervals; ``seeds`` with the
        same per seed, None where one has no look. None if nothing was looked at yet.
    """
    steps = _few(sorted({point.timesteps for curve in found for point in curve}))
    if not steps:
        return None
    by_step = [{point.timesteps: point for point in curve} for curve in found]
    groups = [[points[step] for points in by_step if step in points] for step in steps]
    success = [_success(group) for group in groups]
    own = [_mean([point.own_return for point in group]) for group in groups]
    return {
        "timesteps": steps,
        "success": [item[0] for item in success],
        "low": [item[1] for item in success],
        "high": [item[2] for item in success],
        "own": [item[0] for item in own],
        "own_low": [item[1] for item in own],
        "own_high": [item[2] for item in own],
        "components": _components(groups),
        "seeds": [
            {
                "training": training,
                "success": [_value(points.get(step), "success") for step in steps],
                "own": [_value(points.get(step), "own_return") for step in steps],
            }
            for training, points in list(zip(trainings, by_step, strict=False))[:MOST_SEEDS]
        ],
    }


def _few(steps: list[int]) -> list[int]:
    if len(steps) <= MOST_POINTS:
        return steps
    stride = (len(steps) - 1) / (MOST_POINTS - 1)
    return [steps[round(place * stride)] for place in range(MOST_POINTS)]


def _value(point: Checkpoint | None, name: str) -> Any:
    return None if point is None else getattr(point, name)


def _components(groups: Sequence[Sequence[Checkpoint]]) -> dict[str, list[float | None]]:
    names = dict.fromkeys(name for group in groups for point in group for name in point.components)
    return {name: [_component(group, name) for group in groups] for name in names}


def _component(group: Sequence[Checkpoint], name: str) -> float | None:
    values = [point.components[name] for point in group if name in point.components]
    return sum(values) / len(values) if values else None


def _mean(values: Sequence[float]) -> tuple[float, float, float]:
    low, high = _bootstrap(tuple(values))
    return sum(values) / len(values), low, high


def _success(group: Sequence[Checkpoint]) -> tuple[float | None, float | None, float | None]:
    """Mean success over the seeds; the interval is that of `rewardsmith.evaluation.fitness`."""
    known = [point for point in group if point.success is not None]
    rates = [point.success for point in known if point.success is not None]
    if not rates:
        return None, None, None
    mean, low, high = _mean(rates)
    episodes = sum(point.episodes for point in known)
    if episodes:  # runs of earlier versions did not keep their number
        solved = sum(round(rate * p.episodes) for rate, p in zip(rates, known, strict=True))
        lower, upper = _wilson(solved, episodes)
        low, high = min(low, lower), max(high, upper)
    return mean, low, high


# the live page asks for the same ones every second
@lru_cache(maxsize=4096)
def _wilson(successes: int, episodes: int) -> tuple[float, float]:
    return wilson(successes, episodes)


@lru_cache(maxsize=65_536)
def _bootstrap(values: tuple[float, ...]) -> tuple[float, float]:
    return bootstrap(values) if len(set(values)) > 1 else (values[0], values[0])
