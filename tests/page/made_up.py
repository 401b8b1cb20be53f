"""Run directories for the page: made up, without any training."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

from rewardsmith.config import to_yaml
from rewardsmith.evaluation import fitness, scores
from rewardsmith.llm.types import Usage
from rewardsmith.metrics import Metrics
from rewardsmith.results import RunDirectory
from rewardsmith.search.screens import savings
from rewardsmith.summary import row
from rewardsmith.types import (
    Candidate,
    Episodes,
    Evaluation,
    Fault,
    Preference,
    RewardFunction,
    Status,
    Trial,
)
from tests.conftest import load_settings
from tests.search.made_up import curve

ATTACK = "</script><img src=x onerror=\"document.title='owned'\"><!-- <b>bold</b>"
LONG = "distance_from_the_gripper_to_the_object_while_it_is_moving_slowly"
SOURCE = f'''def compute_reward(state, action, next_state):
    """Come near, slowly. {ATTACK}"""
    gap = np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    near = {{weight}} * np.exp(-gap)  # the nearer the better, over a line that is long
    {LONG} = -0.1 * np.sum(action**2, axis=-1)
    return near + {LONG}, {{{{"near": near, "{LONG}": {LONG}}}}}
'''
RECORD = {
    "rewardsmith": "0.1.0",
    "started": "2026-11-01T10:00:00+0000",
    "python": "3.11.7",
    "platform": "Linux",
    "versions": {"numpy": "2.0", "torch": "2.8"},
    "environment": {"id": "Point", "class": "made.up.PointEnv", "start_state": None},
    "provider": "openai",
    "model": "a-model-with-a-long-name-2026-11-01",
    "sandbox_layers": ["empty_environment", "seccomp"],
    "sandbox_allow_weaker": False,
}


def episodes(successes: int, kind: str = "success", of: int = 15) -> Episodes:
    flags = [place < successes for place in range(of)] if kind == "success" else []
    return Episodes(flags, [10.0 * successes + place for place in range(of)], [20] * of)


def trained(kind: str, solved: Sequence[int], hacked: bool = False) -> Evaluation:
    played = tuple(episodes(count, kind) for count in solved)
    rise = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    goal = sum(solved) / len(solved) / 15
    looks: list[float | None] = [None] * 6
    if kind == "success":
        looks = [0.0] * 6 if hacked else [goal * place / 5 for place in range(6)]
    curves = tuple(
        curve(looks, near=[value + 0.2 * seed for value in rise], **{LONG: [-0.3, *[-0.1] * 5]})
        for seed in range(len(solved))
    )
    return Evaluation(
        Status.OK,
        fitness(kind, played),
        scores(kind, played),
        curves,
        seconds=75.0,
        timesteps=1500,
        collected=500,
        episodes=played,
        trainings=tuple(range(len(solved))),
    )


def candidate(
    iteration: int, index: int, *parents: str, fault: Fault | None = None, **more: Any
) -> Candidate:
    source = SOURCE.format(weight=1.0 + iteration + index / 10)
    return Candidate(
        iteration,
        index,
        RewardFunction(source),
        reply=f"A thought. {ATTACK}\n```python\n{source}```\n",
        parents=parents,
        fault=fault,
        preference=Preference(0.9, 0.8, 0.95, 12, 80),
        **more,
    )


def failed(status: Status, reason: str, line: int = 0, traceback: str = "") -> Fault:
    text = "while gap > 0:  " + ATTACK if line else ""
    return Fault(status, reason, f"A {reason} was found. {ATTACK}", line, text, traceback)


def all_trials(kind: str = "success") -> list[Trial]:
    """Three iterations with everything that can become of a candidate."""
    faults = [
        failed(Status.REJECTED, "while_loop", 4),
        failed(Status.PROBE_FAILED, "constant"),
        failed(Status.DUPLICATE, "behavioural_duplicate"),
        failed(Status.NO_CODE, "no_code"),
    ]
    crash = failed(Status.CRASHED, "worker", traceback="Traceback (most recent call last):\n  x")
    return [
        Trial(candidate(1, 0), trained(kind, [2, 3, 2])),
        Trial(candidate(1, 1), trained(kind, [0, 0, 0], hacked=True)),
        Trial(candidate(1, 2, fault=faults[0], attempts=3), _stopped(faults[0])),
        Trial(candidate(2, 0, "1/0"), trained(kind, [8, 9, 7])),
        Trial(candidate(2, 1, "1/0", "1/1", fault=faults[1]), _stopped(faults[1])),
        Trial(candidate(2, 2, "1/1"), Evaluation(Status.CRASHED, fault=crash)),
        Trial(candidate(3, 0, "2/0"), trained(kind, [14, 15, 15])),
        Trial(candidate(3, 1, "2/0", "1/0", fault=faults[2]), _stopped(faults[2])),
        Trial(candidate(3, 2, "2/0", fault=faults[3]), _stopped(faults[3])),
    ]


def _stopped(fault: Fault) -> Evaluation:
    return Evaluation(fault.status, fault=fault)


def begun(root: Path, *overrides: str) -> RunDirectory:
    """A run of which nothing is known but its configuration."""
    run = RunDirectory(root)
    settings = load_settings("env=point", "experiment.iterations=3", *overrides)
    run.write_config(to_yaml(settings))
    run.update_record(**RECORD)
    run.log_file.write_text("10:00:00 rewardsmith 0.1.0\n10:00:01 iteration 1 of 3\n")
    return run


def write(run: RunDirectory, trials: Sequence[Trial]) -> None:
    """Write what the loop would of finished candidates."""
    for trial in trials:
        run.write_reply(trial.candidate)
        run.write_trial(trial)
        _write_exchange(run, trial.candidate)
    for number in sorted({trial.candidate.iteration for trial in trials}):
        run.write_iteration(number, [], f"# What happened in iteration {number}\n{ATTACK}\n")


def _write_exchange(run: RunDirectory, item: Candidate) -> None:
    messages = [
        {"role": "system", "content": "You write rewards."},
        {"role": "user", "content": f"Write one. {ATTACK}"},
    ]
    folder = run.iteration(item.iteration)
    file = folder / f"exchange_{item.index}_{item.attempts - 1}.json"
    file.write_text(json.dumps({"messages": messages}))


def finished(
    root: Path, kind: str = "success", metrics: bool = True, *overrides: str
) -> RunDirectory:
    """A run that came to its end, with every kind of candidate."""
    run = begun(root, *overrides)
    trials = all_trials(kind)
    write(run, trials)
    if metrics:
        told(run, trials)
        Metrics(run)._write("finished", best="3/0", stopped=None)
    run.write_summary(summary(run, trials, kind))
    run.update_record(finished="2026-11-01T11:00:00+0000", found=True, seconds=3600.0)
    return run


def summary(run: RunDirectory, trials: Sequence[Trial], kind: str) -> dict[str, Any]:
    best = next(trial for trial in trials if trial.candidate.label == "3/0")
    rows = []
    for label, names, solved in (
        ("3/0", ["winner"], [15, 14, 15, 15, 15]),
        ("1/0", ["best of iteration 1"], [2, 3, 4, 2, 3]),
        ("sparse", ["sparse"], [5, 0, 9, 6, 4]),
        ("human", ["human"], [12, 11, 15, 14, 12]),
    ):
        entrant = Candidate(0, 0, RewardFunction("x"), origin=label)
        if "/" in label:
            entrant = next(item.candidate for item in trials if item.candidate.label == label)
        found = trained(kind, solved)
        run.write_final(entrant, "c0ffee", found)
        assert found.fitness is not None
        rows.append(
            {
                "names": names,
                "candidate": label,
                "status": "ok",
                "fitness": asdict(found.fitness),
                "scores": list(found.scores),
                "human_normalised": {"3/0": 1.21, "human": 1.0, "sparse": 0.0}.get(label),
                "winner_is_better": None
                if label == "3/0"
                else {"probability": 0.98, "low": 0.7, "high": 1.0},
                "timesteps": 7500,
                "seconds": 10.9,
                "fault": None,
            }
        )
    return {
        "best": row(best),
        "test": rows[0]["fitness"],
        "headline": rows,
        "candidates": len(trials),
        "trained": 4,
        "screens": savings(trials),
        "usage": asdict(Usage(12, 12_000, 3_400, 0.0123)),
        "timesteps": {"search": 4500, "headline": 30_000},
        "seconds": 3600.0,
        "seeds": {},
        "stopped": None,
    }


def told(run: RunDirectory, trials: Sequence[Trial]) -> None:
    """Write the events of finished candidates."""
    metrics = Metrics(run)
    for number in sorted({trial.candidate.iteration for trial in trials}):
        mine = [trial for trial in trials if trial.candidate.iteration == number]
        metrics.iteration_started(number, 3, len(mine))
        for trial in mine:
            metrics.candidate_written(trial.candidate)
        for trial in mine:
            metrics.evaluated(trial, Usage(4, 1000, 200, 0.004))
        metrics.iteration_finished(number, None)


def running(root: Path) -> RunDirectory:
    """A run in its second iteration: one candidate is trained, one waits, one is rejected."""
    run = begun(root)
    trials = [trial for trial in all_trials() if trial.candidate.iteration == 1]
    write(run, trials)
    told(run, trials)
    metrics = Metrics(run)
    metrics.iteration_started(2, 3, 4)
    fault = failed(Status.REJECTED, "while_loop", 4)
    going = [candidate(2, 0, "1/0"), candidate(2, 1, "1/0"), candidate(2, 2, fault=fault)]
    for item in going:
        run.write_reply(item)
        metrics.candidate_written(item)
    for training in range(2):
        for look in curve([0.0, 0.25, 0.5], near=[0.1, 0.2, 0.3]):
            data = {"timesteps": look.timesteps, "training": training, "checkpoint": asdict(look)}
            metrics.progressed(going[0], data)
    return run


def stopped(root: Path) -> RunDirectory:
    """A run that ended with an error before any candidate was trained."""
    run = begun(root)
    with run.log_file.open("a") as stream:
        stream.write("10:00:02 error: The key in OPENAI_API_KEY is not accepted.\n")
    return run


def crowd(root: Path, iterations: int, each: int) -> RunDirectory:
    """A finished run of very many candidates, a tenth of which were not trained."""
    run = begun(root, f"experiment.iterations={iterations}", f"experiment.candidates={each}")
    outcomes = [trained("success", [count]) for count in range(15)]
    fault = failed(Status.DUPLICATE, "behavioural_duplicate")
    trials = []
    for iteration in range(1, iterations + 1):
        for index in range(each):
            parents = [f"{iteration - 1}/{index * 7 % each}"] if iteration > 1 else []
            stopped = fault if index % 10 == 9 else None
            outcome = _stopped(fault) if stopped else outcomes[(iteration + index * 3) % 14]
            item = candidate(iteration, index, *parents, fault=stopped)
            trials.append(Trial(item, outcome))
    best = f"{iterations}/3"
    trials = [Trial(t.candidate, outcomes[14]) if t.candidate.label == best else t for t in trials]
    with mock.patch.object(os, "fsync"):  # it would take minutes
        write(run, trials)
    told(run, trials)
    Metrics(run)._write("finished", best=best, stopped=None)
    found = row(next(trial for trial in trials if trial.candidate.label == best))
    run.write_summary({"best": found, "usage": asdict(Usage(len(trials))), "seconds": 3600.0})
    run.update_record(finished="2026-11-01T11:00:00+0000", found=True, seconds=3600.0)
    return run
