"""Tuning without a provider: vary the numbers in the best reward so far.

CMA-ES (Hansen 2016, https://arxiv.org/abs/1604.00772) in the logarithm of each number, so that a
weight is as likely to double as to halve. It learns from ranks only, which is what noisy fitness
can tell. Nothing is kept but what was told: the optimiser is built anew from the trials each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from cmaes import CMA
from pydantic import BaseModel, ConfigDict, Field

from rewardsmith.search.base import Draft, NoOptions, Proposal, rank
from rewardsmith.search.constants import Constant, all_numbers, find_constants, with_numbers
from rewardsmith.search.greedy import Greedy
from rewardsmith.settings import Settings
from rewardsmith.tasks.task import RandomPlay, Task
from rewardsmith.types import FloatArray, Trial

ORIGIN = "tune"
SMALLEST_POPULATION = 4
"""CMA-ES needs two better ones and two worse ones to learn from."""


class TuneOptions(BaseModel):
    """``strategies.tune``.

    Attributes:
        spread: a number may become this many times larger or smaller than in the reward that is
            tuned.
        sigma: first standard deviation, as a share of the range of each number on a log scale.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spread: float = Field(gt=1)
    sigma: float = Field(gt=0, le=1)


class Tune:
    """Implements `rewardsmith.search.base.Strategy`.

    Where there is nothing to tune (nothing was trained yet, or the best reward holds no number that
    may be varied) it asks the provider as `Greedy` does.
    """

    Options = TuneOptions

    def __init__(
        self, options: TuneOptions, settings: Settings, task: Task, play: RandomPlay
    ) -> None:
        """Start with no trials."""
        self.options = options
        self.settings = settings
        self._greedy = Greedy(NoOptions(), settings, task, play)

    def ask(self, iteration: int) -> list[Proposal]:
        """Variants of the best reward; it is not proposed again, its numbers are known."""
        base = self._base()
        constants = _constants(base) if base else []
        if base is None or not constants:
            return self._greedy.ask(iteration)
        points = self._points(base, constants, iteration)
        return [
            Draft(
                iteration,
                number,
                with_numbers(_source(base), self._numbers(constants, point)),
                ORIGIN,
                parents=(base.candidate.label,),
            )
            for number, point in enumerate(points)
        ]

    def tell(self, iteration: int, trials: Sequence[Trial]) -> str:
        """Remember the trials and reflect on them."""
        reflection = self._greedy.tell(iteration, trials)
        base = self._base()
        if base is not None and not _constants(base):
            reflection += (
                f"\nReward {base.candidate.label} holds no number that could be tuned: "
                "the provider is asked for a better one instead.\n"
            )
        return reflection

    def _base(self) -> Trial | None:
        """The reward whose numbers are varied: the best one, or what the best one was made of."""
        best = self._greedy.best
        if best is None or best.candidate.origin != ORIGIN:
            return best
        (label,) = best.candidate.parents
        return next(trial for trial in self._greedy.trials if trial.candidate.label == label)

    def _points(
        self, base: Trial, constants: Sequence[Constant], iteration: int
    ) -> list[FloatArray]:
        """Where to look next, in units of the range: 0 is the base, -1 and 1 are the bounds.

        Once the optimiser has learned something, its mean is among the points: it averages the
        noise of many trials.
        """
        count = self.settings.experiment.candidates
        size = count * math.ceil((SMALLEST_POPULATION - 1) / count)
        optimiser = self._optimiser(len(constants), size)
        variants = [trial for trial in self._greedy.trials if _is_variant(trial, base)]
        best = base
        for start in range(0, len(variants) - size + 1, size):
            told = [best, *variants[start : start + size]]
            optimiser.tell(self._judged(told, constants))
            best = rank(told)[0]
        seeds = np.random.SeedSequence([self.settings.experiment.seed, iteration])
        optimiser.reseed_rng(int(seeds.generate_state(1)[0]))
        points = [optimiser.ask() for _ in range(count)]
        if optimiser.generation and len(variants) % size == 0:
            points[0] = optimiser.mean.copy()
        return points

    def _optimiser(self, dimensions: int, size: int) -> CMA:
        """One generation is `size` new variants and the best before them, which costs nothing."""
        return CMA(
            np.zeros(dimensions),
            self.options.sigma,
            bounds=np.tile([-1.0, 1.0], (dimensions, 1)),
            population_size=size + 1,
        )

    def _judged(
        self, trials: Sequence[Trial], constants: Sequence[Constant]
    ) -> list[tuple[FloatArray, float]]:
        """Points with their ranks; what was not trained ranks last."""
        ranking = rank(trials)
        return [
            (
                self._point(constants, _source(trial)),
                float(ranking.index(trial) if trial in ranking else len(ranking)),
            )
            for trial in trials
        ]

    def _numbers(self, constants: Sequence[Constant], point: FloatArray) -> dict[int, float]:
        return {
            constant.place: constant.value * self.options.spread ** float(at)
            for constant, at in zip(constants, point, strict=True)
        }

    def _point(self, constants: Sequence[Constant], source: str) -> FloatArray:
        """Where a variant lies, read from its source."""
        numbers = all_numbers(source)
        ratios = [numbers[constant.place] / constant.value for constant in constants]
        return np.log(ratios) / math.log(self.options.spread)


def _source(trial: Trial) -> str:
    assert trial.candidate.reward is not None
    return trial.candidate.reward.source


def _constants(trial: Trial) -> list[Constant]:
    return find_constants(_source(trial))


def _is_variant(trial: Trial, base: Trial) -> bool:
    candidate = trial.candidate
    return candidate.origin == ORIGIN and candidate.parents == (base.candidate.label,)
