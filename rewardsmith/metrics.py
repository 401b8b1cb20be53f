"""What happens in a run, one line of JSON per event, for whoever follows it from outside.

``metrics.jsonl`` is appended to and never rewritten; a run that goes on repeats what it recalls, so
of two lines on the same thing the later one counts. A line that was cut off by a crash is passed
over. Nothing is decided by this file: the run itself reads the files of `rewardsmith.results`.

Every line has ``time`` (seconds since 1970) and ``event``:

- ``iteration``: ``number``, ``of``, ``candidates``
- ``written``: ``candidate``, ``fault`` (null if it is accepted), ``parents``, ``origin``,
  ``attempts``
- ``progress``: ``candidate``, ``training`` (null: of all), ``timesteps``, ``checkpoint`` (or null)
- ``evaluated``: ``candidate``, ``status``, ``fitness``, ``fault``, ``usage``
- ``race``, ``retraining``: ``candidates``, ``seeds``
- ``best``: after an iteration; ``number``, ``candidate`` (or null), ``fitness``
- ``finished``: ``best``, ``stopped`` (why the search ended early, or null)
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from rewardsmith.headline import Entrant
from rewardsmith.llm.types import Usage
from rewardsmith.loop import Listener
from rewardsmith.results import RunDirectory
from rewardsmith.summary import Result
from rewardsmith.types import Candidate, Trial


class Metrics:
    """Implements `rewardsmith.loop.Listener`; writes ``metrics.jsonl``."""

    def __init__(self, run: RunDirectory) -> None:
        """Append to the file of a run."""
        self._run = run

    def _write(self, event: str, **values: Any) -> None:
        line = {"time": round(time.time(), 3), "event": event, **values}
        self._run.append_metrics(json.dumps(line, default=_plain))

    def iteration_started(self, number: int, of: int, candidates: int) -> None:
        """A round begins."""
        self._write("iteration", number=number, of=of, candidates=candidates)

    def candidate_written(self, candidate: Candidate) -> None:
        """A reply was turned into a candidate, usable or not."""
        self._write(
            "written",
            candidate=candidate.label,
            fault=candidate.fault,
            parents=candidate.parents,
            origin=candidate.origin,
            attempts=candidate.attempts,
        )

    def progressed(self, candidate: Candidate, data: dict[str, Any]) -> None:
        """A training came further."""
        self._write(
            "progress",
            candidate=candidate.label,
            training=data.get("training"),
            timesteps=data["timesteps"],
            checkpoint=data.get("checkpoint"),
        )

    def evaluated(self, trial: Trial, usage: Usage) -> None:
        """A candidate is finished."""
        found = trial.evaluation
        self._write(
            "evaluated",
            candidate=trial.candidate.label,
            status=found.status,
            fitness=found.fitness,
            fault=found.fault,
            usage=usage,
        )

    def iteration_finished(self, number: int, best: Trial | None) -> None:
        """A round ends."""
        label = None if best is None else best.candidate.label
        fitness = None if best is None else best.evaluation.fitness
        self._write("best", number=number, candidate=label, fitness=fitness)

    def racing(self, rivals: Sequence[Trial], seeds: int) -> None:
        """Candidates that cannot be told from the best are trained on more seeds."""
        self._write("race", candidates=[item.candidate.label for item in rivals], seeds=seeds)

    def retraining(self, entrants: Sequence[Entrant], seeds: int) -> None:
        """The winner, or what it is compared with, is trained once more, for the result."""
        labels = [item.candidate.label for item in entrants]
        self._write("retraining", candidates=labels, seeds=seeds)

    def finished(self, result: Result) -> None:
        """The run came to its end."""
        best = None if result.best is None else result.best.candidate.label
        stopped = None if result.stopped is None else str(result.stopped)
        self._write("finished", best=best, stopped=stopped)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


def read_metrics(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Parse lines of ``metrics.jsonl``; what was cut off is passed over."""
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            events.append(event)
    return events


class Listeners:
    """Several listeners that are told the same, in order."""

    def __init__(self, *listeners: Listener) -> None:
        """Tell each of these."""
        self._all = listeners

    def iteration_started(self, number: int, of: int, candidates: int) -> None:
        """A round begins."""
        for item in self._all:
            item.iteration_started(number, of, candidates)

    def candidate_written(self, candidate: Candidate) -> None:
        """A reply was turned into a candidate, usable or not."""
        for item in self._all:
            item.candidate_written(candidate)

    def progressed(self, candidate: Candidate, data: dict[str, Any]) -> None:
        """A training came further."""
        for item in self._all:
            item.progressed(candidate, data)

    def evaluated(self, trial: Trial, usage: Usage) -> None:
        """A candidate is finished."""
        for item in self._all:
            item.evaluated(trial, usage)

    def iteration_finished(self, number: int, best: Trial | None) -> None:
        """A round ends."""
        for item in self._all:
            item.iteration_finished(number, best)

    def racing(self, rivals: Sequence[Trial], seeds: int) -> None:
        """Candidates that cannot be told from the best are trained on more seeds."""
        for item in self._all:
            item.racing(rivals, seeds)

    def retraining(self, entrants: Sequence[Entrant], seeds: int) -> None:
        """The winner, or what it is compared with, is trained once more, for the result."""
        for item in self._all:
            item.retraining(entrants, seeds)

    def finished(self, result: Result) -> None:
        """The run came to its end."""
        for item in self._all:
            item.finished(result)
