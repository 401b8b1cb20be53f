"""Best of N: ask every time as at first, and feed nothing back.

The control at the same budget: what a strategy gains by its feedback is what it finds beyond this.
The reflections are written for people only.
"""

from __future__ import annotations

from rewardsmith.search.base import NoOptions, Proposal
from rewardsmith.search.common import Prompting


class BestOfN(Prompting):
    """Implements `rewardsmith.search.base.Strategy`."""

    Options = NoOptions

    def ask(self, iteration: int) -> list[Proposal]:
        """Fresh requests, whatever came of the earlier ones."""
        return [
            self.fresh(iteration, number) for number in range(self.settings.experiment.candidates)
        ]
