"""What a training backend promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rewardsmith.execution import LocalExecutor
from rewardsmith.settings import Settings
from rewardsmith.types import Candidate, Evaluation

OnProgress = Callable[[Candidate, dict[str, Any]], None]
OnEvaluated = Callable[[Candidate, Evaluation], None]


class Backend(Protocol):
    """Trains candidates and measures them by the task's own success."""

    @staticmethod
    def check(settings: Settings, executor: LocalExecutor) -> None:
        """Find out whether a training could start, before anything is spent or written.

        Raises:
            ConfigurationError: it could not; one sentence.
        """
        ...

    def train(
        self,
        candidates: Sequence[Candidate],
        on_progress: OnProgress,
        on_evaluated: OnEvaluated,
    ) -> None:
        """Train every candidate on all training seeds.

        A candidate that fails, or whose worker dies, gets an evaluation that says so; it never
        stops the others.

        Args:
            candidates: all with a reward that passed the probe.
            on_progress: told steps and checkpoints as they come.
            on_evaluated: told each candidate's evaluation as soon as it is complete.
        """
        ...

    def test(self, candidate: Candidate, training: int) -> dict[str, Any]:
        """Play the test episodes with one of a candidate's saved policies.

        Args:
            candidate: a trained one.
            training: which of its trainings, from 0.

        Returns:
            The fields of `rewardsmith.evaluation.Episodes`.
        """
        ...
