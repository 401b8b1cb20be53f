"""Success is measured at the end, on episodes that nothing was trained or chosen on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rewardsmith.evaluation import (
    CHECKPOINT_SEEDS,
    ENDLESS_STEPS,
    RANKING_SEEDS,
    TEST_SEEDS,
    bootstrap,
    fitness,
    held_out_seeds,
    run_episodes,
    training_seed,
    wilson,
)
from rewardsmith.tasks.point import STEP
from rewardsmith.tasks.task import Task, build_task
from rewardsmith.types import Episodes
from tests.conftest import load_settings, load_task

RUN_SEEDS = [0, 1, 2, 7, 999, 1_000, 123_456, 299_999, 300_000, 999_999, 1_000_000, 2**31 - 1]


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (1, 50, 0.0035, 0.1050),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
    ],
)
def test_wilson_intervals(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-4)


def test_bootstrap_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 400).tolist()
    low, high = bootstrap(values)
    error = np.std(values) / np.sqrt(400)
    assert low == pytest.approx(np.mean(values) - 1.96 * error, abs=0.03)
    assert high == pytest.approx(np.mean(values) + 1.96 * error, abs=0.03)
    assert bootstrap(values) == (low, high)


def test_bootstrap_of_equal_values_has_no_width() -> None:
    assert bootstrap([2.5] * 10) == (2.5, 2.5)


@pytest.mark.parametrize("run_seed", RUN_SEEDS)
def test_the_ranges_of_seeds_are_disjoint(run_seed: int) -> None:
    looks = held_out_seeds(CHECKPOINT_SEEDS, run_seed, 1_000)
    ranking = held_out_seeds(RANKING_SEEDS, run_seed, 1_000)
    final = held_out_seeds(TEST_SEEDS, run_seed, 1_000)
    trainings = {training_seed(run_seed, training) for training in range(100)}
    assert not set(looks) & set(ranking)
    assert not set(looks) & set(final)
    assert not set(ranking) & set(final)
    assert all(seed < CHECKPOINT_SEEDS for seed in trainings)
    assert len(trainings) == 100
    assert max(*looks, *ranking, *final) < 2**31


def test_the_ranges_are_disjoint_across_runs_too() -> None:
    ends = [
        (held_out_seeds(start, seed, 1_000).start, held_out_seeds(start, seed, 1_000).stop)
        for start in (CHECKPOINT_SEEDS, RANKING_SEEDS, TEST_SEEDS)
        for seed in (0, 299_999)
    ]
    assert ends == sorted(ends)


def test_other_runs_have_other_episodes() -> None:
    assert not set(held_out_seeds(TEST_SEEDS, 0, 50)) & set(held_out_seeds(TEST_SEEDS, 1, 50))


def episodes(successes: list[bool], returns: list[float] | None = None) -> Episodes:
    count = len(successes or returns or [])
    return Episodes(successes, returns or [-1.0] * count, [20] * count)


def test_fitness_of_several_trainings_counts_all_their_episodes() -> None:
    found = fitness("success", [episodes([True] * 9 + [False]), episodes([False] * 10)])
    assert (found.mean, found.episodes, found.seeds) == (0.45, 20, 2)
    assert (found.low, found.high) == (0.0, 0.9), "two trainings that disagree leave it open"
    assert (found.environment_return, found.episode_length) == (-1.0, 20.0)


def test_the_interval_is_no_narrower_than_the_one_over_episodes() -> None:
    found = fitness("success", [episodes([True] * 8 + [False] * 2)] * 3)
    assert (found.low, found.high) == wilson(24, 30), "equal trainings say nothing of the spread"


def test_the_interquartile_mean_leaves_the_outliers_out() -> None:
    def trained(*scores: int) -> float | None:
        played = [episodes([True] * score + [False] * (10 - score)) for score in scores]
        return fitness("success", played).iqm

    assert trained(0, 9, 10, 10) == pytest.approx(0.95)
    assert trained(0, 9, 10) is None, "of three there is no middle half"


def test_fitness_without_a_success_flag_is_the_return() -> None:
    found = fitness("return", [episodes([], [1.0, 2.0]), episodes([], [3.0, 6.0])])
    assert (found.kind, found.mean, found.episodes, found.seeds) == ("return", 3.0, 4, 2)
    assert found.low < found.mean < found.high


def go(observation: dict[str, np.ndarray], target: np.ndarray) -> np.ndarray:
    return np.clip((target - observation["achieved_goal"]) / STEP, -1, 1).astype(np.float32)


def test_a_policy_that_ends_at_the_goal_succeeds(point_task: Task) -> None:
    found, recorded = run_episodes(point_task, lambda o: go(o, o["desired_goal"]), range(5))
    assert found.successes == [True] * 5
    assert found.lengths == [20] * 5
    assert [len(item) for item in recorded] == [20] * 5
    assert not any(item.terminated.any() for item in recorded)


def test_only_the_last_step_counts(point_task: Task) -> None:
    steps = iter(range(10_000))

    def touch_and_leave(observation: dict[str, np.ndarray]) -> np.ndarray:
        goal = observation["desired_goal"]
        away = -np.sign(goal)
        return go(observation, goal if next(steps) % 20 < 14 else away)

    found, _ = run_episodes(point_task, touch_and_leave, range(5))
    assert not any(found.successes)
    assert all(value > -20.0 for value in found.returns)  # it has been there


def test_returns_are_those_of_the_environment(point_task: Task) -> None:
    found, _ = run_episodes(point_task, lambda o: np.zeros(2, dtype=np.float32), range(40))
    assert set(found.returns) <= {0.0, -20.0}
    assert found.returns == [0.0 if won else -20.0 for won in found.successes]


def test_the_same_seeds_give_the_same_episodes(point_task: Task) -> None:
    def policy(observation: Any) -> np.ndarray:
        return go(observation, observation["desired_goal"] / 2)

    one, first = run_episodes(point_task, policy, range(3))
    two, second = run_episodes(point_task, policy, range(3))
    assert one == two
    np.testing.assert_array_equal(first[2].next_state, second[2].next_state)


def test_transitions_are_chained(point_task: Task) -> None:
    _, [item] = run_episodes(point_task, lambda o: go(o, o["desired_goal"]), [3])
    np.testing.assert_array_equal(item.state[1:], item.next_state[:-1])


def test_terminated_episodes_end_early() -> None:
    task = load_task("env=gym", "env.id=CartPole-v1", "env.description=x")
    found, recorded = run_episodes(task, lambda observation: 1, range(3))
    assert found.successes == []
    assert all(length < 15 for length in found.lengths)
    assert all(item.terminated.tolist()[-1] for item in recorded)
    assert found.returns == [float(length) for length in found.lengths]


def test_an_episode_without_an_end_is_cut_off() -> None:
    task = build_task(load_settings("env=gym", "env.id=CliffWalking-v1", "env.description=x").env)
    assert task.horizon == 0
    found, _ = run_episodes(task, lambda observation: 0, [0])
    assert found.lengths == [ENDLESS_STEPS]
