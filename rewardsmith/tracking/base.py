"""What all trackers have in common: what is told, and that no tracker can fail a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from rewardsmith import config as configuration
from rewardsmith.headline import Entrant
from rewardsmith.llm.keys import find_secrets, scrub
from rewardsmith.llm.types import Usage
from rewardsmith.loop import Listener
from rewardsmith.results import RunDirectory
from rewardsmith.settings import Settings, TrackingSettings
from rewardsmith.summary import Result, headline_rows
from rewardsmith.tracking.curves import SuccessCurves
from rewardsmith.tracking.tensorboard import HParams
from rewardsmith.types import Candidate, Fitness, Trial
from rewardsmith.words import cost_text

COLUMNS = ("name", "fitness", "iqm", "normalised", "better", "scores")
"""Of the headline table, see `rewardsmith.summary.headline_rows`."""


class Sink(Protocol):
    """Where a tracker writes to; built with the settings, the run and the environment.

    Any method may fail: the run goes on without the tracker.
    """

    name: str

    def curve(self, timesteps: int, values: Mapping[str, float]) -> None:
        """Numbers over environment steps."""

    def progress(self, iteration: int, values: Mapping[str, float]) -> None:
        """Numbers over iterations."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table of text."""

    def code(self, name: str, source: str) -> None:
        """A piece of Python."""

    def result(self, values: Mapping[str, Any]) -> None:
        """What a run came to."""

    def video(self, name: str, file: Path) -> None:
        """An MP4 file."""

    def close(self) -> None:
        """Write everything out."""


def check_tracking(settings: TrackingSettings, environment: Mapping[str, str]) -> None:
    """See that what was chosen can be used, before anything is spent.

    Raises:
        ConfigurationError: its package or its key is missing.
    """
    if settings.target is not None:
        configuration.find_class(settings.target).check(settings, environment)


@contextmanager
def trackers(
    settings: Settings,
    run: RunDirectory,
    environment: Mapping[str, str],
    say: Callable[[str], None],
) -> Iterator[list[Listener]]:
    """The listeners of a run: TensorBoard's table, and the tracker that was chosen.

    Args:
        settings: of the run.
        run: its files.
        environment: with keys.
        say: tells the user a line.
    """
    chosen = []
    if settings.tracking.target is not None:
        kind = configuration.find_class(settings.tracking.target)
        secrets = find_secrets(environment)
        seeds = settings.experiment.seeds
        start = partial(kind, settings, run, environment)
        chosen.append(Tracker(start, kind.name, seeds, say, secrets))
    try:
        yield [HParams(run, settings, say), *chosen]
    finally:
        for tracker in chosen:
            tracker.close(run.best_video)


class Tracker:
    """Implements `rewardsmith.loop.Listener`; the first failure silences it, in one line."""

    def __init__(
        self,
        start: Callable[[], Sink],
        name: str,
        trainings: int,
        say: Callable[[str], None],
        secrets: frozenset[str] = frozenset(),
    ) -> None:
        """Begin.

        Args:
            start: makes the sink.
            name: of the sink.
            trainings: of each candidate.
            say: tells the user a line.
            secrets: what that line must not hold.
        """
        self._name, self._say, self._secrets = name, say, secrets
        self._curves = SuccessCurves(trainings)
        self._searching = False
        self._fitness: dict[str, float] = {}
        self._usage = Usage()
        self._sink: Sink | None = None
        try:
            self._sink = start()
        except Exception as error:
            self._stop(error)

    def _do(self, act: Callable[[Sink], None]) -> None:
        """Tell the sink, unless it has failed before."""
        if self._sink is None:
            return
        try:
            act(self._sink)
        except Exception as error:  # a tracker is never worth a run
            self._sink = None
            self._stop(error)

    def _stop(self, error: Exception) -> None:
        text = scrub(f"{type(error).__name__}: {error}", self._secrets).splitlines()[0]
        self._say(f"tracking with {self._name} has stopped ({text}); the run goes on")

    def iteration_started(self, number: int, of: int, candidates: int) -> None:
        """A round begins."""
        self._searching, self._fitness = True, {}

    def candidate_written(self, candidate: Candidate) -> None:
        """A reply was turned into a candidate, usable or not."""

    def progressed(self, candidate: Candidate, data: dict[str, Any]) -> None:
        """A training came further."""
        point = data.get("checkpoint")
        if point is not None and self._searching:
            look = self._curves.add(candidate.label, point)
            if look is not None:
                self._do(lambda sink: sink.curve(*look))

    def evaluated(self, trial: Trial, usage: Usage) -> None:
        """A candidate is finished, be it in an earlier part of the run."""
        self._usage = usage
        label, evaluation = trial.candidate.label, trial.evaluation
        if evaluation.fitness is not None:
            self._fitness[label] = evaluation.fitness.mean
        for look in self._curves.rest(label, evaluation):
            self._do(lambda sink, look=look: sink.curve(*look))  # type: ignore[misc]

    def iteration_finished(self, number: int, best: Trial | None) -> None:
        """A round ends."""
        values = self._round(number, best)
        self._do(lambda sink: sink.progress(number, values))

    def _round(self, number: int, best: Trial | None) -> dict[str, float]:
        usage = self._usage
        tokens = usage.prompt_tokens + usage.completion_tokens
        values = {"cost/requests": float(usage.requests), "cost/tokens": float(tokens)}
        if usage.usd is not None:
            values["cost/usd"] = usage.usd
        for label, mean in self._fitness.items():
            iteration, _, index = label.partition("/")
            if iteration == str(number):  # not those of before that have raced once more
                values[f"fitness/{index}"] = mean
        if best is not None and best.evaluation.fitness is not None:
            values |= _interval("best", best.evaluation.fitness)
        return values

    def racing(self, rivals: Sequence[Trial], seeds: int) -> None:
        """Candidates are trained on more seeds: no part of their curves."""
        self._searching = False

    def retraining(self, entrants: Sequence[Entrant], seeds: int) -> None:
        """The winner, or what it is compared with, is trained once more, for the result."""
        self._searching = False

    def finished(self, result: Result) -> None:
        """The run came to its end."""
        self._do(lambda sink: self._result(sink, result))

    def _result(self, sink: Sink, result: Result) -> None:
        values: dict[str, Any] = {"seconds": result.seconds, "cost": cost_text(result.usage)}
        if result.best is not None:
            values["winner"] = result.best.candidate.label
            assert result.best.candidate.reward is not None
            sink.code("winner", result.best.candidate.reward.source)
        if result.test is not None:
            values |= _interval("test", result.test)
            rows = headline_rows(result.entrants, result.test.kind)
            if rows:
                sink.table("headline", COLUMNS, [[row[key] for key in COLUMNS] for row in rows])
        if result.stopped is not None:
            values["stopped"] = scrub(str(result.stopped), self._secrets)
        sink.result(values)

    def close(self, video: Path) -> None:
        """Take the video along if there is one, and write everything out."""
        if video.is_file():
            self._do(lambda sink: sink.video("winner", video))
        self._do(lambda sink: sink.close())


def _interval(name: str, fitness: Fitness) -> dict[str, float]:
    return {f"{name}/{part}": getattr(fitness, part) for part in ("mean", "low", "high")}
