"""Record transitions of an environment, and replace its reward.

This file stands alone: it needs only numpy and gymnasium, because `rewardsmith.standalone`
puts its text into ``best/reward.py``, which has to work where rewardsmith is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

Evaluate = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, dict[str, np.ndarray]]]
"""(N, W) states, (N, A) actions, (N, W) next states → (N,) rewards, dict of (N,) components."""


def read_source(env: gymnasium.Env, observation: Any, info: dict[str, Any], source: str) -> Any:
    """Read one raw source of a state.

    Args:
        env: the environment, for simulator state.
        observation: what it returned last.
        info: what it returned last.
        source: ``observation`` or a key of a dict observation, ``info.KEY`` (0 as long as the
            environment has not delivered it), ``qpos``, ``qvel``, ``body.NAME`` or ``site.NAME``
            (world positions, m).
    """
    if isinstance(observation, dict) and source in observation:
        return observation[source]
    kind, _, name = source.partition(".")
    if kind == "info":
        return info.get(name, 0.0)
    if source in ("qpos", "qvel"):
        return getattr(env.unwrapped.data, source)  # type: ignore[attr-defined]
    if kind == "body":
        return env.unwrapped.data.body(name).xpos  # type: ignore[attr-defined]
    if kind == "site":
        return env.unwrapped.data.site(name).xpos  # type: ignore[attr-defined]
    if source == "observation" and not isinstance(observation, dict):
        return observation
    raise KeyError(source)


def read_record(
    env: gymnasium.Env,
    observation: Any,
    info: dict[str, Any],
    sources: Sequence[tuple[str, int]],
) -> np.ndarray:
    """Lay raw sources end to end: the state record (W,) of what the environment returned.

    Raises:
        ValueError: a source has another width than declared.
    """
    parts = []
    for name, width in sources:
        value = np.asarray(read_source(env, observation, info, name), dtype=np.float64)
        parts.append(np.broadcast_to(value.ravel(), width))  # an absent info.KEY is a single 0
    return np.concatenate(parts)


def flat_action(action: Any) -> np.ndarray:
    """An action of any kind as a float64 vector (A,)."""
    return np.asarray(action, dtype=np.float64).ravel()


class RewardWrapper(gymnasium.Wrapper):
    """Replaces an environment's reward by a function of named fields of the transition.

    The components of the last reward are in ``info["reward_components"]``, the environment's own
    reward in ``info["environment_reward"]``. With hindsight goals (HER), use
    ``replay_buffer_kwargs={"copy_info_dict": True}``: `compute_reward` finds the stored transition
    through ``info["transition"]``.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        sources: Sequence[tuple[str, int]],
        evaluate: Evaluate,
        capacity: int = 0,
    ) -> None:
        """Wrap an environment.

        Args:
            env: to wrap.
            sources: name and width of every raw source, laid end to end in a state record.
            evaluate: the reward.
            capacity: transitions kept for relabelling; at least the size of the replay buffer.
        """
        super().__init__(env)
        self._evaluate = evaluate
        self._sources = sources
        ends = np.cumsum([width for _, width in sources])
        self._columns = {
            name: slice(int(end) - width, int(end))
            for (name, width), end in zip(sources, ends, strict=True)
        }
        self._state = np.zeros(int(ends[-1]))
        self._capacity = capacity
        self._count = 0
        self._memory: list[np.ndarray] = []

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Reset the environment."""
        observation, info = self.env.reset(**kwargs)
        self._state = read_record(self.env, observation, info, self._sources)
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the environment; the reward is ours."""
        observation, own_reward, terminated, truncated, info = self.env.step(action)
        next_state = read_record(self.env, observation, info, self._sources)
        vector = flat_action(action)
        reward, components = self._evaluate(self._state[None], vector[None], next_state[None])
        info = dict(info)
        info["environment_reward"] = float(own_reward)
        info["reward_components"] = {name: float(value[0]) for name, value in components.items()}
        if self._capacity:
            info["transition"] = self._remember(self._state, vector, next_state)
        self._state = next_state
        return observation, float(reward[0]), terminated, truncated, info

    def _remember(self, *parts: np.ndarray) -> int:
        if not self._memory:
            self._memory = [np.empty((self._capacity, len(part))) for part in parts]
        for memory, part in zip(self._memory, parts, strict=True):
            memory[self._count % self._capacity] = part
        self._count += 1
        return self._count - 1

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> Any:
        """Reward of stored transitions under other goals; what HER calls, in batches.

        Args:
            achieved_goal: (N, G) or (G,), after the step.
            desired_goal: (N, G) or (G,), the goal to pretend.
            info: one dict per transition, or a single one.
        """
        single = isinstance(info, dict)
        infos = [info] if single else list(info)
        if not self._memory or any("transition" not in item for item in infos):
            raise KeyError(
                "compute_reward needs info['transition']: give RewardWrapper a capacity, and "
                "HerReplayBuffer copy_info_dict=True"
            )
        numbers = np.array([item["transition"] for item in infos])
        if numbers.min() < self._count - self._capacity:
            raise KeyError("a transition is gone: capacity is smaller than the replay buffer")
        state, action, next_state = (part[numbers % self._capacity] for part in self._memory)
        state[:, self._columns["desired_goal"]] = desired_goal
        next_state[:, self._columns["desired_goal"]] = desired_goal
        next_state[:, self._columns["achieved_goal"]] = achieved_goal
        reward, _ = self._evaluate(state, action, next_state)
        return float(reward[0]) if single else reward
