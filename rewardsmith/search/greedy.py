"""The greedy strategy: improve the best reward so far, which is kept unless beaten."""

from __future__ import annotations

from rewardsmith.llm.types import Message, Request
from rewardsmith.search.base import NoOptions, Proposal
from rewardsmith.search.brief import build_brief
from rewardsmith.search.common import Prompting


class Greedy(Prompting):
    """Implements `rewardsmith.search.base.Strategy`."""

    Options = NoOptions

    def ask(self, iteration: int) -> list[Proposal]:
        """The same chat for every candidate: the task, the best reply so far, the reflection."""
        brief = build_brief(self.task, self.play, self.trials)
        parents = (self.best.candidate.label,) if self.best else ()
        return [
            Request(self._messages(number), iteration, number, parents=parents, brief=brief)
            for number in range(self.settings.experiment.candidates)
        ]

    def _messages(self, number: int) -> tuple[Message, ...]:
        messages = self.opening(number + 1, self.settings.experiment.candidates)
        if self.reflection:
            best = self.best
            said = best.candidate.reply if best else "(no reward function that could be trained)"
            messages += (Message("assistant", said), Message("user", self.reflection))
        return messages
