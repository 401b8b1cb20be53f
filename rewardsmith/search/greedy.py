"""The greedy strategy: improve the best reward so far, which is kept unless beaten."""

from __future__ import annotations

from collections.abc import Sequence

from rewardsmith.llm.types import Message, Request
from rewardsmith.search.base import NoOptions, Proposal, rank
from rewardsmith.search.brief import build_brief
from rewardsmith.search.prompts import reflection_prompt, system_prompt, task_prompt
from rewardsmith.settings import Settings
from rewardsmith.tasks.task import RandomPlay, Task
from rewardsmith.types import Trial


class Greedy:
    """Implements `rewardsmith.search.base.Strategy`."""

    Options = NoOptions

    def __init__(
        self, options: NoOptions, settings: Settings, task: Task, play: RandomPlay
    ) -> None:
        """Start with no trials."""
        self.settings = settings
        self.task = task
        self.play = play
        self.trials: list[Trial] = []
        self.reflection = ""

    @property
    def best(self) -> Trial | None:
        """The best trial so far."""
        return next(iter(rank(self.trials)), None)

    def ask(self, iteration: int) -> list[Proposal]:
        """The same chat for every candidate: the task, the best reply so far, the reflection."""
        brief = build_brief(self.task, self.play, self.trials)
        parents = (self.best.candidate.label,) if self.best else ()
        return [
            Request(self._messages(number), iteration, number, parents=parents, brief=brief)
            for number in range(self.settings.experiment.candidates)
        ]

    def _messages(self, number: int) -> tuple[Message, ...]:
        count = self.settings.experiment.candidates
        messages = [
            Message("system", system_prompt()),
            Message("user", task_prompt(self.task, self.play, number + 1, count)),
        ]
        if self.reflection:
            best = self.best
            said = best.candidate.reply if best else "(no reward function that could be trained)"
            messages += [Message("assistant", said), Message("user", self.reflection)]
        return tuple(messages)

    def tell(self, iteration: int, trials: Sequence[Trial]) -> str:
        """Remember the trials and reflect on them."""
        self.trials = list(trials)
        latest = [trial for trial in trials if trial.candidate.iteration == iteration]
        self.reflection = reflection_prompt(iteration, latest, rank(trials), self.best)
        return self.reflection
