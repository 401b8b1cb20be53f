"""The shared replay: one store of transitions, one column of rewards per candidate.

Rows are whole episodes, end to end. Each transition has 1 + H versions: as it was played, and with
its goal replaced by one that was reached later in the same episode (hindsight: Andrychowicz et al.
2017, strategy ``future``, https://arxiv.org/abs/1707.01495). A version is stored as the number of
the row that supplies its goal, so it costs four bytes and its rewards.

All memory is taken at the start: per million transitions 4·(2W + A + 1 + H) MB, and
4·(1 + H) MB for each candidate. For FetchReach (W = 16, A = 4, H = 4) and 8 candidates: 324 MB.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import gymnasium
import numpy as np
from numpy.typing import NDArray

from rewardsmith.experience import outcome_code, read_episodes
from rewardsmith.files import write_whole
from rewardsmith.tasks.task import GOALS, Task
from rewardsmith.training.population.features import Features
from rewardsmith.training.population.learner import Batch
from rewardsmith.training.population.scale import RewardScale
from rewardsmith.types import Transitions

STILL = 0.05
"""What has moved less has not moved, as a share of the mean distance to the goal at the start."""
MOVING = 0.02
"""What moves this much in one step gets the whole bonus, as a share of the same distance."""
STILL_KEPT = 0.1
"""Share of the goals met by not moving that are kept: staying at a goal has to be learned too."""
Rows = NDArray[np.int64]
Relabel = Callable[[Transitions], NDArray[np.float64]]
"""N transitions → (K, N) rewards of all candidates."""


class Replay:
    """Transitions with every candidate's reward."""

    def __init__(
        self,
        task: Task,
        actions: gymnasium.spaces.Box,
        capacity: int,
        candidates: int,
        learners: int,
        hindsight: int,
        seed: int,
        moving_share: float = 0.0,
    ) -> None:
        """Take the memory.

        Args:
            task: whose transitions are stored.
            actions: the environment's space; what is sampled is scaled to [-1, 1].
            capacity: most transitions N.
            candidates: K, columns of rewards.
            learners: L, a multiple of K; the learners of one candidate stand side by side.
            hindsight: H, replaced goals per transition; ignored where there are no goals.
            seed: of everything random here.
            moving_share: of what is sampled, from episodes that moved what the goal is about;
                ignored where there are no hindsight goals.
        """
        layout = task.layout
        self.hindsight = hindsight if task.has_goals else 0
        self.capacity, self.candidates, self.learners = capacity, candidates, learners
        self.size = 0
        self._low, self._high = actions.low.ravel(), actions.high.ravel()
        self.state = np.zeros((capacity, layout.state_width), np.float32)
        self.action = np.zeros((capacity, layout.action_width), np.float32)
        self.next_state = np.zeros((capacity, layout.state_width), np.float32)
        self.terminated = np.zeros(capacity, np.float32)
        self.goal_row = np.zeros((capacity, self.hindsight), np.int32)
        self.reward = np.zeros((candidates, capacity * (1 + self.hindsight)), np.float32)
        self.scale = RewardScale(candidates)
        self.lengths: list[int] = []
        self._successes: list[bool | None] = []
        self._distances: list[float] = []
        self._own: list[list[Rows]] = [[] for _ in range(learners)]
        self._ends = False
        self._moving_share = moving_share
        self._moving = np.zeros(capacity, bool)
        self._random = np.random.default_rng(seed)
        if task.has_goals:
            self._achieved, self._desired = (task.columns(name) for name in GOALS)

    # -- filling ----------------------------------------------------------------------------

    def add(
        self, episode: Transitions, owner: int | None = None, success: bool | None = None
    ) -> int:
        """Store an episode, cut off where the memory ends; its rewards come with `relabel`.

        Args:
            episode: (T, …) in order.
            owner: learner that played it.
            success: whether it ended in success, None if unknown; only kept, never learned from.

        Returns:
            How many transitions were stored.
        """
        count = min(len(episode), self.capacity - self.size)
        if not count:
            return 0
        rows = slice(self.size, self.size + count)
        self.state[rows] = episode.state[:count]
        self.action[rows] = episode.action[:count]
        self.next_state[rows] = episode.next_state[:count]
        self.terminated[rows] = episode.terminated[:count]
        self._ends = self._ends or bool(episode.terminated[:count].any())
        numbers = np.arange(rows.start, rows.stop)
        if self.hindsight:
            self.goal_row[rows] = self._goal_rows(numbers)
            self._moving[rows] = self._moved(numbers[:1], numbers).any()
        if owner is not None:
            self._own[owner].append(numbers)
        self.lengths.append(count)
        self._successes.append(success if count == len(episode) else None)
        self.size = rows.stop
        return count

    def _goal_rows(self, rows: Rows) -> NDArray[np.int64]:
        """Draw the rows that supply the other goals of an episode's transitions, -1 for its own.

        A goal that is met without doing anything teaches to do nothing: while a block lies still,
        every later position of it is such a goal. Most of them are left out.
        """
        start = self.state[rows[0]]
        self._distances.append(float(np.linalg.norm(start[self._achieved] - start[self._desired])))
        chosen = self._random.integers(rows[:, None], rows[-1] + 1, (len(rows), self.hindsight))
        moved = self._moved(rows[:, None], chosen)
        kept = self._random.random(chosen.shape) < STILL_KEPT
        return np.where(moved | kept, chosen, -1)

    def _moved(self, first: Rows, last: Rows) -> NDArray[np.bool_]:
        """Whether what the goal is about has moved from before some rows to after others."""
        gap = self.next_state[last, self._achieved] - self.state[first, self._achieved]
        return np.linalg.norm(gap, axis=-1) > STILL * np.mean(self._distances)

    def relabel(self, start: int, evaluate: Relabel, block: int = 4096) -> None:
        """Have all transitions from a row on evaluated by every candidate, once.

        Args:
            start: first row without rewards.
            evaluate: of the reward processes.
            block: rows of one exchange.
        """
        versions = 1 + self.hindsight
        step = max(1, block // versions)
        for first in range(start, self.size, step):
            rows = np.arange(first, min(first + step, self.size))
            values = evaluate(self.versions(rows))
            self.reward[:, first * versions : (rows[-1] + 1) * versions] = values
            self.scale.update(values)

    def versions(self, rows: Rows) -> Transitions:
        """All versions of some transitions, those of one side by side."""
        versions = 1 + self.hindsight
        picked = np.repeat(rows, versions)
        state, next_state = self.state[picked], self.next_state[picked]
        if self.hindsight:
            goal_row = self.goal_row[rows]
            replaced = self.next_state[goal_row, self._achieved]
            own = state[::versions, None, self._desired]
            goals = np.where(goal_row[..., None] < 0, own, replaced)
            for values in (state, next_state):
                view = values.reshape(len(rows), versions, -1)
                view[:, 1:, self._desired] = goals
        return Transitions(
            state.astype(np.float64),
            self.action[picked].astype(np.float64),
            next_state.astype(np.float64),
            self.terminated[picked] > 0,
        )

    # -- learning ---------------------------------------------------------------------------

    def sample(
        self, shape: tuple[int, int, int], features: Features, shared: bool, bonus: float = 0.0
    ) -> Batch:
        """Draw minibatches.

        Args:
            shape: U, L, B: gradient steps, learners, transitions.
            features: turn state records into what the networks see.
            shared: every learner draws from all transitions; else from its own.
            bonus: added to the reward of a transition that moves what the goal is about, in
                standard deviations of the candidate's rewards; ignored without hindsight goals.
        """
        updates, learners, size = shape
        rows = self._rows(shape, shared)
        versions = 1 + self.hindsight
        version = self._random.integers(versions, size=shape, dtype=np.int32).ravel()
        state, next_state = self.state[rows], self.next_state[rows]
        if self.hindsight:
            late = np.flatnonzero(version)
            goals = self.goal_row[rows[late], version[late] - 1]
            late, goals = late[goals >= 0], goals[goals >= 0]
            replaced = self.next_state[goals, self._achieved]
            state[late, self._desired] = replaced
            next_state[late, self._desired] = replaced
        per_candidate = learners // self.candidates
        column = np.arange(learners, dtype=np.int64) // per_candidate
        place = (rows * versions + version).reshape(shape)
        reward = self.reward[column[None, :, None], place]
        if bonus and self.hindsight:
            extra = bonus * self.scale.deviation[column].astype(np.float32)
            reward = reward + extra[:, None] * self._movement(rows).reshape(shape)
        return Batch(
            features.apply(state).reshape(*shape, -1),
            self._scaled(self.action[rows]).reshape(*shape, -1),
            reward,
            features.apply(next_state).reshape(*shape, -1),
            self.terminated[rows].reshape(shape),
            np.broadcast_to(self._reward_range(bonus)[column], (updates, learners, 2)),
        )

    def _movement(self, rows: Rows) -> NDArray[np.float32]:
        """How much what the goal is about moves in some transitions, 0 to 1."""
        gap = self.next_state[rows, self._achieved] - self.state[rows, self._achieved]
        full = MOVING * np.mean(self._distances)
        return np.minimum(np.linalg.norm(gap, axis=-1) / full, 1.0).astype(np.float32)

    def _reward_range(self, bonus: float) -> NDArray[np.float32]:
        """(K, 2) lowest and highest reward so far; nothing, which follows the end, is 0."""
        lowest, highest = self.scale.lowest, self.scale.highest
        if self.hindsight:
            highest = highest + bonus * self.scale.deviation
        if self._ends:
            lowest, highest = np.minimum(lowest, 0.0), np.maximum(highest, 0.0)
        return np.stack([lowest, highest], axis=1).astype(np.float32)

    def _scaled(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        scaled = 2.0 * (action - self._low) / (self._high - self._low) - 1.0
        return scaled.astype(np.float32, copy=False)

    def _rows(self, shape: tuple[int, int, int], shared: bool) -> Rows:
        if shared:
            return self._draw(None, shape).ravel()
        updates, learners, size = shape
        rows = np.zeros(shape, np.int64)
        for learner, episodes in enumerate(self._own):
            if episodes:
                own = np.concatenate(episodes)
                episodes[:] = [own]  # next time there is less to put together
                rows[:, learner] = self._draw(own, (updates, size))
        return rows.ravel()

    def _draw(self, own: Rows | None, shape: tuple[int, ...]) -> Rows:
        """Draw rows, of all or of one's own; a share of them from episodes that moved."""
        count = self.size if own is None else len(own)
        places = self._random.integers(count, size=shape)
        if self._moving_share and self.hindsight:
            moving = np.flatnonzero(self._moving[: self.size] if own is None else self._moving[own])
            if len(moving):
                instead = self._random.random(shape) < self._moving_share
                chosen = self._random.integers(len(moving), size=int(instead.sum()))
                places[instead] = moving[chosen]
        return places if own is None else own[places]

    def ready(self, shared: bool, learners: Sequence[int]) -> bool:
        """Whether there is something to draw from for these learners."""
        return self.size > 0 if shared else all(self._own[learner] for learner in learners)

    # -- keeping ----------------------------------------------------------------------------

    def save(self, file: Path, first: int = 0) -> None:
        """Keep transitions (not their rewards) for a later iteration, compactly.

        `rewardsmith.experience` describes the file.

        Args:
            file: where to.
            first: episode to start with.
        """
        stops = np.cumsum([0, *self.lengths])
        rows, ends = slice(stops[first], self.size), stops[first + 1 :] - 1
        memory = io.BytesIO()
        np.savez_compressed(
            memory,
            state=self.state[rows],
            last=self.next_state[ends],
            action=self.action[rows],
            terminated=self.terminated[ends] > 0,
            lengths=np.array(self.lengths[first:], np.int64),
            success=np.array([outcome_code(item) for item in self._successes[first:]], np.int8),
        )
        write_whole(file, memory.getvalue())


def stored_episodes(files: Sequence[Path], most: int) -> list[Transitions]:
    """Read the episodes that `Replay.save` kept, oldest first.

    Args:
        files: written by `Replay.save`, oldest first.
        most: transitions; the oldest episodes are left out.
    """
    episodes = [episode.transitions for file in files for episode in read_episodes(file)]
    kept: list[Transitions] = []
    for episode in reversed(episodes):
        most -= len(episode)
        if most < 0:
            break
        kept.insert(0, episode)
    return kept
