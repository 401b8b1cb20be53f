"""The headline: the winner beside what it has to beat, each trained from scratch on fresh seeds.

None of these numbers comes from a training seed or an episode that the search selected by. The
measures are those of Agarwal et al. 2021 (intervals, interquartile mean, probability of
improvement) and the human-normalised score of Ma et al. 2024 (Eureka).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rewardsmith.evaluation import CONFIDENCE
from rewardsmith.search.base import rank
from rewardsmith.settings import Settings
from rewardsmith.tasks.baselines import Baseline
from rewardsmith.types import Candidate, Evaluation, RewardFunction, Trial

WINNER, FIRST = "winner", "best of iteration 1"
SPARSE, HUMAN = "sparse", "human"


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

    @property
    def key(self) -> str:
        """Digest of what its trainings depend on, beside its reward."""
        experiment = self.settings.experiment
        numbers = [experiment.seed, experiment.final_seeds, experiment.test_episodes]
        training = self.settings.training.decisive()
        values = json.dumps([training, self.settings.env.model_dump(), numbers], sort_keys=True)
        return hashlib.sha256(values.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Improvement:
    """How likely a fresh training of the winner beats one of another reward; a tie counts half.

    Attributes:
        probability: over all pairs of training seeds.
        low: lower end of the 95 % interval.
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

    The interval is Newcombe's score interval for a rank statistic (2006, method 5), which keeps its
    width where one side wins every time.

    Returns:
        None if one of them has fewer than two trainings: one alone says nothing of the spread.
    """
    if min(len(winner.scores), len(other.scores)) < 2:
        return None
    ours, theirs = np.array(winner.scores), np.array(other.scores)
    wins = (ours[:, None] > theirs) + 0.5 * (ours[:, None] == theirs)
    probability = float(wins.mean())
    low, high = _score_interval(probability, len(ours), len(theirs))
    return Improvement(probability, low, high)


def _score_interval(probability: float, ours: int, theirs: int) -> tuple[float, float]:
    """Ends at which the probability would just not be rejected."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    weight = (ours + theirs) / 2 - 1
    limit = float(norm.ppf((1 + CONFIDENCE) / 2))

    def excess(true: float) -> float:
        spread = 1 + weight * (1 - true) / (2 - true) + weight * true / (1 + true)
        variance = true * (1 - true) * spread / (ours * theirs)
        return abs(true - probability) - limit * variance**0.5

    near = 1e-9  # where nothing is in excess; at 0 and 1 themselves there is no variance
    low = brentq(excess, 0.0, probability - near) if probability > 0 else 0.0
    high = brentq(excess, probability + near, 1.0) if probability < 1 else 1.0
    return float(low), float(high)


def human_normalised(entrants: Sequence[Entrant]) -> dict[str, float]:
    """Score of each entrant on a scale from the sparse reward (0) to the human one (1).

    Returns:
        By label; empty where a baseline is missing, or where the human reward is not clearly better
        than the sparse one (their intervals meet): the scale would have no length.
    """
    found = {
        item.candidate.label: item.evaluation.fitness
        for item in entrants
        if item.evaluation is not None and item.evaluation.fitness is not None
    }
    sparse, human = found.get(SPARSE), found.get(HUMAN)
    if sparse is None or human is None or human.low <= sparse.high:
        return {}
    length = human.mean - sparse.mean
    return {label: (item.mean - sparse.mean) / length for label, item in found.items()}
