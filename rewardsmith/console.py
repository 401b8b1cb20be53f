"""What a run says in the terminal, and keeps in ``log.txt``.

On a terminal the candidates of an iteration are shown side by side and updated in place; anywhere
else each event is one plain line.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console as RichConsole
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

import rewardsmith
from rewardsmith.headline import Entrant
from rewardsmith.llm.types import Provider, Usage
from rewardsmith.results import RunDirectory
from rewardsmith.search.alarms import find_alarms
from rewardsmith.search.screens import FAIR_SHARE
from rewardsmith.settings import ExperimentSettings, PopulationSettings, Settings
from rewardsmith.summary import Result, headline_rows, interval_text
from rewardsmith.types import Candidate, Fitness, Status, Trial

LABEL_WIDTH = 10
BAR_WIDTH = 20


class _Line:
    """What is known of one candidate of the current iteration."""

    def __init__(self) -> None:
        self.state = "asked for"
        self.steps = 0
        self.began: float | None = None
        self.first = 0
        self.rate = 0.0
        self.success: float | None = None
        self.own_return: float | None = None
        self.points: dict[int, list[dict[str, Any]]] = {}


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
        self._lines: dict[str, _Line] = {}
        self._title = ""
        self._cost = ""
        self._budget = 1
        self._seeds = self._trainings = 1
        self._measure = "success"

    # -- lines ----------------------------------------------------------------------------------

    def open_log(self, file: Path) -> None:
        """Keep every line in a file from now on."""
        self._log = file
        for text in self._early:
            self._write(text)
        self._early.clear()

    def say(self, text: str = "", style: str = "") -> None:
        """One line for the terminal and the log."""
        self.out.print(escape(text), style=style or None)
        self._write(text)

    def note(self, text: str) -> None:
        """One line for the log alone: a warning of another library."""
        if self._log is None:
            self._early.append(f"warning: {text}")
        else:
            self._write(f"warning: {text}")

    def _write(self, text: str) -> None:
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as stream:
                stream.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def error(self, text: str) -> None:
        """Why the run ends, in a sentence."""
        self.err.print(f"[bold red]rewardsmith:[/] {escape(text)}")
        self._write(f"error: {text}")

    def stopped(self) -> None:
        """The user pressed Ctrl-C."""
        if self._run is None:
            self.error("stopped; nothing had begun.")
        else:
            self.error(
                "stopped; what was finished is kept. Go on with "
                f"python gen.py experiment.resume={self._run.root}"
            )

    # -- the first lines --------------------------------------------------------------------------

    def header(
        self,
        settings: Settings,
        task: Any,
        provider: Provider,
        why: str,
        layers: tuple[str, ...],
        workers: int,
        run: RunDirectory,
        resumed: bool,
    ) -> None:
        """Say what will happen."""
        self._run = run
        experiment, training, env = settings.experiment, settings.training, settings.env
        self.say(f"rewardsmith {rewardsmith.__version__}", "bold")
        self._item("task", f"{env.id}: {env.description.strip()}")
        if env.start_state is not None and env.id.endswith("-v3"):
            self._item("", _start_state(env.start_state))
        self._item("fitness", _measure(task.fitness_kind, experiment.evaluation_episodes))
        self._item("provider", f"{provider.describe()} ({why})")
        self._item("search", _search(experiment))
        self._item("budget", _budget(training, experiment, workers))
        self._item("sandbox", _layers(layers, settings.sandbox.allow_weaker))
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
        self._begin(f"iteration {number} of {of}: asking for {_count(candidates, 'reward')}")
        self._trainings = self._seeds
        self._lines = {f"{number}/{index}": _Line() for index in range(candidates)}
        self._draw()

    def candidate_written(self, candidate: Candidate) -> None:
        """A reply was turned into a candidate, usable or not."""
        line = self._line(candidate)
        fault = candidate.fault
        if fault is None:
            line.state = "waiting"
            text = "accepted" + _doubt(candidate)
        else:
            line.state = fault.status.value
            text = f"{fault.status.value}: {fault.message}"
        attempt = f" (reply {candidate.attempts})" if candidate.attempts > 1 else ""
        self.say(f"  {candidate.label}{attempt} {text}")
        self._draw()

    def _line(self, candidate: Candidate) -> _Line:
        """What is known of a candidate; of an earlier iteration's, what came of a race."""
        return self._lines.setdefault(candidate.label, _Line())

    def progressed(self, candidate: Candidate, data: dict[str, Any]) -> None:
        """A training came further."""
        line = self._line(candidate)
        line.state = "training"
        point = data.get("checkpoint")
        self._advance(line, data["timesteps"], late=point is not None)
        if point:
            self._checkpoint(candidate, line, point)
        self._draw()

    @staticmethod
    def _advance(line: _Line, steps: int, late: bool) -> None:
        """Count steps; fewer than before are another training's, or those of a late look."""
        now = time.monotonic()
        if line.began is None or (steps < line.steps and not late):
            line.began, line.first, line.steps = now, steps, steps
        elif steps >= line.steps:
            line.steps = steps
            if now - line.began > 1.0:
                line.rate = (steps - line.first) / (now - line.began)

    def _checkpoint(self, candidate: Candidate, line: _Line, point: dict[str, Any]) -> None:
        """Take in one training's look; told when all trainings have had theirs, as the mean."""
        points = line.points.setdefault(point["timesteps"], [])
        points.append(point)
        if point["success"] is not None:
            line.success = sum(item["success"] for item in points) / len(points)
        line.own_return = sum(item["own_return"] for item in points) / len(points)
        if self._live is None and len(points) == self._trainings:
            text = self._progress_text(line, point["timesteps"])
            self.say(f"  {candidate.label} {text}")

    def _progress_text(self, line: _Line, steps: int) -> str:
        success = "" if line.success is None else f", success {line.success:.2f}"
        rate = f", {line.rate:.0f} steps/s" if line.rate else ""
        return f"{steps:,}/{self._budget:,} steps{rate}{success}, own return {line.own_return:.3g}"

    def evaluated(self, trial: Trial, usage: Usage) -> None:
        """A candidate is finished."""
        line = self._line(trial.candidate)
        evaluation = trial.evaluation
        line.state = evaluation.status.value
        self._cost = cost_text(usage)
        if evaluation.fitness is not None:
            line.success = evaluation.fitness.mean
            seconds = f"{evaluation.seconds:.0f} s"
            self.say(f"  {trial.candidate.label} {fitness_text(evaluation.fitness)}, {seconds}")
            for alarm in find_alarms(trial):
                name = alarm.name.replace("_", " ")
                self.say(f"  {trial.candidate.label} alarm, {name}: {alarm.message}", "yellow")
        elif trial.candidate.fault is None and evaluation.fault is not None:
            self.say(f"  {trial.candidate.label} {line.state}: {evaluation.fault.message}")
        self._draw()

    def iteration_finished(self, number: int, best: Trial | None) -> None:
        """A round ends."""
        if best is None or best.evaluation.fitness is None:
            self.say("  no reward could be trained yet")
        else:
            label = best.candidate.label
            self.say(f"  best so far: {label}, {fitness_text(best.evaluation.fitness)}")
        self.say()

    def racing(self, rivals: Sequence[Trial], seeds: int) -> None:
        """Candidates that cannot be told from the best are trained on more seeds."""
        labels = [trial.candidate.label for trial in rivals]
        self._begin(f"{_count(seeds, 'more seed')} each for {', '.join(labels)}: too close to tell")
        self._lines = {label: _Line() for label in labels}
        self._trainings = seeds
        self._draw()

    def retraining(self, entrants: Sequence[Entrant], seeds: int) -> None:
        """The winner, or what it is compared with, is trained once more, for the result."""
        names = [_entrant(item) for item in entrants]
        self._begin(f"from scratch on {_count(seeds, 'fresh seed')}: {', '.join(names)}")
        self._lines = {item.candidate.label: _Line() for item in entrants}
        self._trainings = seeds
        self._draw()

    def finished(self, result: Result) -> None:
        """Told by `result`, once the live display is gone."""

    def _begin(self, title: str) -> None:
        self._title = title
        self.say(title, "bold")

    def _draw(self) -> None:
        if self._live is None:
            return
        table = Table(title=self._title, title_justify="left", caption=self._cost or None)
        for name in ("candidate", "state", "progress", "steps/s", self._measure, "own return"):
            table.add_column(name, justify="left" if name in ("candidate", "state") else "right")
        for label, line in self._lines.items():
            share = min(1.0, line.steps / self._budget)
            table.add_row(
                label,
                line.state,
                _bar(share),
                f"{line.rate:.0f}" if line.rate else "",
                "" if line.success is None else f"{line.success:.2f}",
                "" if line.own_return is None else f"{line.own_return:.3g}",
            )
        self._live.update(table)

    # -- the end --------------------------------------------------------------------------------

    def result(self, result: Result, settings: Settings, task: Any, run: RunDirectory) -> None:
        """The final table, and where everything is."""
        table = Table(
            title="all candidates, on the episodes they were ranked by",
            title_justify="left",
            box=SIMPLE_HEAD,
        )
        table.add_column("candidate")
        table.add_column("outcome")
        table.add_column(f"{task.fitness_kind} [95 %]")
        table.add_column("steps", justify="right")
        table.add_column("seconds", justify="right")
        for trial in result.trials:
            evaluation = trial.evaluation
            best = trial is result.best
            table.add_row(
                trial.candidate.label + (" *" if best else ""),
                _outcome(trial),
                interval_text(evaluation.fitness) if evaluation.fitness else "–",
                f"{evaluation.timesteps:,}" if evaluation.timesteps else "–",
                f"{evaluation.seconds:.0f}" if evaluation.seconds else "–",
                style="bold" if best else None,
            )
        self.out.print(table)
        self._log_table(table)
        self._headline(result, settings, run)

    def _headline(self, result: Result, settings: Settings, run: RunDirectory) -> None:
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
            f"{_count(result.test.episodes, 'test episode')} that nothing was selected by.",
            "bold",
        )
        self._item("reward", str(run.best_reward))
        self._item("policy", str(run.best_model))
        self._say_report(run)
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
            title=f"from scratch on {_count(seeds, 'fresh seed')}, on test episodes",
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
                self.say(f"{_entrant(entrant)} failed: {entrant.evaluation.fault.message}")

    def _log_table(self, table: Table) -> None:
        plain = RichConsole(width=110, highlight=False, no_color=True, record=True, quiet=True)
        plain.print(table)
        for line in plain.export_text().splitlines():
            self._write(line)


def fitness_text(fitness: Fitness) -> str:
    """Fitness in words, e.g. ``success 0.96 [0.87, 0.99]``."""
    name = "success" if fitness.kind == "success" else "mean return"
    return f"{name} {interval_text(fitness)}"


def _entrant(entrant: Entrant) -> str:
    label = entrant.candidate.label
    return label if entrant.candidate.iteration else f"{label} reward"


def cost_text(usage: Usage) -> str:
    """What the provider cost."""
    dollars = "dollars unknown" if usage.usd is None else f"${usage.usd:.4f}"
    tokens = usage.prompt_tokens + usage.completion_tokens
    return f"{_count(usage.requests, 'request')}, {tokens:,} tokens, {dollars}"


def _bar(share: float) -> Text:
    done = round(BAR_WIDTH * share)
    rest = Text("━" * (BAR_WIDTH - done), style="bright_black")
    return Text("━" * done, style="green") + rest + Text(f" {share:4.0%}", style="default")


def _doubt(candidate: Candidate) -> str:
    """What the screens noted without stopping the reward."""
    found = candidate.preference
    if found is None or found.high >= FAIR_SHARE:
        return ""
    return f", although a success earns more than a failure in only {found.share:.0%} of pairs"


def _outcome(trial: Trial) -> str:
    fault = trial.evaluation.fault
    if fault is None:
        return "ok"
    if fault.status in (Status.DUPLICATE, Status.SCREENED):
        return fault.status.value
    return f"{fault.status.value} ({fault.reason})"


def _start_state(start_state: str) -> str:
    if start_state == "documented":
        return (
            "starts in the pose that its documentation promises; env.start_state=as_released "
            "gives v3 as it was, which could not reach most goals"
        )
    return "starts as v3 was released: far from most goals, which cannot be reached from there"


def _search(experiment: ExperimentSettings) -> str:
    text = (
        f"{_count(experiment.candidates, 'candidate')} × "
        f"{_count(experiment.iterations, 'iteration')} × {_count(experiment.seeds, 'seed')}"
    )
    if experiment.final_seeds:
        text += (
            f", then the best and the baselines on {_count(experiment.final_seeds, 'fresh seed')}"
        )
    return text


def _budget(training: Any, experiment: ExperimentSettings, workers: int) -> str:
    steps = f"{training.algorithm}, {training.total_timesteps:,} steps"
    together = experiment.candidates * experiment.seeds
    if isinstance(training, PopulationSettings):
        shared = "shared by" if training.share_experience else "for each of"
        return f"{steps} an iteration, {shared} {together} trainings at once; {workers} processes"
    return (
        f"{steps} per training, {together * experiment.iterations} trainings, {workers} at a time"
    )


def _measure(kind: str, episodes: int) -> str:
    what = (
        "the task's own success at the end of an episode"
        if kind == "success"
        else "the environment's own episode return (it reports no success; kept from the provider)"
    )
    return f"{what}, on {episodes} held-out episodes"


def _layers(layers: tuple[str, ...], weaker: bool) -> str:
    text = ", ".join(name.replace("_", " ") for name in layers)
    return text + (" (weaker protection was allowed)" if weaker else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
