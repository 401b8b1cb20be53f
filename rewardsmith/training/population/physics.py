"""Play episodes in processes of their own, while the learners learn.

Two pools of the same kind: one plays the episodes that are learned from, the other, at a lower
priority, the episodes that policies are measured by, in whatever time the first leaves. An episode
depends on its `Play` alone, never on who plays it or when, so a run does not depend on the number
of processes. Policies and transitions travel through pipes: some kilobytes for each episode,
against tens of milliseconds of physics.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import forkserver
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewardsmith.errors import WorkerError
from rewardsmith.evaluation import Episode, Policy, play_episode
from rewardsmith.reward.lockdown import die_with_parent
from rewardsmith.tasks.task import Task
from rewardsmith.training.population.actor import Actor, unpack, unscale
from rewardsmith.training.population.features import observation_names

_CONTEXT = multiprocessing.get_context("forkserver")
BACKGROUND = 10
"""How much the measuring processes give way to the others (`os.nice`)."""

LONGEST_FOLDER = 70
"""Characters of a temporary folder in which a socket can still have a name (107 bytes in all)."""


@dataclass(frozen=True)
class Play:
    """One episode to play.

    Attributes:
        seed: of the environment's reset.
        actor: packed parameters of an `Actor`; None acts at random.
        noise: seed of what is random in the actions; None takes the most likely ones.
        random_actions: share of steps with an action that knows nothing of the actor.
    """

    seed: int
    actor: NDArray[np.float32] | None
    noise: int | None
    random_actions: float = 0.0


def prepare() -> None:
    """Begin to start the process that all others are forked from; returns at once."""
    if len(tempfile.gettempdir()) > LONGEST_FOLDER:
        tempfile.tempdir = "/tmp"
    # plain fork would copy the learners' threads, spawn import everything in each process
    _CONTEXT.set_forkserver_preload(["rewardsmith.training.population.preload"])
    forkserver.ensure_running()


class Physics:
    """Processes that play episodes."""

    def __init__(self, task: Task, hidden: list[int], processes: int) -> None:
        """Define the pools; their processes start with the first episodes.

        Args:
            task: to play.
            hidden: widths of the actors' hidden layers.
            processes: of each pool.
        """
        prepare()
        pools = [
            ProcessPoolExecutor(processes, _CONTEXT, _start, (task, hidden, nice))
            for nice in (0, BACKGROUND)
        ]
        self._collectors, self._evaluators = pools

    def collect(self, play: Play) -> Future[Episode]:
        """Have an episode played that is waited for."""
        return self._collectors.submit(_play, play)

    def evaluate(self, play: Play) -> Future[Episode]:
        """Have an episode played when there is time."""
        return self._evaluators.submit(_play, play)

    def close(self) -> None:
        """Stop the processes; what is not played yet never will be."""
        for pool in (self._collectors, self._evaluators):
            pool.shutdown(wait=False, cancel_futures=True)


def result(future: Future[Episode]) -> Episode:
    """Wait for an episode.

    Raises:
        WorkerError: the process that played it has died.
    """
    try:
        return future.result()
    except BrokenProcessPool:
        raise WorkerError("a process that plays episodes has died") from None


# -- inside the processes -------------------------------------------------------------------------


class _Player:
    """What one process keeps between episodes."""

    def __init__(self, task: Task, hidden: list[int]) -> None:
        self.task, self.hidden = task, hidden
        self.env = task.make()
        self.actions: Any = self.env.action_space
        self.names = observation_names(self.env.observation_space)

    def play(self, play: Play) -> Episode:
        random = np.random.default_rng(play.noise)
        act = self._random(random) if play.actor is None else self._acting(play, random)
        return play_episode(
            self.task, self.env, lambda seen: unscale(act(seen), self.actions), play.seed
        )

    def _random(self, random: np.random.Generator) -> Policy:
        width = self.actions.shape[0]
        return lambda seen: random.uniform(-1.0, 1.0, width).astype(np.float32)

    def _acting(self, play: Play, random: np.random.Generator) -> Policy:
        assert play.actor is not None
        features = sum(width for name, width in self.task.sources if name in self.names)
        layers = unpack(play.actor, features, self.hidden, self.actions.shape[0])
        actor, names = Actor(layers), self.names
        explore = self._random(random)

        def act(seen: Any) -> NDArray[np.float32]:
            parts = [seen[name].ravel() for name in names] if isinstance(seen, dict) else [seen]
            raw = np.concatenate(parts, dtype=np.float32)
            if play.noise is None:
                return actor.mean(raw)
            if random.random() < play.random_actions:
                return explore(seen)
            return actor.sample(raw, random)

        return act


_player: _Player


def _start(task: Task, hidden: list[int], nice: int) -> None:
    global _player
    die_with_parent(os.getppid())  # which is the process that forks, and dies with the learners'
    learners = multiprocessing.parent_process()
    if learners is None or not learners.is_alive():  # both were dead before: nobody will tell
        os._exit(1)
    os.nice(nice)
    _player = _Player(task, hidden)


def _play(play: Play) -> Episode:
    return _player.play(play)
