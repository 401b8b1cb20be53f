"""Measure a policy by the task's own success, on held-out episodes. Trusted code only.

Disjoint ranges of environment seeds keep the numbers honest: the looks during training, the
episodes that candidates are ranked by, those that the result is reported on, and those that are
filmed. Training itself draws from a fifth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import gymnasium
import numpy as np

from rewardsmith.tasks.task import Task
from rewardsmith.tasks.wrapper import flat_action
from rewardsmith.types import (
    WORKER_REASONS,
    Checkpoint,
    Episodes,
    Evaluation,
    Fitness,
    Rewards,
    Transitions,
)

CHECKPOINT_SEEDS = 1_000_000_000
RANKING_SEEDS = 1_400_000_000
TEST_SEEDS = 1_800_000_000
VIDEO_SEEDS = 2_200_000_000
CONFIDENCE = 0.95
FEWEST_FOR_IQM = 4
REMEMBERED = 32
"""So many values at most does a bootstrap have whose interval is kept: the same come up often."""
ENDLESS_STEPS = 10_000
"""Where an episode is cut off in an environment that has no time limit."""

Policy = Callable[[Any], Any]
"""Observation → action."""


@dataclass(frozen=True)
class Episode:
    """One episode.

    Attributes:
        transitions: in order.
        success: whether it ended in success; None if the task has no success flag.
        environment_return: sum of the environment's own reward.
        seed: of the reset.
    """

    transitions: Transitions
    success: bool | None
    environment_return: float
    seed: int


def checkpoint(
    timesteps: int,
    episodes: Episodes,
    rewards: Rewards,
    learner: dict[str, float] | None = None,
) -> Checkpoint:
    """Sum up a look at a policy.

    Args:
        timesteps: environment steps trained so far.
        episodes: what happened.
        rewards: what the candidate's reward said of all their transitions, end to end.
        learner: what the algorithm says of itself.
    """
    names, components = rewards.names, rewards.components
    starts = np.cumsum([0, *episodes.lengths[:-1]])
    returns = np.add.reduceat(rewards.total, starts)
    solved = np.array(episodes.successes, dtype=bool)
    ends = zip(components.min(axis=1).tolist(), components.max(axis=1).tolist(), strict=True)
    return Checkpoint(
        timesteps=timesteps,
        success=float(solved.mean()) if solved.size else None,
        own_return=float(returns.mean()),
        components=dict(zip(names, components.mean(axis=1).tolist(), strict=True)),
        episode_length=float(np.mean(episodes.lengths)),
        learner=learner or {},
        extremes=dict(zip(names, ends, strict=True)),
        return_of_successes=float(returns[solved].mean()) if solved.any() else None,
        return_of_failures=float(returns[~solved].mean()) if (~solved).any() else None,
        episodes=len(episodes.lengths),
    )


def training_seed(run_seed: int, training: int) -> int:
    """Seed of one of a run's trainings, below all held-out seeds."""
    return (run_seed * 1_000 + training) % CHECKPOINT_SEEDS


def held_out_seeds(start: int, run_seed: int, count: int, part: int = 0) -> range:
    """Seeds of episodes in one of the ranges above; another run seed gives others.

    Args:
        start: of the range.
        run_seed: of the run.
        count: how many.
        part: the first `count`, the next, and so on: each training has episodes of its own, so that
            all of them can be counted as independent.
    """
    first = start + (run_seed * 1_000) % 300_000_000 + part * count
    return range(first, first + count)


def run_episodes(
    task: Task, policy: Policy, seeds: Sequence[int]
) -> tuple[Episodes, list[Transitions]]:
    """Play one episode per seed.

    Args:
        task: in a fresh environment of its own.
        policy: deterministic, sees raw observations.
        seeds: of the environment's resets.

    Returns:
        The results, and the transitions of each episode.
    """
    env = task.make()
    try:
        played = [play_episode(task, env, policy, seed) for seed in seeds]
    finally:
        env.close()
    return gather(played), [episode.transitions for episode in played]


def gather(played: Sequence[Episode]) -> Episodes:
    """The results of some episodes, without their transitions."""
    return Episodes(
        [episode.success for episode in played if episode.success is not None],
        [episode.environment_return for episode in played],
        [len(episode.transitions) for episode in played],
        [episode.seed for episode in played],
    )


def play_episode(task: Task, env: gymnasium.Env, policy: Policy, seed: int) -> Episode:
    """Play one episode.

    Args:
        task: that `env` was made by.
        env: to play in; it is reset first.
        policy: sees raw observations.
        seed: of the reset.
    """
    observation, info = env.reset(seed=seed)
    state, done, total = task.record(env, observation, info), False, 0.0
    rows: list[Any] = []
    while not done and len(rows) < (task.horizon or ENDLESS_STEPS):
        action = policy(observation)
        observation, reward, terminated, truncated, info = env.step(action)
        next_state = task.record(env, observation, info)
        rows.append((state, flat_action(action), next_state, terminated))
        state, done, total = next_state, terminated or truncated, total + float(reward)
    success = bool(info.get(task.success_key, False)) if task.success_key else None
    return Episode(_stack(rows), success, total, seed)


def _stack(rows: list[Any]) -> Transitions:
    state, action, next_state, terminated = zip(*rows, strict=True)
    return Transitions(
        np.array(state), np.array(action), np.array(next_state), np.array(terminated, dtype=bool)
    )


def fitness(kind: str, episodes: Sequence[Episodes]) -> Fitness:
    """Sum up the episodes of all training seeds of one candidate.

    Policies of different training seeds differ by more than their episodes do, and a few seeds can
    agree by chance: the interval is the hull of one over episodes (Wilson; for returns, bootstrap)
    and one over training seeds (bootstrap of their means).

    Args:
        kind: ``success`` or ``return``.
        episodes: one entry per training seed.

    Returns:
        Success, or the mean return, with its interval.
    """
    returns = [value for item in episodes for value in item.returns]
    lengths = [value for item in episodes for value in item.lengths]
    per_seed = scores(kind, episodes)
    if kind == "success":
        successes = [value for item in episodes for value in item.successes]
        mean = float(np.mean(successes))
        intervals = [wilson(sum(successes), len(successes)), bootstrap(per_seed)]
    else:
        mean = float(np.mean(returns))
        intervals = [bootstrap(returns), bootstrap(per_seed)]
    return Fitness(
        kind=kind,
        mean=mean,
        low=min(low for low, _ in intervals),
        high=max(high for _, high in intervals),
        episodes=len(returns),
        seeds=len(episodes),
        environment_return=float(np.mean(returns)),
        episode_length=float(np.mean(lengths)),
        iqm=interquartile_mean(per_seed),
    )


def merge(kind: str, first: Evaluation, more: Evaluation) -> Evaluation:
    """Count further trainings of a candidate together with those before.

    A fault fails the candidate, unless the reward is not to blame: then what was known stays.
    """
    if more.fault is not None and more.fault.reason in WORKER_REASONS:
        found = first
    elif more.fault is not None:
        found = replace(more, curves=first.curves + more.curves)
    else:
        episodes = first.episodes + more.episodes
        found = Evaluation(
            status=first.status,
            fitness=fitness(kind, episodes),
            scores=scores(kind, episodes),
            curves=first.curves + more.curves,
            episodes=episodes,
            trainings=first.trainings + more.trainings,
        )
    return replace(
        found,
        seconds=first.seconds + more.seconds,
        timesteps=first.timesteps + more.timesteps,
        collected=first.collected + more.collected,
    )


def scores(kind: str, episodes: Sequence[Episodes]) -> tuple[float, ...]:
    """Mean success (or return) of each training seed's policy."""
    values = [item.successes if kind == "success" else item.returns for item in episodes]
    return tuple(float(np.mean(item)) for item in values)


def interquartile_mean(values: Sequence[float]) -> float | None:
    """Mean of the middle half (Agarwal et al. 2021); None for fewer than four values.

    Examples:
        >>> interquartile_mean([0.0, 0.9, 1.0, 1.0])
        0.95
    """
    from scipy.stats import trim_mean

    return float(trim_mean(values, 0.25)) if len(values) >= FEWEST_FOR_IQM else None


@lru_cache(maxsize=1 << 16)  # few different ones, and thousands of candidates
def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a rate (Wilson 1927).

    Examples:
        >>> [round(end, 3) for end in wilson(45, 50)]
        [0.786, 0.957]
    """
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """95 % percentile interval of a mean, over 2,000 resamples with a fixed seed."""
    return _remembered(tuple(values)) if len(values) <= REMEMBERED else _bootstrap(values)


@lru_cache(maxsize=1 << 14)
def _remembered(values: tuple[float, ...]) -> tuple[float, float]:
    return _bootstrap(values)


def _bootstrap(values: Sequence[float]) -> tuple[float, float]:
    array = np.asarray(values)
    picks = np.random.default_rng(0).integers(len(array), size=(2_000, len(array)))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(array[picks].mean(axis=1), [tail, 100 - tail])
    return float(low), float(high)
