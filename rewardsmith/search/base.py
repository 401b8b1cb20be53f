"""What a search strategy promises, and the order in which trials are ranked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rewardsmith.llm.types import Request
from rewardsmith.types import Status, Trial


class Strategy(Protocol):
    """Decides what is asked of the language model."""

    def ask(self, iteration: int) -> list[Request]:
        """Give the requests of an iteration, one per candidate.

        It must depend on nothing but the configuration and what was told, so that a run can be
        resumed and replayed.
        """
        ...

    def tell(self, iteration: int, trials: Sequence[Trial]) -> str:
        """Take an iteration's trials; give the reflection on them."""
        ...


def rank(trials: Sequence[Trial]) -> list[Trial]:
    """Sort trained trials, best first; of equals, the earlier one stays ahead.

    The order is that of fitness; ties break by how early the success came (mean success over the
    looks during training).
    """
    trained = [trial for trial in trials if trial.evaluation.status is Status.OK]
    return sorted(trained, key=_merit, reverse=True)


def _merit(trial: Trial) -> tuple[float, float]:
    evaluation = trial.evaluation
    assert evaluation.fitness is not None
    points = [
        point.success for curve in evaluation.curves for point in curve if point.success is not None
    ]
    return evaluation.fitness.mean, sum(points) / len(points) if points else 0.0
