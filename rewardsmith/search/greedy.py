"""The greedy strategy: improve on what did best; the best so far is kept unless beaten."""

from __future__ import annotations

from collections.abc import Sequence

from rewardsmith.llm.types import Message, Request
from rewardsmith.search.base import NoOptions, Proposal, rank
from rewardsmith.search.brief import build_brief
from rewardsmith.search.history import Turn, conversation, reflect
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
        self.turns: list[Turn] = []

    @property
    def best(self) -> Trial | None:
        """The best trial so far."""
        return next(iter(rank(self.trials)), None)

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

    def tell(self, iteration: int, trials: Sequence[Trial]) -> str:
        """Remember the trials and reflect on them."""
        self.trials += trials
        self.turns.append(Turn(iteration, tuple(trials), tuple(rank(self.trials))))
        return reflect(self.turns[-1], self.task.horizon)
