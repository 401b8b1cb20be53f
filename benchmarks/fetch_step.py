"""What a step of the Fetch tasks costs: this package's classes against gymnasium-robotics' own.

Both environments are made, seeded and driven alike on one core, an episode of the one, then the
same episode of the other, with random actions. Prints microseconds per step (resets are not
counted) and the physics' share of the fast step; writes both to
``benchmarks/results/fetch_step.json``.

Usage: ``python benchmarks/fetch_step.py [--quick]`` (50 s; 6 s with ``--quick``, which writes
nothing).
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from common import write

import rewardsmith.tasks.fetch  # noqa: F401 - registers the ids

TASKS = {"reach": "Reach", "push": "Push", "slide": "Slide", "pick_and_place": "PickAndPlace"}
EPISODES = 120
QUICK_EPISODES = 10
WARM_UP = 3
STEPS = 50


class Stopwatch:
    """An environment whose steps, and the physics inside of them, are timed."""

    def __init__(self, env_id: str) -> None:
        """Make the environment."""
        with warnings.catch_warnings():  # that v4 is newer than v3
            warnings.simplefilter("ignore")
            self.env = gymnasium.make(env_id)
        self.steps: list[float] = []
        self.physics: list[float] = []

    def count_physics(self) -> None:
        """From now on also time what calls MuJoCo's ``mj_step``."""
        inner: Any = self.env.unwrapped
        step = inner._mujoco_step

        def timed(action: np.ndarray) -> None:
            began = time.perf_counter()
            step(action)
            self.physics.append(time.perf_counter() - began)

        inner._mujoco_step = timed

    def play(self, seed: int, actions: np.ndarray) -> None:
        """Play one episode."""
        self.env.reset(seed=seed)
        for action in actions:
            began = time.perf_counter()
            self.env.step(action)
            self.steps.append(time.perf_counter() - began)


def measure(name: str, episodes: int) -> tuple[float, float, float]:
    """Give microseconds per step, stock and fast, and the share of the fast one that is physics.

    The share comes from episodes of its own, so that its clock does not count in the other two.
    """
    stock = Stopwatch(f"Fetch{name}-v4")
    fast, inside = (Stopwatch(f"rewardsmith.tasks.fetch:Fetch{name}-v3") for _ in range(2))
    inside.count_physics()
    rng = np.random.default_rng(0)
    watches = [stock, fast, inside]
    for episode in range(WARM_UP + episodes):
        actions = rng.uniform(-1.0, 1.0, (STEPS, 4)).astype(np.float32)
        for watch in watches:
            watch.play(episode, actions)
        watches.append(watches.pop(0))  # nobody always comes first
    skip = WARM_UP * STEPS
    # means, not medians: a step with contacts costs more, and counts; the trim drops interruptions
    stock_us, fast_us, inside_us, physics_us = (
        trimmed_mean(times[skip:]) * 1e6
        for times in (stock.steps, fast.steps, inside.steps, inside.physics)
    )
    return stock_us, fast_us, physics_us / inside_us


def trimmed_mean(times: Sequence[float]) -> float:
    """Give the mean of all but the slowest hundredth."""
    return float(np.mean(np.sort(times)[: -max(1, len(times) // 100)]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the steps of the Fetch tasks.")
    parser.add_argument("--quick", action="store_true", help="few episodes; write nothing")
    quick = parser.parse_args().quick
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    headline: dict[str, float] = {}
    print(f"{'task':<15} {'stock us':>9} {'fast us':>9} {'ratio':>6} {'physics':>8}")
    for key, name in TASKS.items():
        stock_us, fast_us, share = measure(name, QUICK_EPISODES if quick else EPISODES)
        headline[f"stock_us_{key}"] = round(stock_us, 1)
        headline[f"fast_us_{key}"] = round(fast_us, 1)
        headline[f"ratio_{key}"] = round(stock_us / fast_us, 3)
        headline[f"physics_share_{key}"] = round(share, 3)
        ratio = stock_us / fast_us
        print(f"{key:<15} {stock_us:>9.1f} {fast_us:>9.1f} {ratio:>6.2f} {share:>8.0%}")
    if quick:
        return
    write("fetch_step", headline)


if __name__ == "__main__":
    main()
