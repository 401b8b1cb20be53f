"""Which search strategy finds better rewards at the same budget.

Whole runs, as a user starts them: every strategy with the same number of candidates, iterations,
training seeds and steps, over several search seeds. The rewards come from the built-in designer or
from recorded replies of a language model (`tests/data/replies`). What counts is the winner's
success (or return) after fresh trainings, on episodes that nothing was selected by; beside it, how
early it came. Intervals are bootstraps over search seeds.

Usage: ``python benchmarks/search.py [--tasks reach …] [--strategies greedy …] [--designers …]
[--seeds 3] [--jobs 2] [--quick] [OVERRIDE …]``. Runs that are under ``--folder`` already (with
whatever overrides they had) are not made again, so that it can be stopped and continued.
``--quick`` is two strategies and one seed on the point task. Writes ``results/search.json`` and
``results/search.png`` (with matplotlib).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import FOLDER, write
from recorded import FOLDER as REPLIES

from rewardsmith.evaluation import bootstrap

ROOT = FOLDER.parent
STRATEGIES = ("best_of_n", "greedy", "evolution", "greedy,tune")
DESIGNERS = ("builtin", "recorded")
COMMON = (
    "experiment.candidates=4",
    "experiment.iterations=4",
    "experiment.seeds=2",
    "experiment.races=1",
    "experiment.final_seeds=3",
    "experiment.test_episodes=30",
    "video.episodes=0",
    "~env.baselines",  # the same for all; `python gen.py` compares with them
    "sandbox.allow_weaker=true",
)
TASKS = {
    "point": ("training.total_timesteps=600",),
    # few steps: with more, every sensible reward solves it, and nothing is left to be told apart
    "reach": ("training.total_timesteps=1500",),
    # a smaller search: one of the common size takes the better part of an hour
    "push": (
        "training.total_timesteps=100000",
        "experiment.iterations=2",
        "experiment.seeds=1",
        "experiment.races=0",
    ),
    "metaworld_reach": (
        "training.total_timesteps=20000",
        "experiment.iterations=2",
        "experiment.seeds=1",
        "experiment.races=0",
    ),
}


def settings(task: str) -> list[str]:
    """What all runs of a task have in common; its own values beat those of all tasks."""
    own = TASKS[task]
    keys = {item.partition("=")[0] for item in own}
    return [*(item for item in COMMON if item.partition("=")[0] not in keys), *own]


def run(task: str, designer: str, strategy: str, seed: int, folder: Path, extra: list[str]) -> Any:
    """The summary of one search, made unless it is there."""
    place = folder / task / designer / strategy.replace(",", "+") / str(seed)
    summary = place / task / "summary.json"
    if not summary.exists():
        provider = ["llm=builtin"]
        if designer == "recorded":
            provider = ["llm=builtin", "llm._target_=recorded.Recorded"]
        chosen = [
            f"env={task}",
            *provider,
            *settings(task),
            f"experiment.strategy=[{strategy}]",
            f"experiment.seed={seed}",
            f"paths.results={place}",
            *extra,
        ]
        if (place / task / "config.yaml").exists():  # it was stopped
            chosen = [f"experiment.resume={place / task}"]
        command = [sys.executable, str(ROOT / "gen.py"), *chosen]
        replies = ROOT / "tests" / "data" / "replies" / task
        environment = {**os.environ, "PYTHONPATH": str(FOLDER), REPLIES: str(replies)}
        subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL)
    return json.loads(summary.read_text())


def outcome(summary: Any) -> dict[str, Any]:
    """What is compared: of the fresh trainings, and how good the search thought it was."""
    best = summary["best"]
    return {
        "winner": None if best is None else best["candidate"],
        "searched": None if best is None else best["fitness"]["mean"],
        "found": 0.0 if summary["test"] is None else summary["test"]["mean"],
        "steps": summary["timesteps"]["search"],
        "minutes": summary["seconds"] / 60,
        "candidates": summary["candidates"],
        "trained": summary["trained"],
    }


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    """One panel for each task and designer: the mean over search seeds, and its interval."""
    panels = sorted({(row["task"], row["designer"]) for row in rows})
    figure, axes = plt.subplots(
        1, len(panels), figsize=(1 + 3 * len(panels), 2.8), sharey=True, squeeze=False
    )
    for axis, (task, designer) in zip(axes[0], panels, strict=True):
        chosen = [row for row in rows if (row["task"], row["designer"]) == (task, designer)]
        for place, row in enumerate(chosen):
            axis.plot([row["low"], row["high"]], [place, place], color="tab:blue", linewidth=3)
            axis.plot(row["found"], [place] * len(row["found"]), "|", color="black")
            axis.plot(row["mean"], place, "o", color="tab:blue")
        axis.set_yticks(range(len(chosen)), [row["strategy"] for row in chosen])
        axis.set_title(f"{task}, {designer}", fontsize=10)
        axis.set_xlabel("success of the winner")
        axis.set_xlim(-0.03, 1.03)
        axis.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["reach"])
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    parser.add_argument("--designers", nargs="+", choices=DESIGNERS, default=list(DESIGNERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="searches at a time")
    parser.add_argument("--folder", type=Path, default=Path("results/search"))
    parser.add_argument("--quick", action="store_true")
    arguments, extra = parser.parse_known_args()
    if arguments.quick:
        arguments.tasks, arguments.designers, arguments.seeds = ["point"], ["builtin"], 1
        arguments.strategies = ["best_of_n", "greedy"]
    cells = [
        (task, designer, strategy)
        for task in arguments.tasks
        for designer in arguments.designers
        if designer != "recorded" or (ROOT / "tests/data/replies" / task).is_dir()
        for strategy in arguments.strategies
    ]
    rows = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        waiting = [start(cell, arguments, extra, pool) for cell in cells]
        for cell, futures in zip(cells, waiting, strict=True):
            rows.append(measure(*cell, [outcome(future.result()) for future in futures]))
            tell(rows[-1])
    if arguments.quick:
        return
    headline = {
        f"{row['task']}_{row['designer']}_{row['strategy']}": round(row["mean"], 3) for row in rows
    }
    write(
        "search",
        headline,
        rows=rows,
        settings={task: [*settings(task), *extra] for task in arguments.tasks},
    )
    plot(rows, FOLDER / "results" / "search.png")


def start(
    cell: tuple[str, str, str],
    arguments: argparse.Namespace,
    extra: list[str],
    pool: ThreadPoolExecutor,
) -> list[Future[Any]]:
    """Begin the searches of one strategy, with all search seeds."""
    folder = arguments.folder.resolve()
    return [pool.submit(run, *cell, seed, folder, extra) for seed in range(arguments.seeds)]


def measure(task: str, designer: str, strategy: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One strategy over all search seeds."""
    found = [item["found"] for item in runs]
    low, high = bootstrap(found)
    return {
        "task": task,
        "designer": designer,
        "strategy": strategy,
        "mean": float(np.mean(found)),
        "low": low,
        "high": high,
        "found": found,
        "runs": runs,
    }


def tell(row: dict[str, Any]) -> None:
    """Print a row."""
    scores = ", ".join(f"{value:.2f}" for value in row["found"])
    minutes = np.mean([item["minutes"] for item in row["runs"]])
    print(
        f"{row['task']:<16} {row['designer']:<9} {row['strategy']:<12} {row['mean']:.2f} "
        f"[{row['low']:.2f}, {row['high']:.2f}]  ({scores}), {minutes:.1f} minutes each",
        flush=True,
    )


if __name__ == "__main__":
    main()
