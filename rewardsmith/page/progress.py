"""What ``metrics.jsonl`` tells of a run that is still going on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rewardsmith.metrics import read_metrics
from rewardsmith.types import Checkpoint
from rewardsmith.words import labels_text

_CHECKPOINT = TypeAdapter(Checkpoint)


@dataclass
class Going:
    """What is known of a candidate.

    Attributes:
        state: ``asked for``, a fault's status, ``waiting``, ``training`` or what came out.
        fault: why it goes no further, None if it does.
        parents: labels.
        origin: who wrote it.
        attempts: replies so far.
        steps: environment steps trained so far.
        looks: by training, then by timesteps; of two on the same the later counts.
    """

    state: str = "asked for"
    fault: dict[str, Any] | None = None
    parents: list[str] = field(default_factory=list)
    origin: str = "provider"
    attempts: int = 1
    steps: int = 0
    looks: dict[int, dict[int, Checkpoint]] = field(default_factory=dict)

    @property
    def curves(self) -> list[list[Checkpoint]]:
        """The looks of each training, in order."""
        return [[points[step] for step in sorted(points)] for points in self.looks.values()]


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        number: of the iteration.
        of: so many.
        phase: what is being done, in words.
        first: time of the first event, seconds since 1970; None if there is none.
        last: of the last one.
        finished: the run came to its end, and was not taken up again.
        stopped: why the search ended early.
        usage: what the provider cost so far.
        best: label of the best so far, after each iteration: number → label.
        candidates: of the search, by label.
        finals: trained for the result, by label.
    """

    number: int = 0
    of: int = 0
    phase: str = ""
    first: float | None = None
    last: float | None = None
    finished: bool = False
    stopped: str | None = None
    usage: dict[str, Any] | None = None
    best: dict[int, str | None] = field(default_factory=dict)
    candidates: dict[str, Going] = field(default_factory=dict)
    finals: dict[str, Going] = field(default_factory=dict)
    _retraining: bool = False

    @classmethod
    def read(cls, text: str) -> Progress:
        """Read ``metrics.jsonl``; what is not understood is passed over."""
        progress = cls()
        progress.add(text.splitlines())
        return progress

    def add(self, lines: Iterable[str]) -> None:
        """Go on with lines that come after those before."""
        for event in read_metrics(lines):
            handler = _HANDLERS.get(event["event"])
            if isinstance(event.get("time"), (int, float)):
                self.first = self.first or event["time"]
                self.last = event["time"]
            if handler is not None:
                handler(self, event)

    def _iteration(self, event: dict[str, Any]) -> None:
        self.finished, self._retraining = False, False
        self.number, self.of = event.get("number", 0), event.get("of", 0)
        self.phase = "asking for rewards"
        self.finals = {}
        for index in range(event.get("candidates", 0)):
            self.candidates.setdefault(f"{self.number}/{index}", Going())

    def _written(self, event: dict[str, Any]) -> None:
        going = self._going(event)
        going.fault = event.get("fault")
        going.state = "waiting" if going.fault is None else str(going.fault.get("status"))
        going.parents = list(event.get("parents") or ())
        going.origin = event.get("origin", "provider")
        going.attempts = event.get("attempts", 1)

    def _progress(self, event: dict[str, Any]) -> None:
        self.phase = "retraining for the result" if self._retraining else "training"
        going = self._going(event)
        going.state = "training"
        going.steps = max(going.steps, event.get("timesteps") or 0)
        try:
            look = _CHECKPOINT.validate_python(event.get("checkpoint"))
        except ValidationError:
            return
        going.looks.setdefault(event.get("training") or 0, {})[look.timesteps] = look

    def _evaluated(self, event: dict[str, Any]) -> None:
        going = self._going(event)
        going.state, going.fault = str(event.get("status")), event.get("fault")
        self.usage = event.get("usage") or self.usage

    def _race(self, event: dict[str, Any]) -> None:
        labels, seeds = event.get("candidates", []), event.get("seeds", 0)
        self.phase = f"training {labels_text(labels)} on {seeds} more seeds: too close to tell"

    def _retrain(self, event: dict[str, Any]) -> None:
        self._retraining = True
        self.phase = "retraining for the result"
        for label in event.get("candidates", []):
            self.finals[label] = Going("waiting")

    def _best(self, event: dict[str, Any]) -> None:
        self.best[event.get("number", 0)] = event.get("candidate")

    def _finished(self, event: dict[str, Any]) -> None:
        self.finished, self.stopped = True, event.get("stopped")
        self.phase = ""

    def _going(self, event: dict[str, Any]) -> Going:
        label = str(event.get("candidate"))
        known = self.finals if self._retraining else self.candidates
        return known.setdefault(label, Going())


def labels(going: Iterable[str]) -> list[tuple[int, int]]:
    """Iteration and index of the labels that have both, in order."""
    pairs = (label.split("/") for label in going)
    return sorted((int(p[0]), int(p[1])) for p in pairs if len(p) == 2 and all(map(str.isdigit, p)))


_HANDLERS: dict[str, Callable[[Progress, dict[str, Any]], None]] = {
    "iteration": Progress._iteration,
    "written": Progress._written,
    "progress": Progress._progress,
    "evaluated": Progress._evaluated,
    "race": Progress._race,
    "retraining": Progress._retrain,
    "best": Progress._best,
    "finished": Progress._finished,
}
