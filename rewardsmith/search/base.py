"""What a search strategy promises, and the order in which trials are ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from rewardsmith.llm.types import Request
from rewardsmith.types import Evaluation, Status, Trial


@dataclass(frozen=True)
class Draft:
    """A reward that needs no provider: a user's own, or one that a strategy wrote itself.

    Attributes:
        iteration: number of the iteration, from 1.
        candidate: position in the iteration, from 0.
        source: code with ``compute_reward``.
        origin: who wrote it, for the record.
        parents: labels of the candidates that it was made of.
    """

    iteration: int
    candidate: int
    source: str
    origin: str
    parents: tuple[str, ...] = ()


Proposal = Request | Draft
"""What becomes a candidate: something to ask a provider for, or something that is there."""


class NoOptions(BaseModel):
    """Options of a strategy that has none."""

    model_config = ConfigDict(extra="forbid")


class Strategy(Protocol):
    """Decides what is asked of the language model.

    A strategy is built as ``Class(options, settings, task, play)``: its own options (checked
    against ``Class.Options``), the whole settings, the task, and its random play.
    """

    def ask(self, iteration: int) -> list[Proposal]:
        """Give the proposals of an iteration, one per candidate.

        It must depend on nothing but the configuration and what was told, so that a run can be
        resumed and replayed.
        """
        ...

    def tell(self, iteration: int, trials: Sequence[Trial]) -> str:
        """Take an iteration's trials; give the reflection on them.

        Earlier trials may be among them once more: rivals of the best are trained on more seeds.
        """
        ...


def rank(trials: Sequence[Trial]) -> list[Trial]:
    """Sort trained trials, best first.

    The order is that of fitness. Of equals, the earlier iteration stays ahead: later ones start on
    more experience, so how early they succeeded says nothing. Within an iteration ties break by how
    early the success came (mean success over the looks during training).
    """
    trained = [trial for trial in trials if trial.evaluation.status is Status.OK]
    return sorted(trained, key=_merit, reverse=True)


def _merit(trial: Trial) -> tuple[float, int, float]:
    evaluation = trial.evaluation
    assert evaluation.fitness is not None
    return evaluation.fitness.mean, -trial.candidate.iteration, earliness(evaluation)


def earliness(evaluation: Evaluation) -> float:
    """Mean success over the looks of all trainings, 0 to 1: the area under the success curve."""
    points = [
        point.success for curve in evaluation.curves for point in curve if point.success is not None
    ]
    return sum(points) / len(points) if points else 0.0
