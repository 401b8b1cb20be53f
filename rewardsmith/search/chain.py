"""Several strategies one after the other; all of them learn from every trial."""

from __future__ import annotations

from collections.abc import Sequence

from rewardsmith.search.base import Proposal, Strategy
from rewardsmith.types import Trial


class Chain:
    """Splits the iterations among strategies: of five, the first of two gets three."""

    def __init__(self, strategies: Sequence[Strategy], iterations: int) -> None:
        """Take them in their order.

        Args:
            strategies: at least one, at most one per iteration.
            iterations: that the run was planned with; the last one goes on if it is prolonged.
        """
        self._strategies = strategies
        self._iterations = iterations

    def ask(self, iteration: int) -> list[Proposal]:
        """Let the strategy ask whose turn it is."""
        return self._strategies[self._turn(iteration)].ask(iteration)

    def tell(self, iteration: int, trials: Sequence[Trial]) -> str:
        """Tell all of them; the reflection is that of the one whose turn it was."""
        reflections = [strategy.tell(iteration, trials) for strategy in self._strategies]
        return reflections[self._turn(iteration)]

    def _turn(self, iteration: int) -> int:
        count = len(self._strategies)
        return min((iteration - 1) * count // self._iterations, count - 1)
