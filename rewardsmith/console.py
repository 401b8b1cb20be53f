"""What a run says in the terminal, and keeps in ``log.txt``.

A default run fits on a screen: each round is told in a few lines, and the log has all of them. On a
terminal the candidates of a round are shown side by side meanwhile, and updated in place.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console as RichConsole
from rich.live import Live
from rich.markup import escape
from rich.table import Table

import rewardsmith
from rewardsmith.errors import RewardsmithError, StorageError
from rewardsmith.execution import Executor
from rewardsmith.headline import Entrant
from rewardsmith.llm.types import Provider, Usage
from rewardsmith.progress import Line, progress_table, summary_text
from rewardsmith.results import RunDirectory
from rewardsmith.search.alarms import find_alarms
from rewardsmith.search.base import rank
from rewardsmith.settings import Settings
from rewardsmith.summary import Result, headline_rows, interval_text
from rewardsmith.types import Candidate, Trial
from rewardsmith.words import (
    alarms_text,
    budget_text,
    cost_text,
    count,
    doubt_text,
    entrant_text,
    fitness_text,
    labels_text,
    layers_text,
    measure_text,
    outcome_text,
    round_text,
    search_text,
    start_state_text,
)

LABEL_WIDTH = 10
SILENCE_S = 60.0
"""Without a terminal, how long nothing is said of a training."""
SILENCE_SHARE = 0.1
"""The same, as a share of the time that a long run has taken so far."""
REASONS = 4
"""Most sentences on why nothing could be trained."""
SHOWN = 5
"""Most candidates in the final table; the log has all of them."""


class Console:
    """Implements `rewardsmith.loop.Listener` on a terminal."""

    def __init__(self) -> None:
        """Use standard output, and standard error for errors."""
        self.out = RichConsole(highlight=False, soft_wrap=True)
        self.err = RichConsole(stderr=True, highlight=False, soft_wrap=True)
        self._log: Path | None = None
        self._early: list[str] = []
        self._run: RunDirectory | None = None
        self._live: Live | None = None
        self._lines: dict[str, Line] = {}
        self._trials: dict[str, Trial] = {}
        self._started = self._told = time.monotonic()
        self._title = ""
        self._cost = ""
        self._budget = 1
        self._seeds = self._trainings = 1
        self._measure = "success"

    @property
    def run(self) -> RunDirectory | None:
        """The run that is told of, None before there is one."""
        return self._run

    # -- lines ----------------------------------------------------------------------------------

    def open_log(self, file: Path) -> None:
        """Keep every line in a file from now on."""
        self._log = file
        for text in self._early:
            self._write(text)
        self._early.clear()

    def say(self, text: str = "", style: str = "") -> None:
        """One line for the terminal and the log."""
        self._told = time.monotonic()
        self.out.print(escape(text), style=style or None)
        self._write(text)

    def note(self, text: str) -> None:
        """One line for the log alone."""
        self._write(text)

    def warn(self, text: str) -> None:
        """A warning of another library, for the log alone."""
        if self._log is None:
            self._early.append(f"warning: {text}")
        else:
            self._write(f"warning: {text}")

    def _write(self, text: str) -> None:
        """Add to the log; where that cannot be written, what has to be written ends the run."""
        if self._log is not None:
            with suppress(OSError), self._log.open("a", encoding="utf-8") as stream:
                stream.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def error(self, text: str) -> None:
        """Why the run ends, in a sentence."""
        self.err.print(f"[bold red]rewardsmith:[/] {escape(text)}")
        self._write(f"error: {text}")

    def crashed(self, traceback: str) -> None:
        """What the run ends with is a mistake in a program, which is shown as it is."""
        self.err.print(escape(traceback.rstrip()), highlight=False)
        self._write(traceback.rstrip())

    def stopped(self) -> None:
        """The user pressed Ctrl-C."""
        if self._run is None:
            self.error("stopped; nothing had begun.")
        else:
            self.error(f"stopped; what was finished is kept. Go on with {self._resume()}")

    def failed(self, error: RewardsmithError) -> None:
        """The run has ended with an error: why, and how it goes on once that is mended."""
        text = str(error)
        if isinstance(error, StorageError) and self._run and self._run.config_file.is_file():
            text = f"{text} What was finished is kept: then go on with {self._resume()}"
        self.error(text)

    def _resume(self) -> str:
        assert self._run is not None
        return f"python gen.py experiment.resume={self._run.root}"

    # -- the first lines --------------------------------------------------------------------------

    def header(
        self,
        settings: Settings,
        task: Any,
        provider: Provider,
        why: str,
        layers: tuple[str, ...],
        executor: Executor,
        run: RunDirectory,
        resumed: bool,
    ) -> None:
        """Say what will happen."""
        self._run = run
        experiment, training, env = settings.experiment, settings.training, settings.env
        self.say(f"rewardsmith {rewardsmith.__version__}", "bold")
        self._item("task", f"{env.id}: {env.description.strip()}")
        if env.start_state is not None and env.id.endswith("-v3"):
            self._item("", start_state_text(env.start_state))
        self._item("fitness", measure_text(task.fitness_kind, experiment.evaluation_episodes))
        self._item("provider", f"{provider.describe()} ({why})")
        self._item("search", search_text(experiment))
        self._item("budget", budget_text(training, experiment, executor.workers))
        if executor.place:
            self._item("runs on", executor.place)
        self._item("sandbox", layers_text(layers, settings.sandbox.allow_weaker))
        self._item("results", f"{run.root}{' (resumed)' if resumed else ''}")
        self.say()

    def _item(self, label: str, text: str) -> None:
        width = max(60, min(self.out.width, 110) if self.out.is_terminal else 110)
        first, *rest = textwrap.wrap(text, width - LABEL_WIDTH) or [""]
        self.say(f"{label:<{LABEL_WIDTH}}{first}")
        for line in rest:
            self.say(f"{'':<{LABEL_WIDTH}}{line}")

    # -- live progress ----------------------------------------------------------------------------

    def watch(self, settings: Settings, task: Any) -> None:
        """Learn what progress is measured against."""
        self._budget = settings.training.total_timesteps
        self._seeds = settings.experiment.seeds
        self._measure = task.fitness_kind

    def __enter__(self) -> Console:
        """Begin the live display, where there is a terminal."""
        if self.out.is_terminal:
            self._live = Live(console=self.out, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End the live display."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def iteration_started(self, number: int, of: int, candidates: int) -> None:
        """A round begins."""
        self._trials = {}
        self._begin(f"iteration {number} of {of}: asking for {count(candidates, 'reward')}")
        self._trainings = self._seeds
        self._lines = {f"{number}/{index}": Line() for index in range(candidates)}
        self._draw()

    def candidate_written(self, candidate: Candidate) -> None:
        """A reply was turned into a candidate, usable or not."""
        line = self._line(candidate)
        fault = candidate.fault
        if fault is None:
            line.state = "waiting"
            text = "accepted" + doubt_text(candidate)
        else:
            line.state = fault.status.value
            text = f"{fault.status.value}: {fault.message}"
        attempt = f" (reply {candidate.attempts})" if candidate.attempts > 1 else ""
        self.note(f"  {candidate.label}{attempt} {text}")
        self._draw()

    def _line(self, candidate: Candidate) -> Line:
        """What is known of a candidate; of an earlier iteration's, what came of a race."""
        return self._lines.setdefault(candidate.label, Line())

    def progressed(self, candidate: Candidate, data: dict[str, Any]) -> None:
        """A training came further."""
        line = self._line(candidate)
        line.state = "training"
        point = data.get("checkpoint")
        line.advance(data["timesteps"], late=point is not None)
        if point and line.look(point) == self._trainings:
            self.note(f"  {candidate.label} {line.text(point['timesteps'], self._budget)}")
        if self._live is None and self._silent_for_long():
            self.say(f"  {summary_text(self._lines.values(), self._budget)}")
        self._draw()

    def _silent_for_long(self) -> bool:
        now = time.monotonic()
        return now - self._told > max(SILENCE_S, SILENCE_SHARE * (now - self._started))

    def evaluated(self, trial: Trial, usage: Usage) -> None:
        """A candidate is finished."""
        self._trials[trial.candidate.label] = trial
        line = self._line(trial.candidate)
        evaluation = trial.evaluation
        line.state = evaluation.status.value
        self._cost = cost_text(usage)
        if evaluation.fitness is not None:
            line.success = evaluation.fitness.mean
            seconds = f"{evaluation.seconds:.0f} s"
            self.note(f"  {trial.candidate.label} {fitness_text(evaluation.fitness)}, {seconds}")
            for alarm in find_alarms(trial):
                name = alarm.name.replace("_", " ")
                self.note(f"  {trial.candidate.label} alarm, {name}: {alarm.message}")
        elif trial.candidate.fault is None and evaluation.fault is not None:
            self.note(f"  {trial.candidate.label} {line.state}: {evaluation.fault.message}")
        self._draw()

    def iteration_finished(self, number: int, best: Trial | None) -> None:
        """A round ends: what came of it, in a few lines."""
        own = [item for item in self._trials.values() if item.candidate.iteration == number]
        self.say(f"  {round_text(own)}")
        alarms = alarms_text(own)
        if alarms:
            self.say(f"  alarms: {alarms}", "yellow")
        if best is None or best.evaluation.fitness is None:
            self.say("  no reward could be trained yet")
            for trial in own[:REASONS]:
                if trial.evaluation.fault is not None:
                    self.say(f"  {trial.candidate.label} {trial.evaluation.fault.message}")
        else:
            label = best.candidate.label
            self.say(f"  best so far: {label}, {fitness_text(best.evaluation.fitness)}")

    def racing(self, rivals: Sequence[Trial], seeds: int) -> None:
        """Candidates that cannot be told from the best are trained on more seeds."""
        labels = [trial.candidate.label for trial in rivals]
        self.say(f"  too close to tell: {labels_text(labels)} on {count(seeds, 'more seed')} each")
        self._again(labels, seeds)

    def retraining(self, entrants: Sequence[Entrant], seeds: int) -> None:
        """The winner, or what it is compared with, is trained once more, for the result."""
        names = [entrant_text(item) for item in entrants]
        self._begin(f"from scratch on {count(seeds, 'fresh seed')}: {', '.join(names)}")
        self._again([item.candidate.label for item in entrants], seeds)

    def _again(self, labels: Sequence[str], seeds: int) -> None:
        self._lines = {label: Line() for label in labels}
        self._trainings = seeds
        self._draw()

    def finished(self, result: Result) -> None:
        """Told by `result`, once the live display is gone."""

    def _begin(self, title: str) -> None:
        self._title = title
        self.say(title, "bold")

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(
                progress_table(self._lines, self._title, self._cost, self._measure, self._budget)
            )

    # -- the end --------------------------------------------------------------------------------

    def busy(self, text: str) -> AbstractContextManager[Any]:
        """Show on a terminal that something goes on."""
        return self.out.status(text)

    def result(
        self, result: Result, settings: Settings, task: Any, run: RunDirectory, video: str = ""
    ) -> None:
        """The final tables, and where everything is."""
        self.say()
        ranked = list(rank(result.trials))
        self._log_table(_candidates(result, result.trials, task.fitness_kind))
        if ranked:
            self.out.print(_candidates(result, ranked[:SHOWN], task.fitness_kind))
        self._headline(result, settings, run, video)

    def _headline(self, result: Result, settings: Settings, run: RunDirectory, video: str) -> None:
        spent = f"{result.timesteps:,} steps, {result.seconds / 60:.1f} minutes"
        if result.best is None or result.test is None:
            self.say("No reward was found: no candidate could be trained and evaluated.", "bold")
            self._item("spent", f"{spent}, {cost_text(result.usage)}")
            self._item("record", f"{run.root}: the replies and the reason each failed")
            self._say_report(run)
            return
        self._compare(result, settings)
        self.say(
            f"Best: {result.best.candidate.label}, {fitness_text(result.test)}, on "
            f"{count(result.test.episodes, 'test episode')} that nothing was selected by.",
            "bold",
        )
        self._item("reward", str(run.best_reward))
        self._item("policy", str(run.best_model))
        self._say_report(run)
        if video:
            self._item("video", video)
        self._item("curves", f"tensorboard --logdir {run.tensorboard}")
        self._item("spent", f"{spent}, {cost_text(result.usage)}")

    def _say_report(self, run: RunDirectory) -> None:
        if run.report_file.exists():
            self._item("report", str(run.report_file))

    def _compare(self, result: Result, settings: Settings) -> None:
        """The headline table."""
        if not result.entrants:
            return
        seeds = settings.experiment.final_seeds
        table = Table(
            title=f"from scratch on {count(seeds, 'fresh seed')}, on test episodes",
            title_justify="left",
            box=SIMPLE_HEAD,
        )
        table.add_column("reward")
        table.add_column(f"{self._measure} [95 %]")
        table.add_column("normalised", justify="right")
        table.add_column("winner is better")
        for item in headline_rows(result.entrants, self._measure):
            cells = [item[key] for key in ("name", "fitness", "normalised", "better")]
            table.add_row(*cells, style="bold" if item["is_winner"] else None)
        self.out.print(table)
        self._log_table(table)
        for entrant in result.entrants:
            if entrant.evaluation is not None and entrant.evaluation.fault is not None:
                self.say(f"{entrant_text(entrant)} failed: {entrant.evaluation.fault.message}")

    def _log_table(self, table: Table) -> None:
        plain = RichConsole(width=110, highlight=False, no_color=True, record=True, quiet=True)
        plain.print(table)
        for line in plain.export_text().splitlines():
            self._write(line)


def _candidates(result: Result, trials: Sequence[Trial], measure: str) -> Table:
    """Candidates with what they came to in the search."""
    whole = len(trials) == len(result.trials)
    which = "all candidates" if whole else f"the best {len(trials)} of {len(result.trials)}"
    table = Table(
        title=f"{which}, on the episodes they were ranked by",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for title in ("candidate", "outcome", f"{measure} [95 %]"):
        table.add_column(title)
    for title in ("steps", "seconds"):
        table.add_column(title, justify="right")
    for trial in trials:
        evaluation = trial.evaluation
        best = trial is result.best
        table.add_row(
            trial.candidate.label + (" *" if best else ""),
            outcome_text(trial),
            interval_text(evaluation.fitness) if evaluation.fitness else "–",
            f"{evaluation.timesteps:,}" if evaluation.timesteps else "–",
            f"{evaluation.seconds:.0f}" if evaluation.seconds else "–",
            style="bold" if best else None,
        )
    return table
