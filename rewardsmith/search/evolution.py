"""Evolution: islands of rewards that a language model mutates and crosses over.

After REvolve (Hazra et al. 2024, https://arxiv.org/abs/2406.01309), with the task's own fitness in
the place of human preferences. Each candidate belongs to an island by its number. An island keeps
its best members, draws parents among them by a softmax over their fitness, and now and then sends
its best member to the next island. Every request shows its parents only, each with its numbers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from rewardsmith.llm.builtin import CROSSOVER, MUTATION
from rewardsmith.llm.types import Message, Request
from rewardsmith.search.base import Proposal, rank
from rewardsmith.search.brief import build_brief
from rewardsmith.search.common import Prompting
from rewardsmith.search.prompts import fitness_text, render
from rewardsmith.search.reflection import block
from rewardsmith.settings import Settings
from rewardsmith.tasks.task import RandomPlay, Task
from rewardsmith.types import Trial

CHANGES = (
    "Change the weight of one part, so that no part drowns the others.",
    "Change the shape of one part: its kernel, or how steeply it falls with distance.",
    "Add one part that rewards a step on the way which nothing rewards yet.",
    "Take away or replace the part that helps least, or that can be collected without success.",
    "Change when one part counts: where its threshold lies, or what has to be reached first.",
)
"""What a mutation may be asked for; one is drawn for each request."""


class EvolutionOptions(BaseModel):
    """``strategies.evolution``.

    Attributes:
        islands: populations that evolve apart; never more than there are candidates an iteration.
        size: members that an island keeps.
        crossover: how often two parents are asked for instead of one, 0 to 1.
        temperature: of the softmax over fitness (0 to 1) that draws parents; small is greedy.
        migration: iterations from one migration to the next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    islands: PositiveInt
    size: PositiveInt
    crossover: float = Field(ge=0, le=1)
    temperature: PositiveFloat
    migration: PositiveInt


class Evolution(Prompting):
    """Implements `rewardsmith.search.base.Strategy`."""

    Options = EvolutionOptions

    def __init__(
        self, options: EvolutionOptions, settings: Settings, task: Task, play: RandomPlay
    ) -> None:
        """Start with empty islands."""
        super().__init__(options, settings, task, play)
        count = min(options.islands, settings.experiment.candidates)
        self.islands: list[list[Trial]] = [[] for _ in range(count)]

    def ask(self, iteration: int) -> list[Proposal]:
        """A mutation or a crossover for each candidate; something fresh for an empty island."""
        ranking = rank(self.trials)
        return [
            self._request(iteration, number, ranking)
            for number in range(self.settings.experiment.candidates)
        ]

    def tell(self, iteration: int, trials: Sequence[Trial]) -> str:
        """Let the trials settle on their islands, and migrate when it is time."""
        reflection = super().tell(iteration, trials)
        known = {trial.candidate.label: trial for trial in self.trials}
        for place, island in enumerate(self.islands):  # some may have been trained on more seeds
            self.islands[place] = rank([known[trial.candidate.label] for trial in island])
        for trial in trials:
            if trial.candidate.iteration == iteration:
                self._settle(trial.candidate.index % len(self.islands), trial)
        if iteration % self.options.migration == 0:
            for place, best in enumerate([island[:1] for island in self.islands]):
                for trial in best:
                    self._settle((place + 1) % len(self.islands), trial)
        return reflection

    def _settle(self, place: int, trial: Trial) -> None:
        """Give a trial to an island, which keeps its best; what was not trained is dropped."""
        members = self.islands[place]
        if trial not in members:
            self.islands[place] = rank([*members, trial])[: self.options.size]

    def _request(self, iteration: int, number: int, ranking: Sequence[Trial]) -> Request:
        members = self.islands[number % len(self.islands)]
        if not members:
            return self.fresh(iteration, number)
        chance = random.Random(f"{self.settings.experiment.seed}/{iteration}/{number}")
        parents = self._parents(members, chance)
        operator = CROSSOVER if len(parents) > 1 else MUTATION
        system, task = self.opening(1, 1)
        text = render(
            operator,
            iteration=iteration,
            parents=[_shown(parent, ranking) for parent in parents],
            change=chance.choice(CHANGES),
        )
        brief = build_brief(self.task, self.play, parents)
        return Request(
            (system, Message("user", f"{task.content}\n{text}")),
            iteration,
            number,
            parents=tuple(parent.candidate.label for parent in parents),
            brief=replace(brief, operator=operator),
        )

    def _parents(self, members: Sequence[Trial], chance: random.Random) -> list[Trial]:
        """One member to mutate, or two different ones to cross over."""
        count = 2 if len(members) > 1 and chance.random() < self.options.crossover else 1
        left, chosen = list(members), []
        for _ in range(count):
            weights = _softmax(self._fitness(left), self.options.temperature)
            chosen.append(left.pop(chance.choices(range(len(left)), weights)[0]))
        return rank(chosen)

    def _fitness(self, members: Sequence[Trial]) -> list[float]:
        """Success; where fitness is a return, which has no scale, the rank from 1 down to 0."""
        if self.task.fitness_kind == "return":
            order = rank(members)
            return [1.0 - order.index(trial) / max(len(order) - 1, 1) for trial in members]
        return [trial.evaluation.fitness.mean for trial in members if trial.evaluation.fitness]


def _softmax(values: Sequence[float], temperature: float) -> list[float]:
    weights = np.exp((np.array(values) - max(values)) / temperature)
    return [float(weight) for weight in weights / weights.sum()]


def _shown(trial: Trial, ranking: Sequence[Trial]) -> dict[str, Any]:
    """A parent as its request shows it: its code and the numbers of its training."""
    fitness = trial.evaluation.fitness
    assert fitness is not None and trial.candidate.reward is not None
    looks = trial.evaluation.curves[0] if trial.evaluation.curves else ()
    names = list(looks[0].components) if looks else []
    return {
        "label": trial.candidate.label,
        "fitness": fitness_text(trial, ranking),
        "measure": "success rate" if fitness.kind == "success" else "fitness",
        "source": block(trial.candidate.reward.source.strip()),
        "timesteps": ", ".join(str(look.timesteps) for look in looks),
        "successes": ", ".join(f"{look.success:.1f}" for look in looks if look.success is not None),
        "components": [
            {"name": name, "means": ", ".join(f"{look.components[name]:.3g}" for look in looks)}
            for name in names
        ],
    }
