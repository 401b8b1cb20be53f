"""Where the time of a training goes, and how far it is from what the machine could do at best.

One population of eight FetchReach rewards with three seeds each (an iteration of the default run)
is trained and taken apart:

- ``physics_share``: processor time of the processes that play episodes,
- ``learning_share``: processor time of the learners' process without what follows,
- ``reward_share``: wall time in which rewards are evaluated, transfer included (while the learners'
  device works on),
- ``idle_share``: what is left of all cores' time.

All but ``reward_share`` are shares of wall time × cores. ``times_the_limit`` compares the wall time
with the time that the same environment steps in bare MuJoCo and the same matrix products at the
speed of large ones would take on all cores, with nothing else to do.

Usage: ``python benchmarks/where_time_goes.py [--quick]`` (1 minute; ``--quick`` writes nothing).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common import cores, executor, rewards, settings, write
from population import payload

from rewardsmith.execution import Job
from rewardsmith.tasks.task import make_environment

TRAININGS = 3
SUBSTEPS = 20


def watched(data: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> dict[str, float]:
    """Train as `rewardsmith.training.population.worker` does, with a stopwatch in hand."""
    from rewardsmith.training.population import physics, worker
    from rewardsmith.training.population.learner import Learners
    from rewardsmith.training.population.relabel import Relabeler

    seconds = {"reward": 0.0}
    updates = 0

    def timed(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            began = time.monotonic()
            try:
                return function(*arguments)
            finally:
                seconds["reward"] += time.monotonic() - began

        return call

    Relabeler.one = timed(Relabeler.one)  # type: ignore[method-assign]
    update = Learners.update

    def count_updates(self: Any, batch: Any) -> Any:
        nonlocal updates
        updates += self.batch_shape[0]
        return update(self, batch)

    Learners.update = count_updates  # type: ignore[method-assign]

    class Counted(physics.Physics):
        """Adds up what its processes and the reward processes have used, before they end."""

        def close(self) -> None:
            gone = os.times()  # the reward processes have ended by now
            seconds["reward_process"] = gone.children_user + gone.children_system
            playing = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
            seconds["physics"] = sum(times.user + times.system for times in playing)
            super().close()

    worker.Physics = Counted  # type: ignore[misc]
    began = time.monotonic()
    results = worker.train(data, report)
    wall = time.monotonic() - began
    own = os.times()
    lengths = [
        length for item in results for part in item["episodes"] for length in part["lengths"]
    ]
    training = data["training"]
    looks = training["checkpoints"] * training["checkpoint_episodes"] * 50
    learners = len(data["rewards"]) * len(data["seeds"])
    steps = training["total_timesteps"] + sum(lengths) + learners * looks
    return {
        **seconds,
        "wall": wall,
        "own": own.user + own.system,
        "updates": updates,
        "steps": steps,
    }


def bare_step() -> float:
    """Seconds of MuJoCo's own step, as the robot moves at random."""
    import mujoco

    env = make_environment(settings().env)
    inner: Any = env.unwrapped
    spent = 0.0

    def timed(action: np.ndarray) -> None:
        nonlocal spent
        began = time.perf_counter()
        mujoco.mj_step(inner.model, inner.data, nstep=SUBSTEPS)
        spent += time.perf_counter() - began

    inner._mujoco_step = timed
    env.action_space.seed(0)
    for episode in range(20):
        env.reset(seed=episode)
        for _ in range(50):
            env.step(env.action_space.sample())
    env.close()
    return spent / 1_000


def matrix_speed() -> float:
    """Floating-point operations per second of one core in a large product, float32."""
    size = 1_024
    left, right = np.random.default_rng(0).normal(size=(2, size, size)).astype(np.float32)
    best = np.inf
    for _ in range(10):
        began = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def operations(training: Any, features: int, actions: int) -> float:
    """Floating-point operations of one gradient step of one learner, matrix products only."""

    def products(widths: list[int]) -> int:
        return sum(a * b for a, b in zip(widths[:-1], widths[1:], strict=True))

    actor = products([features, *training.hidden, 2 * actions])
    critic = products([features + actions, *training.hidden, 1])
    # forward: 1, backward: 2; targets twice forward, critics twice both, actor both and once
    # forward for the targets, and two critics forward and back to their inputs for its loss
    return 2.0 * training.batch_size * (2 * critic + 6 * critic + 4 * actor + 4 * critic)


def main() -> None:
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    chosen = settings("sandbox.allow_weaker=true")
    sources = list(rewards("reach").values())
    with tempfile.TemporaryDirectory() as folder:
        data = payload(chosen, sources, folder, 15, TRAININGS)
        outcomes = []
        for _ in range(2):  # the first compiles
            job = Job("watched", "where_time_goes:watched", data, Path(folder) / "log.txt")
            outcome = executor(1).run([job])["watched"]
            if outcome.error is not None:
                raise outcome.error
            outcomes.append(outcome.value)
    seen = outcomes[-1]
    whole = seen["wall"] * cores()
    step, speed = bare_step(), matrix_speed()
    training: Any = chosen.training
    learners = len(sources) * TRAININGS
    products = operations(training, 16, 4) * seen["updates"] * learners / speed
    least = (seen["steps"] * step + products) / cores()
    used = seen["physics"] + seen["own"] + seen["reward_process"]
    headline = {
        "physics_share": round(seen["physics"] / whole, 3),
        "learning_share": round((seen["own"] - seen["reward"]) / whole, 3),
        "reward_share": round(seen["reward"] / seen["wall"], 3),
        "idle_share": round(max(0.0, 1.0 - used / whole), 3),
        "times_the_limit": round(seen["wall"] / least, 2),
        "wall_seconds": round(seen["wall"], 1),
        "mujoco_steps_per_second": round(1.0 / step),
        "matrix_gflops": round(speed / 1e9, 1),
    }
    for key, value in headline.items():
        print(f"{key}: {value}")
    if not quick:
        write("where_time_goes", headline, seen=seen)


if __name__ == "__main__":
    main()
