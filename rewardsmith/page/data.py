"""Everything that the page of a run shows, as plain data, whatever state the run is in.

A run that is still going on is read from ``metrics.jsonl`` as far as its files are not written yet;
one of before that file existed, from its files alone.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

from rewardsmith import config as configuration
from rewardsmith.files import read_text
from rewardsmith.page import words
from rewardsmith.page.budget import fit
from rewardsmith.page.candidates import Entry, entries, rows
from rewardsmith.page.crowd import by_iteration, choose
from rewardsmith.page.curves import curves
from rewardsmith.page.progress import Progress
from rewardsmith.page.standing import log_lines, standing
from rewardsmith.results import RunDirectory
from rewardsmith.search.base import rank
from rewardsmith.summary import Read, final_trials, protection
from rewardsmith.types import Trial

MOST_VIDEO = 2_000_000
"""Characters that a video may take in the page."""


def collect(
    run: RunDirectory,
    full: bool = True,
    progress: Progress | None = None,
    known: Read | None = None,
) -> dict[str, Any]:
    """Everything that the page of a run shows.

    Args:
        run: finished, going on, failed, or of an earlier version.
        full: with prompts, replies and the video; the live page does without.
        progress: what ``metrics.jsonl`` tells; None reads it.
        known: see `rewardsmith.summary.final_trials`.

    Returns:
        Plain data; every number in it is finite.

    Raises:
        ResultsError: a file is damaged.
        ConfigurationError: the run's configuration cannot be read.
    """
    record, summary = run.read_record(), run.read_summary() or {}
    config = configuration.recorded_values(run.config_file, run.earlier_overrides())
    progress = progress or Progress.read(read_text(run.metrics_file))
    trials = final_trials(run, known)
    budget = _get(config, "training", "total_timesteps") or 1
    everybody = entries(run, trials, progress)
    log = log_lines(run)
    state = standing(run, record, summary, progress, log)
    if state["name"] == "running":
        summary = {}  # that of its first part, if it was resumed
    best = _best(summary, trials) or next(iter(_labels(rank(trials))), None)
    first_best = next(iter(_labels(rank(_first(trials)))), None)
    iterations = by_iteration(everybody)
    wanted = [
        best,
        first_best,
        *(row["candidate"] for row in summary.get("headline") or []),
        *(row["best"] for row in iterations),
    ]
    shown = choose(everybody, filter(None, wanted))
    found = rows(run, shown, budget, full, {item.candidate.label: item for item in everybody})
    data = {
        "schema": 1,
        "title": run.root.resolve().name,
        "folder": run.root.resolve().name,
        "task": _task(config),
        "kind": _kind(trials, summary, found),
        "state": state,
        "iteration": _iteration(config, progress, trials),
        "best": best,
        "first_best": first_best,
        "headline": _headline(run, summary, progress),
        "test": summary.get("test"),
        "candidates": found,
        "total": len(everybody),
        "trained": sum(trial.evaluation.fitness is not None for trial in trials),
        "iterations": iterations,
        "screens": summary.get("screens"),
        "cost": _cost(config, record, summary, progress),
        "config": read_text(run.config_file),
        "versions": _versions(record),
        "sandbox": _sandbox(record),
        "texts": _texts(run, everybody) if full else {},
        "video": _video(run) if full else None,
        "log": log,
    }
    data["sentence"] = words.outcome(data)
    data["notes"] = words.notes(config, data)
    data = clean(data)
    return fit(data) if full else data


def clean(value: Any) -> Any:
    """The same with all numbers finite and of no more digits than a page needs."""
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): item if key in _EXACT else clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    return value


_EXACT = ("last", "now")


def _get(config: dict[str, Any], group: str, key: str) -> Any:
    values = config.get(group)
    return values.get(key) if isinstance(values, dict) else None


def _labels(trials: Sequence[Trial]) -> list[str]:
    return [trial.candidate.label for trial in trials]


def _first(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.candidate.iteration == 1]


def _best(summary: dict[str, Any], trials: Sequence[Trial]) -> str | None:
    """The winner as the result has it."""
    best = summary.get("best") or {}
    label = best.get("candidate")
    return label if label in _labels(trials) else None


def _task(config: dict[str, Any]) -> dict[str, Any]:
    keys = ("name", "id", "description", "success")
    task = {key: _get(config, "env", key) for key in keys}
    task["id"] = str(task["id"] or "").rpartition(":")[2]  # without the module that registers it
    return task


def _kind(trials: Sequence[Trial], summary: dict[str, Any], found: Sequence[dict[str, Any]]) -> str:
    """``success`` or ``return``; of a run without a result, as its looks say."""
    for trial in trials:
        if trial.evaluation.fitness is not None:
            return trial.evaluation.fitness.kind
    test = summary.get("test")
    if test:
        return str(test["kind"])
    looks = [row["curves"] for row in found if row["curves"]]
    blind = looks and all(value is None for item in looks for value in item["success"])
    return "return" if blind else "success"


def _iteration(
    config: dict[str, Any], progress: Progress, trials: Sequence[Trial]
) -> dict[str, int]:
    number = max([progress.number, *(trial.candidate.iteration for trial in trials)])
    of = _get(config, "experiment", "iterations") or progress.of or number
    return {"number": number, "of": max(int(of), number)}


def _headline(
    run: RunDirectory, summary: dict[str, Any], progress: Progress
) -> list[dict[str, Any]]:
    """The headline table, each row with the curves of its fresh trainings."""
    finals = run.read_finals()
    found = []
    for row in summary.get("headline") or []:
        scores = tuple(row.get("scores") or ())
        same = [
            item.evaluation
            for item in finals
            if item.candidate.label == row["candidate"] and item.evaluation.scores == scores
        ]
        drawn = curves(same[-1].curves, same[-1].trainings) if same else None
        found.append({**row, "winner": "winner" in row["names"], "curves": drawn})
    if found or not progress.finals:
        return found
    return [_on_its_way(label, progress) for label in progress.finals]


def _on_its_way(label: str, progress: Progress) -> dict[str, Any]:
    going = progress.finals[label]
    empty = ("fitness", "human_normalised", "winner_is_better", "fault", "seconds")
    return {
        **dict.fromkeys(empty),
        "names": [] if "/" in label else [label],
        "candidate": label,
        "status": going.state,
        "scores": [],
        "timesteps": going.steps,
        "winner": label == next(iter(progress.finals)),
        "curves": curves(going.curves, list(going.looks)),
    }


def _cost(
    config: dict[str, Any],
    record: dict[str, Any],
    summary: dict[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    lasted = (progress.last or 0.0) - (progress.first or 0.0)
    return {
        "provider": record.get("provider"),
        "model": record.get("model"),
        "usage": progress.usage
        if progress.usage and not progress.finished
        else summary.get("usage") or progress.usage,
        "max_usd": _get(config, "llm", "max_usd"),
        "seconds": summary.get("seconds") if progress.finished or not lasted else lasted,
        "timesteps": summary.get("timesteps"),
    }


def _versions(record: dict[str, Any]) -> dict[str, str]:
    own = {
        "rewardsmith": record.get("rewardsmith"),
        "Python": record.get("python"),
        **(record.get("versions") or {}),
        "platform": record.get("platform"),
        "environment class": (record.get("environment") or {}).get("class"),
        "start state": (record.get("environment") or {}).get("start_state"),
    }
    return {name: str(value) for name, value in own.items() if value is not None}


def _sandbox(record: dict[str, Any]) -> dict[str, Any]:
    found = protection(record)
    names = {key: [name.replace("_", " ") for name in found[key]] for key in ("layers", "missing")}
    return {**names, "weaker": found["allow_weaker"]}


def _texts(run: RunDirectory, found: Sequence[Entry]) -> dict[str, str]:
    """What the model was told after each iteration."""
    numbers = sorted({item.candidate.iteration for item in found})
    texts = {str(number): run.read_texts(number).get("reflection", "") for number in numbers}
    return {number: text[:40_000] for number, text in texts.items() if text}


def _video(run: RunDirectory) -> dict[str, Any]:
    """The video as a URI, or the GIF if that is too large, or why there is neither."""
    mp4 = run.best_video
    large = False
    for file, kind in ((mp4, "video/mp4"), (mp4.with_suffix(".gif"), "image/gif")):
        if not file.is_file():
            continue
        if file.stat().st_size * 4 / 3 > MOST_VIDEO:
            large = True
            continue
        uri = f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
        return {"kind": kind, "uri": uri, "text": ""}
    text = (
        "The video is too large for this page: see the folder best of the run."
        if large
        else ("No video was recorded.")
    )
    return {"kind": None, "uri": None, "text": text}
