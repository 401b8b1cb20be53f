"""``rewardsmith play``: see a policy at work, in a window or as a video."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from rewardsmith import config as configuration
from rewardsmith.commands.shared import one_sentence
from rewardsmith.errors import ConfigurationError, ResultsError
from rewardsmith.llm.keys import without_secrets
from rewardsmith.results import RunDirectory
from rewardsmith.settings import FINAL_TRAININGS, Settings

if TYPE_CHECKING:
    from rewardsmith.video.recorder import Subject


def play(
    run: Annotated[Path, typer.Argument(help="folder of a run")],
    file: Annotated[
        Path | None, typer.Argument(help="with --record: an .mp4 or .gif that is not there yet")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="make a video, without a window")
    ] = False,
    candidate: Annotated[
        str | None, typer.Option(help="e.g. 2/1: iteration, then number; default: the winner")
    ] = None,
    seed_number: Annotated[
        int | None,
        typer.Option(min=0, help="which of the candidate's trainings; default: its best"),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="how many; default: as in a run")
    ] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="open models that can execute code (training=sb3)"),
    ] = False,
) -> None:
    """Watch the policy of a run: its winner's, or any candidate's."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    with one_sentence():
        _check_file(file, record)
        folder = RunDirectory.open(run, "RUN")
        settings = configuration.recorded(folder.config_file, folder.earlier_overrides())
        subject = _subject(folder, settings, candidate, seed_number, trust)
        count = episodes or settings.video.episodes or 1
        settings = settings.model_copy(
            update={"video": settings.video.model_copy(update={"episodes": count})}
        )
        _announce(console, settings, subject)
        environment = without_secrets(os.environ)
        if record:
            _record(console, folder, settings, subject, environment, file)
        else:
            _show(console, settings, subject, environment, count)


def _check_file(file: Path | None, record: bool) -> None:
    if file is None:
        return
    if not record:
        raise ConfigurationError(f"{file} would be written with --record only.")
    if file.suffix not in (".mp4", ".gif"):
        raise ConfigurationError(
            f"The video's name is {str(file)!r}, but must end in .mp4 or .gif."
        )
    if file.exists():
        raise ConfigurationError(f"{file} exists already; choose another name for the video.")


def _subject(
    run: RunDirectory,
    settings: Settings,
    label: str | None,
    training: int | None,
    trust: bool,
) -> Subject:
    """What is played: a candidate's reward, and the file of a policy that was trained with it."""
    from rewardsmith.video.recorder import Subject
    from rewardsmith.video.winner import best_training

    best = label is None and training is None
    label = label or _winner(run)
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", label)
    trial = run.read_trial(int(found[1]), int(found[2])) if found else None
    if trial is None or trial.candidate.reward is None:
        raise ResultsError(
            f"{run.root} has no candidate {label!r} with a reward; write ITERATION/NUMBER, "
            "as the run's table does."
        )
    if best:
        return Subject(trial.candidate, _existing(run.best_model), best_training(settings), trust)
    if training is None:
        training = trial.evaluation.best_training if trial.evaluation.scores else 0
    final = settings.final_training if training >= FINAL_TRAININGS else None
    model = _existing(run.model_file(trial.candidate, training))
    return Subject(trial.candidate, model, final or settings.training, trust)


def _winner(run: RunDirectory) -> str:
    """Label of the best candidate, of a run that goes on: so far.

    Raises:
        ResultsError: there is none.
    """
    from rewardsmith.metrics import read_metrics

    lines = run.metrics_file.read_text().splitlines() if run.metrics_file.exists() else []
    events = [event for event in read_metrics(lines) if event["event"] in ("best", "finished")]
    labels = [event.get("candidate", event.get("best")) for event in events]
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # it may not be finished
        labels.append(json.loads(run.summary_file.read_text())["best"]["candidate"])
    found = next((label for label in reversed(labels) if isinstance(label, str)), None)
    if found is None:
        raise ResultsError(f"{run.root} has no best reward yet; name one with --candidate.")
    return found


def _existing(model: Path) -> Path:
    if not model.is_file():
        raise ResultsError(f"There is no policy {model}; that training did not come to its end.")
    return model


def _announce(console: Console, settings: Settings, subject: Subject) -> None:
    module, colon, name = settings.env.id.rpartition(":")
    console.print(f"{subject.candidate.label} on {name}, policy {subject.model}")
    if colon and not module.startswith("rewardsmith."):
        console.print(f"The environment is made by your own module {module}, which is imported.")


def _record(
    console: Console,
    run: RunDirectory,
    settings: Settings,
    subject: Subject,
    environment: Mapping[str, str],
    file: Path | None,
) -> None:
    from rewardsmith.video.recorder import NO_FFMPEG, film

    target = file or run.new_video(subject.candidate.label)
    wants_mp4 = target.suffix == ".mp4"
    made = film(
        settings,
        subject,
        environment,
        run.video_log,
        mp4=target if wants_mp4 else None,
        gif=target.with_suffix(".gif"),
        always_gif=not wants_mp4,
    )
    for number, episode in enumerate(made.episodes, 1):
        console.print(_line(number, episode))
    console.print(f"video: {made.file}")
    if wants_mp4 and made.mp4 is None:
        console.print(f"{NO_FFMPEG}.")


def _show(
    console: Console,
    settings: Settings,
    subject: Subject,
    environment: Mapping[str, str],
    episodes: int,
) -> None:
    from rewardsmith.video.recorder import show

    numbers = itertools.count(1)
    show(
        settings,
        subject,
        environment,
        episodes,
        lambda episode: console.print(_line(next(numbers), episode)),
    )


def _line(number: int, episode: Mapping[str, Any]) -> str:
    solved = {True: "success, ", False: "no success, ", None: ""}[episode["success"]]
    steps = episode["length"]
    return (
        f"episode {number}: {solved}own return {episode['own_return']:.3f}, "
        f"{steps} step{'' if steps == 1 else 's'}"
    )
