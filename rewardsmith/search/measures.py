"""Statistics over the looks at a candidate's policies during training, for alarms and reflection.

A candidate has few looks (5 by default) in each of few trainings (3), and a look has few episodes
(4). So all looks of all trainings are taken together: 15 points say what 5 cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rewardsmith.types import Checkpoint, Evaluation

FEWEST_POINTS = 4
"""Below this a rank correlation says nothing."""


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation.

    Attributes:
        value: from -1 to 1.
        chance: that it is this high or higher where there is none.
        points: behind it.
    """

    value: float
    chance: float
    points: int


@dataclass(frozen=True)
class Part:
    """One component of a reward over a training.

    Attributes:
        name: as the reward calls it.
        lows: lowest value in any step, at each look, over all trainings.
        means: mean per step at each look.
        highs: highest value in any step at each look.
        share: of the sum of all components' absolute means.
        correlation: of its mean with success over all looks; None if either never changes.
    """

    name: str
    lows: tuple[float, ...]
    means: tuple[float, ...]
    highs: tuple[float, ...]
    share: float
    correlation: Correlation | None


def looks(evaluation: Evaluation) -> list[Checkpoint]:
    """All looks of all trainings."""
    return [point for curve in evaluation.curves for point in curve]


def rounds(evaluation: Evaluation) -> list[tuple[Checkpoint, ...]]:
    """The looks that belong together: the first of each training, the second of each, and so on."""
    return list(zip(*evaluation.curves, strict=False))


def success_curve(evaluation: Evaluation) -> list[float]:
    """Mean success over the trainings at each look; empty without a success flag."""
    return [
        float(np.mean([point.success for point in group]))
        for group in rounds(evaluation)
        if all(point.success is not None for point in group)
    ]


def correlate(first: Sequence[float], second: Sequence[float]) -> Correlation | None:
    """Rank correlation of two series; None if one never changes or there are too few points."""
    from scipy.stats import spearmanr

    if len(first) < FEWEST_POINTS or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    found = spearmanr(first, second, alternative="greater")
    return Correlation(float(found.statistic), float(found.pvalue), len(first))


def with_success(points: Sequence[Checkpoint], values: Sequence[float]) -> Correlation | None:
    """Rank correlation of what was found at some looks with success there."""
    pairs = [
        (value, point.success)
        for point, value in zip(points, values, strict=True)
        if point.success is not None
    ]
    return correlate([value for value, _ in pairs], [success for _, success in pairs])


def shares(evaluation: Evaluation) -> dict[str, float]:
    """What each component supplies: its absolute mean, by the sum of all; looks count alike."""
    points = looks(evaluation)
    names = list(points[0].components) if points else []
    sizes = {
        name: float(np.mean([abs(point.components[name]) for point in points])) for name in names
    }
    total = sum(sizes.values())
    return {name: size / total if total else 0.0 for name, size in sizes.items()}


def parts(evaluation: Evaluation) -> list[Part]:
    """All components, the largest first."""
    points = looks(evaluation)
    found = [
        _part(evaluation, name, share, with_success(points, [p.components[name] for p in points]))
        for name, share in shares(evaluation).items()
    ]
    return sorted(found, key=lambda item: -item.share)


def _part(evaluation: Evaluation, name: str, share: float, correlation: Correlation | None) -> Part:
    groups = rounds(evaluation)
    means = [[point.components[name] for point in group] for group in groups]
    # runs of earlier versions kept no extremes: their means stand in
    ends = [
        [point.extremes.get(name, (point.components[name],) * 2) for point in group]
        for group in groups
    ]
    return Part(
        name,
        tuple(min(low for low, _ in group) for group in ends),
        tuple(float(np.mean(group)) for group in means),
        tuple(max(high for _, high in group) for group in ends),
        share,
        correlation,
    )


def kept_looks(evaluation: Evaluation) -> list[Checkpoint]:
    """The look of each training that its policy was taken from: its own return was the highest."""
    return [
        max(reversed(curve), key=lambda point: point.own_return)
        for curve in evaluation.curves
        if curve
    ]


def successes(points: Sequence[Checkpoint]) -> tuple[int, int]:
    """Successful episodes at some looks, and all of them; of those whose number was kept."""
    known = [point for point in points if point.success is not None]
    solved = sum(round((point.success or 0.0) * point.episodes) for point in known)
    return solved, sum(point.episodes for point in known)


def differ_by_chance(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Chance that two rates differ as much as these where they are the same (Fisher's exact test).

    Trainings are put together, as if all episodes were independent. They are not quite: the looks
    of all trainings begin in the same few situations, so what comes out is a bound to go by, and
    chance exceeds it more often than it says.

    Args:
        first: successes, and episodes.
        second: the same of the other sample.
    """
    from scipy.stats import fisher_exact

    (one, of_one), (two, of_two) = first, second
    return float(fisher_exact([[one, of_one - one], [two, of_two - two]]).pvalue)
