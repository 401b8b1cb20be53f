"""The headline: the winner beside what it has to beat, each trained from scratch on fresh seeds.

None of these numbers comes from a training seed or an episode that the search selected by. The
measures are those of Agarwal et al. 2021 (intervals, interquartile mean, probability of
improvement) and the human-normalised score of Ma et al. 2024 (Eureka).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rewardsmith.evaluation import CONFIDENCE
from rewardsmith.search.base import rank
from rewardsmith.settings import Settings
from rewardsmith.tasks.baselines import Baseline
from rewardsmith.types import Candidate, Evaluation, FloatArray, RewardFunction, Trial

WINNER, FIRST = "winner", "best of iteration 1"
SPARSE, HUMAN = "sparse", "human"
SMALLEST_DIFFERENCE = 0.02
"""Of human and sparse success; closer together, nothing can be told by their distance."""
RESAMPLES = 2_000


@dataclass(frozen=True)
class Entrant:
    """A reward in the headline table.

    Attributes:
        names: what it is: the winner, the best of iteration 1 (which may be the same), a baseline.
        candidate: its reward.
        settings: that it is trained with.
        evaluation: of its fresh trainings; None before.
    """

    names: tuple[str, ...]
    candidate: Candidate
    settings: Settings
    evaluation: Evaluation | None = None


@dataclass(frozen=True)
class Improvement:
    """How likely a fresh training of the winner beats one of another reward; a tie counts half.

    Attributes:
        probability: over all pairs of training seeds.
        low: lower end of the 95 % interval, by a bootstrap over seeds.
        high: upper end.
    """

    probability: float
    low: float
    high: float


def list_entrants(
    best: Trial, trials: Sequence[Trial], baselines: Sequence[Baseline], settings: Settings
) -> list[Entrant]:
    """Say who is compared, the winner first.

    Args:
        best: the winner.
        trials: all of the search.
        baselines: of the task.
        settings: of the run.
    """
    training = settings.final_training or settings.training
    settings = settings.model_copy(update={"training": training})
    first = next(iter(rank([trial for trial in trials if trial.candidate.iteration == 1])), None)
    searched = [Entrant((WINNER,), best.candidate, settings)]
    if first is not None and first.candidate.label == best.candidate.label:
        searched = [Entrant((WINNER, FIRST), best.candidate, settings)]
    elif first is not None:
        searched.append(Entrant((FIRST,), first.candidate, settings))
    return searched + [
        Entrant((item.name,), _candidate(index, item), item.settings(settings))
        for index, item in enumerate(baselines)
    ]


def _candidate(index: int, baseline: Baseline) -> Candidate:
    return Candidate(0, index, RewardFunction(baseline.source), origin=baseline.name)


def trained_together(entrants: Sequence[Entrant]) -> list[list[Entrant]]:
    """Those that are not trained yet, in groups of equal settings."""
    groups: list[list[Entrant]] = []
    for entrant in entrants:
        if entrant.evaluation is not None:
            continue
        group = next((group for group in groups if group[0].settings == entrant.settings), None)
        if group is None:
            groups.append([entrant])
        else:
            group.append(entrant)
    return groups


def improvement(winner: Evaluation, other: Evaluation) -> Improvement | None:
    """How likely the winner does better than another.

    None if one of them has fewer than two trainings: one alone says nothing of the spread.
    """
    if min(len(winner.scores), len(other.scores)) < 2:
        return None
    ours, theirs = np.array(winner.scores), np.array(other.scores)
    wins: FloatArray = (ours[:, None] > theirs) + 0.5 * (ours[:, None] == theirs)
    chance = np.random.default_rng(0)
    rows = chance.integers(len(ours), size=(RESAMPLES, len(ours), 1))
    columns = chance.integers(len(theirs), size=(RESAMPLES, 1, len(theirs)))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(wins[rows, columns].mean(axis=(1, 2)), [tail, 100 - tail])
    return Improvement(float(wins.mean()), float(low), float(high))


def human_normalised(entrants: Sequence[Entrant]) -> dict[str, float]:
    """Score of each entrant on a scale from the sparse reward (0) to the human one (1).

    Returns:
        By label; empty where a baseline is missing, or where the two are too close to each other.
    """
    means = {
        item.candidate.label: item.evaluation.fitness.mean
        for item in entrants
        if item.evaluation is not None and item.evaluation.fitness is not None
    }
    if SPARSE not in means or HUMAN not in means:
        return {}
    distance = abs(means[HUMAN] - means[SPARSE])
    if distance < SMALLEST_DIFFERENCE:
        return {}
    return {label: (mean - means[SPARSE]) / distance for label, mean in means.items()}
