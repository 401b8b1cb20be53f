"""What the strategies that ask a provider have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewardsmith.llm.types import Message, Request
from rewardsmith.search.base import rank
from rewardsmith.search.brief import build_brief
from rewardsmith.search.history import Turn, reflect
from rewardsmith.search.prompts import system_prompt, task_prompt
from rewardsmith.settings import Settings
from rewardsmith.tasks.task import RandomPlay, Task
from rewardsmith.types import Trial


class Prompting:
    """Remembers the trials, opens a chat, and reflects; a strategy adds `ask`."""

    def __init__(self, options: Any, settings: Settings, task: Task, play: RandomPlay) -> None:
        """Start with no trials; see `rewardsmith.search.base.Strategy`."""
        self.options = options
        self.settings = settings
        self.task = task
        self.play = play
        self.trials: list[Trial] = []
        self.turns: list[Turn] = []

    @property
    def best(self) -> Trial | None:
        """The best trial so far."""
        return next(iter(rank(self.trials)), None)

    def tell(self, iteration: int, trials: Sequence[Trial]) -> str:
        """Remember the trials and reflect on them."""
        known = {trial.candidate.label: trial for trial in [*self.trials, *trials]}
        self.trials = list(known.values())
        latest = [trial for trial in trials if trial.candidate.iteration == iteration]
        self.turns.append(Turn(iteration, tuple(latest), tuple(rank(self.trials))))
        return reflect(self.turns[-1], self.task.horizon)

    def opening(self, number: int, count: int) -> tuple[Message, ...]:
        """How every chat begins: who the model is, and the task, as request `number` of `count`."""
        task = task_prompt(self.task, self.play, number, count)
        return Message("system", system_prompt()), Message("user", task)

    def fresh(self, iteration: int, candidate: int) -> Request:
        """A request that feeds nothing back.

        Requests are counted over the iterations, so no two of a run are the same: a replay tells
        requests apart by their content. The number of iterations must not be in it, or a run
        that is prolonged would pay for its replies again.
        """
        each = self.settings.experiment.candidates
        number, count = (iteration - 1) * each + candidate + 1, iteration * each
        brief = build_brief(self.task, self.play, [])
        return Request(self.opening(number, count), iteration, candidate, brief=brief)
