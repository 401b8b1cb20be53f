"""Runs side by side, as plain data: what won, how soon, at what cost, with which settings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rewardsmith import config as configuration
from rewardsmith.page.data import clean, collect
from rewardsmith.results import RunDirectory
from rewardsmith.search.base import rank
from rewardsmith.summary import final_trials
from rewardsmith.types import Trial

_NO_DIFFERENCE = ("env.name", "experiment.resume", "paths.results")
"""Settings that say nothing of how a run searched."""


def compare(runs: Sequence[RunDirectory], output: Path) -> dict[str, Any]:
    """Everything that the page of several runs shows.

    Args:
        runs: two or more.
        output: file that the page will be in; links lead from there.

    Raises:
        ResultsError: a file of a run is damaged.
        ConfigurationError: the configuration of a run cannot be read.
    """
    names = _names(runs)
    found = [_run(run, name, output) for run, name in zip(runs, names, strict=True)]
    tasks = list(dict.fromkeys(item["task"]["name"] or item["task"]["id"] for item in found))
    return clean(
        {
            "title": " · ".join(names) if len(names) < 4 else f"{len(names)} runs",
            "runs": found,
            "tasks": tasks,
            "comparable": len({_measured(item) for item in found}) == 1,
            "differences": _differences(runs),
        }
    )


def _measured(item: dict[str, Any]) -> tuple[Any, ...]:
    """What success is measured by; runs can be compared where it is the same."""
    task = item["task"]
    return task["id"], str(task["success"]).strip(), item["kind"]


def _names(runs: Sequence[RunDirectory]) -> list[str]:
    """Names of the folders, with as many of their parents as tell them apart."""
    paths = [run.root.resolve().parts for run in runs]
    for length in range(1, max(map(len, paths)) + 1):
        names = ["/".join(path[-length:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def _run(run: RunDirectory, name: str, output: Path) -> dict[str, Any]:
    data = collect(run, full=False)
    kept = ("task", "kind", "state", "best", "headline", "test", "cost", "sentence", "iteration")
    return {
        "name": name,
        **{key: data[key] for key in kept},
        "candidates": data["total"],
        "trained": data["trained"],
        "best_so_far": _best_so_far(final_trials(run)),
        "report": _link(run, output),
    }


def _link(run: RunDirectory, output: Path) -> str | None:
    """Where the run's own report is, seen from the page; None if there is none."""
    if not run.report_file.is_file():
        return None
    try:
        return quote(Path(os.path.relpath(run.report_file, output.parent)).as_posix())
    except ValueError:  # on another drive
        return None


def _best_so_far(trials: Sequence[Trial]) -> dict[str, list[Any]]:
    """After each iteration: the best candidate, its fitness, and the steps taken by then."""
    found: dict[str, list[Any]] = {
        key: [] for key in ("iteration", "steps", "label", "mean", "low", "high")
    }
    for number in sorted({trial.candidate.iteration for trial in trials}):
        until = [trial for trial in trials if trial.candidate.iteration <= number]
        best = next(iter(rank(until)), None)
        if best is None or best.evaluation.fitness is None:
            continue
        fitness = best.evaluation.fitness
        found["iteration"].append(number)
        found["steps"].append(sum(item.evaluation.collected for item in until))
        found["label"].append(best.candidate.label)
        found["mean"].append(fitness.mean)
        found["low"].append(fitness.low)
        found["high"].append(fitness.high)
    return found


def _differences(runs: Sequence[RunDirectory]) -> list[dict[str, Any]]:
    """Settings in which the runs are not alike."""
    flat = [
        dict(_flat(configuration.recorded_values(run.config_file, run.earlier_overrides())))
        for run in runs
    ]
    keys = dict.fromkeys(key for item in flat for key in item)
    rows = ((key, [item.get(key) for item in flat]) for key in keys if key not in _NO_DIFFERENCE)
    return [{"key": key, "values": values} for key, values in rows if len(set(values)) > 1]


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of nested settings: dotted key and value as text."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        text = "null" if values is None else str(values)
        yield prefix, text if len(text) <= 200 else f"{text[:200]} …"
