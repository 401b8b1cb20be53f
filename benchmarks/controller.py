"""What the controller alone costs in a search of 256 candidates × 20 iterations.

The main routine, the strategy, the built-in designer, the screens, the records and the report are
the real ones; what the rewards say and what their trainings come to is made up, so that it takes
minutes instead of hours. Watched are its memory and its processor time in each iteration.

Usage: ``python benchmarks/controller.py [--quick]`` (3 minutes; ``--quick``: 5 iterations, writes
nothing).
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
from common import settings, write
from load import slope

from rewardsmith.config import to_yaml
from rewardsmith.console import Console
from rewardsmith.evaluation import fitness, scores
from rewardsmith.llm.builtin import BuiltinDesigner
from rewardsmith.llm.session import Session
from rewardsmith.llm.types import Usage
from rewardsmith.loop import Loop
from rewardsmith.metrics import Listeners, Metrics
from rewardsmith.page.write import write_report
from rewardsmith.results import RunDirectory
from rewardsmith.search import author as authors
from rewardsmith.search.author import Author
from rewardsmith.search.base import NoOptions
from rewardsmith.search.greedy import Greedy
from rewardsmith.search.screens import Said, Screens
from rewardsmith.tasks.task import build_task, play_randomly
from rewardsmith.tracking.tensorboard import HParams
from rewardsmith.types import Candidate, Checkpoint, Episodes, Evaluation, RewardFunction, Status

EACH = 256


class MadeUp:
    """A backend that trains nothing."""

    def __init__(self, run: RunDirectory) -> None:
        """Write models into a run."""
        self._run = run
        self._chance = np.random.default_rng(0)

    def train(
        self,
        iteration: int,
        candidates: Sequence[Candidate],
        trainings: range,
        on_progress: Callable[..., None],
        on_evaluated: Callable[..., None],
    ) -> None:
        """Make results up."""
        for candidate in candidates:
            for training in trainings:
                file = self._run.model_file(candidate, training)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b"a model")
            on_evaluated(candidate, self._evaluation(trainings))

    def retrain(self, *arguments: Any) -> None:
        """Never asked."""

    def test(self, candidate: Candidate, training: int) -> dict[str, Any]:
        """Make episodes up."""
        return {"successes": [True], "returns": [1.0], "lengths": [20]}

    def _evaluation(self, trainings: range) -> Evaluation:
        rates = self._chance.random(len(trainings))
        played = tuple(
            Episodes([bool(self._chance.random() < rate) for _ in range(15)], [1.0] * 15, [20] * 15)
            for rate in rates
        )
        curves = tuple(tuple(_look(place, rate) for place in range(1, 6)) for rate in rates)
        return Evaluation(
            Status.OK,
            fitness("success", played),
            scores("success", played),
            curves,
            timesteps=200,
            collected=1,
            episodes=played,
            trainings=tuple(trainings),
        )


def _look(place: int, rate: float) -> Checkpoint:
    return Checkpoint(
        timesteps=40 * place,
        success=round(4 * rate * place / 5) / 4,
        own_return=10.0 * rate * place,
        components={"near": rate, "effort": -0.1 * rate},
        episode_length=20.0,
        extremes={"near": (0.0, 1.0), "effort": (-0.2, 0.0)},
        episodes=4,
    )


def _said(rewards: Sequence[RewardFunction], rows: int) -> Iterator[tuple[None, Said]]:
    """What rewards say, made up from their texts."""
    for reward in rewards:
        seed = int.from_bytes(hashlib.sha256(reward.source.encode()).digest()[:8], "little")
        yield None, Said(np.random.default_rng(seed).normal(size=rows), np.empty(0))


class Meter:
    """A listener that notes memory and time at the end of each iteration."""

    def __init__(self) -> None:
        """Begin now."""
        self.rows: list[dict[str, float]] = []
        self._process, self._last = psutil.Process(), (time.monotonic(), time.process_time())

    def iteration_finished(self, number: int, best: Any) -> None:
        """Note it."""
        now = time.monotonic(), time.process_time()
        gc.collect()
        row = {
            "seconds": round(now[0] - self._last[0], 2),
            "cpu_s": round(now[1] - self._last[1], 2),
            "rss_mib": round(self._process.memory_info().rss / 2**20, 1),
            "descriptors": self._process.num_fds(),
        }
        self.rows.append(row)
        print(number, row, flush=True)
        self._last = now

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


def measure(folder: Path, iterations: int) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Search, and make the report."""
    chosen = settings(
        "env=point",
        f"experiment.candidates={EACH}",
        f"experiment.iterations={iterations}",
        "experiment.final_seeds=0",
        "experiment.seeds=1",
    )
    run = RunDirectory.create(folder, "point")
    run.write_config(to_yaml(chosen))
    task = build_task(chosen.env)
    play = play_randomly(task, 0)
    meter, console = Meter(), Console()
    console.open_log(run.log_file)
    console.watch(chosen, task)
    designer = BuiltinDesigner(chosen.llm.model_copy(update={"seed": 0}), {})
    session = Session(designer, run.iteration, chosen.llm.concurrency, {})
    screens = Screens(chosen.experiment.screens, task, play, chosen.sandbox)
    rows = len(play.transitions) + len(play.probe)
    backend: Any = MadeUp(run)
    with ExitStack() as stack:
        made_up = lambda rewards, *others: _said(rewards, rows)  # noqa: E731
        stack.enter_context(mock.patch.object(authors, "try_each", made_up))
        result = Loop(
            settings=chosen,
            task=task,
            strategy=Greedy(NoOptions(), chosen, task, play),
            author=Author(session, task, play, chosen.sandbox, 0, screens),
            backend=backend,
            final_backend=backend,
            baselines=[],
            run=run,
            session=session,
            listener=Listeners(console, Metrics(run), HParams(run, chosen), meter),  # type: ignore[arg-type]
            paid=Usage(),
            by="builtin",
        ).search()
    began = time.monotonic()
    report = write_report(run)
    return meter.rows, {
        "candidates": len(result.trials),
        "report_s": round(time.monotonic() - began, 1),
        "report_mb": round(report.stat().st_size / 1e6, 2),
        "log_mb": round(run.log_file.stat().st_size / 1e6, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as folder:
        rows, found = measure(Path(folder), 5 if quick else 20)
    third, last = rows[2], rows[-1]
    headline = {
        **found,
        "cpu_s_third": third["cpu_s"],
        "cpu_s_last": last["cpu_s"],
        "cpu_last_over_third": round(last["cpu_s"] / third["cpu_s"], 2),
        "rss_mib_third": third["rss_mib"],
        "rss_mib_last": last["rss_mib"],
        "rss_mib_per_iteration": round(slope([row["rss_mib"] for row in rows[2:]]), 2),
        "descriptors_third": third["descriptors"],
        "descriptors_last": last["descriptors"],
    }
    for key, value in headline.items():
        print(f"{key}: {value}")
    if not quick:
        write("controller", headline, iterations=rows)


if __name__ == "__main__":
    main()
