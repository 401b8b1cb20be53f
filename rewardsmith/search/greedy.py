"""The greedy strategy: improve on what did best; the best so far is kept unless beaten."""

from __future__ import annotations

from rewardsmith.llm.types import Message, Request
from rewardsmith.search.base import NoOptions, Proposal
from rewardsmith.search.brief import build_brief
from rewardsmith.search.common import Prompting
from rewardsmith.search.history import conversation


class Greedy(Prompting):
    """Implements `rewardsmith.search.base.Strategy`."""

    Options = NoOptions

    def ask(self, iteration: int) -> list[Proposal]:
        """The same chat for every candidate: the task, and what became of the last iterations."""
        brief = build_brief(self.task, self.play, self.trials)
        parents = (self.best.candidate.label,) if self.best else ()
        return [
            Request(self._messages(number), iteration, number, parents=parents, brief=brief)
            for number in range(self.settings.experiment.candidates)
        ]

    def _messages(self, number: int) -> tuple[Message, ...]:
        experiment = self.settings.experiment
        return conversation(
            self.task,
            self.play,
            number + 1,
            experiment.candidates,
            self.turns,
            experiment.prompt_tokens,
        )
