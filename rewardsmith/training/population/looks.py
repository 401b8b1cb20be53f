"""Looks at the policies during training: the points of the curves, and which policy to keep."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any

from rewardsmith.evaluation import Episode, checkpoint, gather
from rewardsmith.training.population.actor import Vector, fold, pack
from rewardsmith.training.population.curves import Curves
from rewardsmith.training.population.features import Features
from rewardsmith.training.population.learner import pick
from rewardsmith.training.population.physics import Physics, Play, result
from rewardsmith.training.population.relabel import Relabeler
from rewardsmith.types import Checkpoint, Transitions


class Look:
    """All policies as they were at one moment."""

    def __init__(
        self, timesteps: int, actors: Any, features: Features, critics: Any = None
    ) -> None:
        """Keep them.

        Args:
            timesteps: when.
            actors: of `Learners.actors`.
            features: copied, since its statistics go on.
            critics: of `Learners.critics`, for the export.
        """
        self.timesteps = timesteps
        self.features = copy.deepcopy(features)
        self.statistics: Sequence[dict[str, float]] = ()
        self._actors, self._critics = actors, critics

    def of(self, learner: int) -> tuple[Any, Any]:
        """One learner's actor and critics."""
        return pick(self._actors, learner), pick(self._critics, learner)

    def packed(self, learner: int) -> Vector:
        """One learner's policy as the environments' processes take it."""
        return pack(fold(self.of(learner)[0], self.features))


class Looks:
    """Measures the policies at fixed moments, in the time that the training leaves.

    Attributes:
        points: curve of each learner, so far.
    """

    def __init__(
        self,
        physics: Physics,
        relabeler: Relabeler,
        seeds: Sequence[int],
        curves: Sequence[Curves],
        trainings: int,
        report: Callable[[dict[str, Any]], None],
    ) -> None:
        """Remember whom to ask.

        Args:
            physics: plays the episodes.
            relabeler: says what each candidate thinks of them.
            seeds: of the episodes of each look.
            curves: of each learner.
            trainings: learners per candidate.
            report: told each point.
        """
        self._physics, self._relabeler, self._seeds = physics, relabeler, seeds
        self._curves, self._trainings, self._report = curves, trainings, report
        self.points: list[list[Checkpoint]] = [[] for _ in curves]
        self._looks: list[Look] = []
        self._pending: list[tuple[Look, int, list[Future[Episode]]]] = []
        self._best: dict[int, tuple[float, Look]] = {}

    def __len__(self) -> int:
        """Looks started so far."""
        return len(self._looks)

    @property
    def last(self) -> Look:
        """The latest look."""
        return self._looks[-1]

    def best(self, learner: int) -> Look:
        """When a learner's own return was the highest."""
        return self._best[learner][1]

    def start(self, look: Look, learners: Sequence[int]) -> None:
        """Ask for the episodes of a look."""
        self._looks.append(look)
        for learner in learners:
            actor = look.packed(learner)
            plays = [self._physics.evaluate(Play(seed, actor, None)) for seed in self._seeds]
            self._pending.append((look, learner, plays))

    def take(self, wait: bool) -> None:
        """Make points of the episodes that were asked for.

        Args:
            wait: for all of them; else take those that are there.
        """
        waiting = []
        for look, learner, plays in self._pending:
            if wait or all(play.done() for play in plays):
                self._point(look, learner, [result(play) for play in plays])
            else:
                waiting.append((look, learner, plays))
        self._pending = waiting

    def _point(self, look: Look, learner: int, played: Sequence[Episode]) -> None:
        candidate = learner // self._trainings
        batch = Transitions.concatenate([episode.transitions for episode in played])
        rewards = self._relabeler.look(candidate, batch)
        if rewards is None:
            return
        said = look.statistics[learner] if look.statistics else {}
        point = checkpoint(look.timesteps, gather(played), rewards, said)
        self.points[learner].append(point)
        if learner not in self._best or point.own_return >= self._best[learner][0]:
            self._best[learner] = (point.own_return, look)
        self._curves[learner].checkpoint(point)
        self._report(
            {
                "candidate": candidate,
                "training": learner % self._trainings,
                "timesteps": point.timesteps,
                "checkpoint": asdict(point),
            }
        )

    def close(self, last: Mapping[int, Mapping[str, float]]) -> None:
        """End all curves.

        Args:
            last: what some learners' curves end with.
        """
        for learner, curves in enumerate(self._curves):
            if learner in last:
                curves.scalars(self.last.timesteps, last[learner])
