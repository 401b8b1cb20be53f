"""What it costs to evaluate a reward in a locked process instead of in the trainer.

Prints microseconds per call for batches of several sizes and the time to start a reward process;
writes both to ``benchmarks/results/reward_process.json``. "One core" is what it costs where the
kernel lets the two ends share a core; waking another core up is most of the rest.

Usage: ``python benchmarks/reward_process.py`` (15 s).
"""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Sequence

import numpy as np
from common import write

from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import SandboxSettings
from rewardsmith.types import Field, RewardFunction, TransitionLayout

SIZES = (1, 8, 64, 256, 4096)
STARTS = 5
SECONDS_PER_SIZE = 0.5
LIMITS = SandboxSettings(
    allow_weaker=True, deadline_s=5.0, memory_mib=1024, cpu_s=600, batch_rows=4096
)
LAYOUT = TransitionLayout(
    (
        Field("observation", "observation", 0, 25),
        Field("achieved_goal", "achieved_goal", 25, 28),
        Field("desired_goal", "desired_goal", 28, 31),
        Field("gripper_position", "observation[0:3]", 0, 3),
        Field("object_position", "observation[3:6]", 3, 6),
        Field("object_velocity", "observation[14:17]", 14, 17),
    ),
    31,
    4,
)


def compute_reward(state, action, next_state):  # type: ignore[no-untyped-def]
    """Reach for the object and bring it to the goal."""
    to_object = np.linalg.norm(
        next_state["gripper_position"] - next_state["object_position"], axis=-1
    )
    to_goal = np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    reach = 1.0 - np.tanh(10.0 * to_object)
    place = 2.0 * np.exp(-5.0 * to_goal)
    effort = -0.01 * np.sum(action**2, axis=-1)
    return reach + place + effort, {"reach": reach, "place": place, "effort": effort}


SOURCE = inspect.getsource(compute_reward)


def in_process(state: np.ndarray, action: np.ndarray, next_state: np.ndarray) -> object:
    """Evaluate the same reward without a process of its own."""
    before, after = (
        {item.name: record[:, item.start : item.stop] for item in LAYOUT.fields}
        for record in (state, next_state)
    )
    return compute_reward(before, action, after)


def measure(call: Callable[..., object], batch: tuple[np.ndarray, ...]) -> float:
    """Give the median time of a call in microseconds."""
    times: list[float] = []
    end = time.perf_counter() + SECONDS_PER_SIZE
    while len(times) < 50 or time.perf_counter() < end:
        began = time.perf_counter()
        call(*batch)
        times.append(time.perf_counter() - began)
    return float(np.median(times[len(times) // 10 :])) * 1e6


def start_up() -> float:
    """Give the median time from nothing to the first reward in milliseconds."""
    times = []
    one = np.ones((1, LAYOUT.state_width))
    for _ in range(STARTS):
        began = time.perf_counter()
        with RewardProcess(LAYOUT, LIMITS) as process:
            process.load(RewardFunction(SOURCE))
            process.evaluate(one, one[:, : LAYOUT.action_width], one)
            times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1e3


def compare(batches: Sequence[tuple[np.ndarray, ...]]) -> list[tuple[float, float]]:
    """Give microseconds per call, remote and in process, for each batch."""
    with RewardProcess(LAYOUT, LIMITS) as process:
        process.load(RewardFunction(SOURCE))
        return [(measure(process.evaluate, item), measure(in_process, item)) for item in batches]


def main() -> None:
    rng = np.random.default_rng(0)
    state, next_state = rng.normal(size=(2, SIZES[-1], LAYOUT.state_width))
    action = rng.uniform(-1.0, 1.0, (SIZES[-1], LAYOUT.action_width))
    headline = {"start_up_ms": round(start_up(), 1)}
    batches = [(state[:rows], action[:rows], next_state[:rows]) for rows in SIZES]
    free = compare(batches)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # the children inherit it
    shared = compare(batches)
    print(f"{'rows':>6} {'remote us':>10} {'one core us':>12} {'in process us':>14}")
    for rows, (remote_us, _), (one_core_us, local_us) in zip(SIZES, free, shared, strict=True):
        headline[f"remote_us_{rows}_rows"] = round(remote_us, 1)
        headline[f"remote_one_core_us_{rows}_rows"] = round(one_core_us, 1)
        headline[f"in_process_us_{rows}_rows"] = round(local_us, 1)
        print(f"{rows:>6} {remote_us:>10.1f} {one_core_us:>12.1f} {local_us:>14.1f}")
    print(f"start-up to first reward: {headline['start_up_ms']} ms")
    write("reward_process", headline)


if __name__ == "__main__":
    main()
