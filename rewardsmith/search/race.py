"""Which candidates cannot be told from the best, and need more seeds.

Successive halving with racing (Maron & Moore 1993; Jamieson & Talwalkar 2016): those whose
interval reaches the best one's go on, at most half of them each time, until one is left, or those
that are left are as good as equal.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewardsmith.search.base import rank
from rewardsmith.types import Fitness, Trial


def rivals(trials: Sequence[Trial], most: int, indifference: float) -> list[Trial]:
    """Pick the trials that should be trained on more seeds.

    The best of the earlier iterations takes part if it is close at all: it was measured when there
    was less experience to learn from, and here its further trainings have as much as its rivals'.

    Args:
        trials: all so far.
        most: as many at most, the highest ranked; two are always allowed.
        indifference: successes whose intervals lie within so much are as good as equal.

    Returns:
        Best first; none if the best stands alone, or if it matters little who is best.
    """
    ranking = rank(trials)
    if not ranking:
        return []
    low = _fitness(ranking[0]).low
    close = [trial for trial in ranking if _fitness(trial).high >= low]
    if len(close) < 2 or _as_good_as_equal([_fitness(trial) for trial in close], indifference):
        return []
    latest = max(trial.candidate.iteration for trial in trials)
    earlier = [trial for trial in close if trial.candidate.iteration < latest]
    last = max(most, 2)
    chosen = close[:last]
    if earlier and earlier[0] not in chosen:
        chosen[-1] = earlier[0]
    return chosen


def _fitness(trial: Trial) -> Fitness:
    assert trial.evaluation.fitness is not None
    return trial.evaluation.fitness


def _as_good_as_equal(values: Sequence[Fitness], indifference: float) -> bool:
    if values[0].kind != "success":
        return False
    spread = max(item.high for item in values) - min(item.low for item in values)
    return spread <= indifference
