"""Train a population: the main routine of the backend.

The learners live here, the environments in the processes of `physics`, the rewards in reward
processes. In every round some episodes are played with the policies of the round before, while the
learners learn from all episodes so far. Everything that the result depends on is fixed by the
round, not by who was faster, so a run can be repeated.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from rewardsmith.evaluation import CHECKPOINT_SEEDS, Episode, gather, held_out_seeds
from rewardsmith.files import link_or_copy
from rewardsmith.settings import EnvSettings, PopulationSettings, SandboxSettings
from rewardsmith.tasks.task import Task
from rewardsmith.training.population.actor import Vector
from rewardsmith.training.population.curves import Curves
from rewardsmith.training.population.features import Features
from rewardsmith.training.population.learner import STATISTICS, Learners
from rewardsmith.training.population.looks import Look, Looks
from rewardsmith.training.population.physics import Physics, Play, result
from rewardsmith.training.population.relabel import Relabeler
from rewardsmith.training.population.replay import Replay, stored_episodes
from rewardsmith.types import Episodes, Fault, Status, Transitions

ROUND_STEPS = 300
"""Environment steps of a round, about: so much later does a policy act on what was learned."""
SHORTEST_ROUND = 2
"""Episodes, so that two processes have something to do however long an episode is."""
HUGE = 1e9
"""A weight of an actor beyond this is no number any more: its outputs would overflow."""
PURITY_ROWS = np.arange(32)
"""The first transitions of all; every look asks for their rewards again."""
BONUS_SHARE = 0.4
"""Share of the training in which there is a bonus for moving."""
CALLS_AHEAD = 2
"""Calls of the update that may wait for the device; each holds its minibatches in memory."""

DIVERGED = Fault(
    Status.DIVERGED,
    "diverged",
    "The training diverged: the learner's numbers became NaN or infinite.",
)


class Reward(BaseModel):
    """One candidate, and where the files of its trainings go (one entry per training)."""

    source: str
    model_files: list[str]
    last_model_files: list[str]
    tensorboard: list[str]


class Payload(BaseModel):
    """What to train, as plain data.

    Attributes:
        env: the task.
        training: how.
        sandbox: limits of the reward processes.
        rewards: the candidates, at most `slots`.
        slots: candidates that the learner has room for, so that its shape is always the same.
        seeds: one per training of a candidate.
        run_seed: of the whole run.
        stream: sets the experience of this population apart from others of the run.
        first_seed: of the episodes that the first training's policies are measured by at the end;
            those of the next training follow.
        episodes: of each training.
        earlier: files of transitions to start with, oldest first.
        experience: file to keep the transitions in, or None.
        processes: for the physics.
    """

    env: EnvSettings
    training: PopulationSettings
    sandbox: SandboxSettings
    rewards: list[Reward]
    slots: int
    seeds: list[int]
    run_seed: int
    stream: list[int]
    first_seed: int
    episodes: int
    earlier: list[str]
    experience: str | None
    processes: int


class Trainer:
    """One population on its way.

    A learner is a candidate's training: number ``candidate * trainings + training``.
    """

    def __init__(
        self,
        payload: Payload,
        task: Task,
        physics: Physics,
        relabeler: Relabeler,
        report: Callable[[dict[str, Any]], None],
    ) -> None:
        """Compile the learners, take the memory, wait for the reward processes.

        Args:
            payload: what to train.
            task: of `payload.env`.
            physics: plays episodes.
            relabeler: of `payload.rewards`.
            report: told what happens.
        """
        self._started = time.monotonic()
        self._payload, self._settings, self._task = payload, payload.training, task
        self._physics, self._relabeler, self._report = physics, relabeler, report
        self._trainings = len(payload.seeds)
        self._count = len(payload.rewards) * self._trainings
        self._shared = self._settings.share_experience
        self._streams = 1 if self._shared else self._count
        self._budget = self._settings.total_timesteps * self._streams
        self._collected = self._played = self._updates = 0
        self._own = [0] * self._count  # of the steps that were collected, each learner's
        self._diverged: set[int] = set()
        self._statistics: list[Any] = []
        self._episodes: list[tuple[int, Future[Episode]]] = self._collect(None)  # they start up
        env = task.make()
        self._spaces: Any = (env.observation_space, env.action_space)
        env.close()
        self._features = Features(self._spaces[0], task)
        self._learners = Learners(
            self._settings,
            len(self._features),
            task.layout.action_width,
            np.array(payload.seeds * payload.slots),
        )
        self._replay = self._make_replay()
        seeds = held_out_seeds(
            CHECKPOINT_SEEDS, payload.run_seed, self._settings.checkpoint_episodes
        )
        curves = [
            Curves(reward.tensorboard[training], reward.source)
            for reward in payload.rewards
            for training in range(self._trainings)
        ]
        self._looks = Looks(physics, relabeler, seeds, curves, self._trainings, report)
        relabeler.load()

    def run(self) -> list[dict[str, Any]]:
        """Train, measure, export.

        Returns:
            See `rewardsmith.training.population.worker.train`.
        """
        self._replay.relabel(0, self._relabel)
        while not self._done:
            start = self._replay.size
            self._store()
            actors = self._learners.actors()  # of the round before; waits until it is learned
            self._notice_divergence(actors)
            if not self._done:
                self._episodes = self._collect(Look(self._progress, actors, self._features).packed)
            self._replay.relabel(start, self._relabel)
            self._learn()
            if self._progress >= self._next_look():
                self._look()
            self._looks.take(wait=False)
            self._report({"timesteps": self._progress})
        self._looks.take(wait=True)
        self._relabeler.settle()
        return self._finish()

    # -- experience ---------------------------------------------------------------------------

    @property
    def _progress(self) -> int:
        """Environment steps that each candidate has had so far."""
        active = self._active()
        if self._shared or not active:
            return self._collected // self._streams
        return sum(self._own[learner] for learner in active) // len(active)

    @property
    def _done(self) -> bool:
        enough = self._progress >= self._settings.total_timesteps
        return enough or self._collected >= self._budget or not self._active()

    def _failed(self, learner: int) -> bool:
        return learner in self._diverged or learner // self._trainings in self._relabeler.faults

    def _active(self) -> list[int]:
        return [learner for learner in range(self._count) if not self._failed(learner)]

    def _seed(self, number: int) -> int:
        """A seed of this population for one purpose; all are below the held-out ones."""
        key = [self._payload.run_seed, *self._payload.stream, number]
        return int(np.random.SeedSequence(key).generate_state(1)[0] % CHECKPOINT_SEEDS)

    def _make_replay(self) -> Replay:
        earlier: list[Transitions] = []
        if self._shared:
            room = max(0, self._settings.buffer_size - self._budget)
            earlier = stored_episodes([Path(file) for file in self._payload.earlier], room)
        replay = Replay(
            self._task,
            self._spaces[1],
            capacity=sum(map(len, earlier)) + self._budget,
            candidates=self._payload.slots,
            learners=self._learners.count,
            hindsight=self._settings.hindsight,
            seed=self._seed(0),
            moving_share=self._settings.moving_share,
        )
        self._earlier = len(earlier)
        for episode in earlier:
            replay.add(episode)
            self._features.update(episode.next_state)
        return replay

    def _collect(self, packed: Callable[[int], Vector] | None) -> list[tuple[int, Future[Episode]]]:
        """Ask for the episodes of the next round; the learners take turns.

        Those that learn from their own steps alone get the same number of steps, not of episodes:
        where episodes end early, bad policies would get hardly any.
        """
        active = self._active()
        random = packed is None or self._progress < self._learning_starts
        planned = {learner: float(self._own[learner]) for learner in active}
        length = self._collected / self._played if self._played else 1.0
        plays = []
        for _ in range(self._episodes_per_round()):
            learner = active[self._played % len(active)]
            if not self._shared:
                learner = min(active, key=lambda item: planned[item])
                planned[learner] += length
            actor = None if random or packed is None else packed(learner)
            seeds = self._seed(2 * self._played + 1), self._seed(2 * self._played + 2)
            play = Play(seeds[0], actor, seeds[1], self._settings.random_actions)
            plays.append((learner, self._physics.collect(play)))
            self._played += 1
        return plays

    def _episodes_per_round(self) -> int:
        if self._settings.episodes_per_round is not None:
            return self._settings.episodes_per_round
        length: float = self._task.horizon or ROUND_STEPS
        if self._collected:
            length = self._collected / self._played
        between_looks = self._budget // self._settings.checkpoints  # no look is to be missed
        streams = 1 if self._shared else len(self._active())
        left = math.ceil((self._settings.total_timesteps - self._progress) * streams / length)
        wanted = max(SHORTEST_ROUND, math.ceil(ROUND_STEPS / length))
        return max(1, min(wanted, int(between_looks / length), left))

    @property
    def _learning_starts(self) -> int:
        warm = self._replay.size > self._collected
        return 0 if warm else self._settings.learning_starts

    def _store(self) -> None:
        """Wait for the episodes of the round."""
        for learner, future in self._episodes:
            episode = result(future)
            count = self._replay.add(episode.transitions, learner, episode.success)
            self._features.update(episode.transitions.next_state[:count])
            self._collected += count
            self._own[learner] += count

    def _relabel(self, batch: Transitions) -> NDArray[np.float64]:
        """Rewards of all slots; those that no candidate has are zero."""
        values = np.zeros((self._payload.slots, len(batch)))
        values[: len(self._payload.rewards)] = self._relabeler.all(batch)
        return values

    # -- learning -----------------------------------------------------------------------------

    def _learn(self) -> None:
        """Make the gradient steps that are due; the device works on when this returns."""
        due = self._settings.updates_per_step * (self._progress - self._learning_starts)
        if not self._replay.ready(self._shared, self._active()):
            return
        shape = self._learners.batch_shape
        while self._updates + shape[0] <= due:
            batch = self._replay.sample(shape, self._features, self._shared, self._bonus)
            self._statistics.append(self._learners.update(batch))
            self._updates += shape[0]
            if len(self._statistics) > CALLS_AHEAD:
                self._statistics[-1 - CALLS_AHEAD].block_until_ready()

    @property
    def _bonus(self) -> float:
        """What moving is worth now: it fades, and is nothing for the rest of the training."""
        fades = BONUS_SHARE * self._settings.total_timesteps
        return self._settings.movement_bonus * max(0.0, 1.0 - self._progress / fades)

    def _notice_divergence(self, actors: Any) -> None:
        """Take learners out whose numbers are not finite; they never reach another's.

        Actors are looked at too: one that broke in the very last gradient step has no statistics
        yet that say so, and its actions would spoil the experience of all.
        """
        numbers = [np.where(np.abs(part) < HUGE, part, np.nan) for part in actors["weights"]]
        for values in (*map(np.asarray, self._statistics), *numbers, *actors["biases"]):
            bad = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
            self._diverged.update(int(learner) for learner in np.flatnonzero(bad[: self._count]))
        self._statistics = self._statistics[-1:]

    # -- measuring ----------------------------------------------------------------------------

    def _next_look(self) -> float:
        checkpoints = self._settings.checkpoints
        return self._settings.total_timesteps * (len(self._looks) + 1) / checkpoints

    def _look(self) -> None:
        """Have all policies measured as they are now; first those of the look before."""
        self._looks.take(wait=True)
        self._relabeler.settle()
        actors = self._learners.actors()
        look = Look(self._progress, actors, self._features, self._learners.critics())
        self._notice_divergence(actors)
        self._relabeler.check_purity(self._replay.versions(PURITY_ROWS))
        if self._statistics:
            values = np.asarray(self._statistics[-1])
            look.statistics = [dict(zip(STATISTICS, row, strict=True)) for row in values.tolist()]
        self._looks.start(look, self._active())

    def _finish(self) -> list[dict[str, Any]]:
        """Measure the best policy of each training, and write models meanwhile."""
        payload = self._payload
        best = {learner: self._looks.best(learner) for learner in self._active()}
        plays = {
            learner: self._measure(look.packed(learner), self._episode_seeds(learner))
            for learner, look in best.items()
        }
        self._export(best)
        if payload.experience is not None:
            self._replay.save(Path(payload.experience), self._earlier)
        episodes = {
            learner: gather([result(future) for future in futures])
            for learner, futures in plays.items()
        }
        tag = f"fitness/{self._task.fitness_kind}"
        self._looks.close(
            {
                learner: {tag: float(np.mean(item.successes or item.returns))}
                for learner, item in episodes.items()
            }
        )
        return [self._result(candidate, episodes) for candidate in range(len(payload.rewards))]

    def _episode_seeds(self, learner: int) -> range:
        """Of the episodes that a training is measured by; the next training has the next ones."""
        count = self._payload.episodes
        first = self._payload.first_seed + learner % self._trainings * count
        return range(first, first + count)

    def _result(self, candidate: int, episodes: dict[int, Episodes]) -> dict[str, Any]:
        """What became of one candidate, as plain data."""
        first = candidate * self._trainings
        learners = range(first, first + self._trainings)
        fault = self._relabeler.faults.get(candidate)
        if fault is None and not self._diverged.isdisjoint(learners):
            fault = DIVERGED  # one training of it is enough
        candidates = len(self._payload.rewards)
        share, left = divmod(self._collected, candidates)  # all together, they add up
        own = sum(self._own[learner] for learner in learners)
        return {
            "fault": None if fault is None else asdict(fault),
            "curves": [
                [asdict(point) for point in self._looks.points[learner]] for learner in learners
            ],
            "episodes": [] if fault else [asdict(episodes[learner]) for learner in learners],
            "seconds": (time.monotonic() - self._started) / candidates,
            "timesteps": self._progress if self._shared else own,
            "collected": share + (candidate < left) if self._shared else own,
        }

    def _measure(self, actor: Vector, seeds: range) -> list[Future[Episode]]:
        return [self._physics.collect(Play(seed, actor, None)) for seed in seeds]

    def _export(self, best: dict[int, Look]) -> None:
        from rewardsmith.training.population.export import Exporter  # slow: it needs torch

        exporter = Exporter(self._spaces[0], self._spaces[1], self._settings)
        for learner, look in best.items():
            reward = self._payload.rewards[learner // self._trainings]
            training = learner % self._trainings
            file = Path(reward.model_files[training])
            last = Path(reward.last_model_files[training])
            self._export_look(exporter, look, learner, file)
            if look is self._looks.last:
                link_or_copy(file, last)  # it takes no room of its own
            else:
                self._export_look(exporter, self._looks.last, learner, last)

    @staticmethod
    def _export_look(exporter: Any, look: Look, learner: int, file: Path) -> None:
        actor, critics = look.of(learner)
        exporter.write(file, actor, critics, look.features)
