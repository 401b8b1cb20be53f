"""Have a policy filmed, or shown in a window, in worker processes; say in a sentence why not.

Graphics without a screen need a library of the system: EGL or OSMesa. MuJoCo looks for it when it
is imported, and a failed try can spoil the process, so each is tried in a fresh worker.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardsmith.errors import RenderingError, ResultsError
from rewardsmith.evaluation import VIDEO_SEEDS, held_out_seeds
from rewardsmith.execution import Job, LocalExecutor
from rewardsmith.settings import PopulationSettings, Settings, StableBaselines3Settings
from rewardsmith.types import Candidate

GL_BACKENDS = ("egl", "osmesa")
"""For ``MUJOCO_GL``, in the order in which they are tried."""
TIMEOUT_S = 900.0
NO_GL = (
    "Nothing can be rendered here: neither EGL nor OSMesa works. On Debian or Ubuntu, install "
    "libegl1 libgl1-mesa-dri libopengl0 (or libosmesa6)"
)
NO_FFMPEG = "For MP4 beside the GIF: pip install 'rewardsmith[video]'"
NO_DISPLAY = "There is no display for a window (DISPLAY is not set); use --record."
_WORKER = "rewardsmith.video.worker"


@dataclass(frozen=True)
class Subject:
    """What is played.

    Attributes:
        candidate: whose reward is shown beside the policy.
        model: file of the policy.
        training: that wrote the model.
        trusted: whether the model may be unpickled, which lets it execute anything.
    """

    candidate: Candidate
    model: Path
    training: PopulationSettings | StableBaselines3Settings
    trusted: bool = False

    @property
    def algorithm(self) -> str | None:
        """Class that loads the model; None where its weights can be read alone.

        Raises:
            ResultsError: the model cannot be read without trust in it.
        """
        if isinstance(self.training, PopulationSettings):
            return None
        if not self.trusted:
            raise ResultsError(
                f"{self.model} was trained with training=sb3 ({self.training.algorithm}): such a "
                "file holds Python pickles, and opening it executes what they say. If you know "
                "where the run comes from, add --trust."
            )
        return self.training.algorithm


@dataclass(frozen=True)
class Film:
    """What was filmed.

    Attributes:
        mp4: None where ffmpeg is missing.
        gif: None where none was asked for.
        caption: what it shows, with the number of successes.
        episodes: of each its ``seed``, ``success``, ``own_return`` and ``length``.
    """

    mp4: Path | None
    gif: Path | None
    caption: str
    episodes: tuple[dict[str, Any], ...]

    @property
    def file(self) -> Path:
        """The better one."""
        found = self.mp4 or self.gif
        assert found is not None
        return found


def film(
    settings: Settings,
    subject: Subject,
    environment: Mapping[str, str],
    log: Path,
    *,
    mp4: Path | None,
    gif: Path,
    always_gif: bool = True,
    curves: Path | None = None,
) -> Film:
    """Film episodes on seeds of their own.

    Args:
        settings: of the run.
        subject: what is played.
        environment: variables for the workers, without keys.
        log: file that takes what the workers print.
        mp4: where to; None for a GIF only.
        gif: where to.
        always_gif: False makes a GIF only where there is no MP4.
        curves: folder of TensorBoard that gets the GIF.

    Raises:
        RenderingError: it cannot be filmed; one sentence.
        ResultsError: the model cannot be read.
    """
    payload = {
        **_payload(settings, subject, settings.video.episodes),
        "video": settings.video.model_dump(),
        "label": subject.candidate.label,
        "mp4_file": None if mp4 is None else str(mp4),
        "gif_file": str(gif),
        "always_gif": always_gif,
        "curves": None if curves is None else str(curves),
    }
    value = _try_backends(payload, environment, log)
    mp4_made, gif_made = (
        None if value[key] is None else Path(value[key]) for key in ("mp4", "gif")
    )
    return Film(mp4_made, gif_made, value["caption"], tuple(value["episodes"]))


def _payload(settings: Settings, subject: Subject, episodes: int) -> dict[str, Any]:
    assert subject.candidate.reward is not None
    seeds = held_out_seeds(VIDEO_SEEDS, settings.experiment.seed, episodes)
    return {
        "env": settings.env.model_dump(),
        "sandbox": settings.sandbox.model_dump(),
        "source": subject.candidate.reward.source,
        "model_file": str(subject.model),
        "algorithm": subject.algorithm,
        "first_seed": seeds.start,
        "episodes": episodes,
    }


def _try_backends(
    payload: dict[str, Any], environment: Mapping[str, str], log: Path
) -> dict[str, Any]:
    """Film with the first graphics library that works."""
    chosen = environment.get("MUJOCO_GL", "")
    error = None
    seen: list[dict[str, Any]] = []
    for backend in sorted(GL_BACKENDS, key=lambda name: name != chosen):
        job = Job("video", f"{_WORKER}:record", payload, log, TIMEOUT_S)
        executor = LocalExecutor(1, _variables(environment, backend))
        outcome = executor.run([job], lambda name, data: seen.append(data))["video"]
        if outcome.error is None:
            return _accepted(outcome.value)
        error = outcome.error
        if seen:  # it did render: another library would not help
            break
    else:
        _check_graphics(payload, environment, log)
    raise RenderingError(f"{str(error).rstrip('.')}.")


def _variables(environment: Mapping[str, str], backend: str) -> dict[str, str]:
    kept = {key: value for key, value in environment.items() if key != "PYOPENGL_PLATFORM"}
    return {**kept, "MUJOCO_GL": backend}


def _accepted(value: dict[str, Any]) -> dict[str, Any]:
    if "refused" in value:
        raise RenderingError(value["refused"])
    return value


def _check_graphics(payload: dict[str, Any], environment: Mapping[str, str], log: Path) -> None:
    """Find out whether it was for want of OpenGL that there is no picture.

    Raises:
        RenderingError: it was.
    """
    job = Job("probe", f"{_WORKER}:probe", {"env": payload["env"]}, log, TIMEOUT_S)
    if LocalExecutor(1, _variables(environment, "disable")).run([job])["probe"].value:
        raise RenderingError(f"{NO_GL}; {log} has the details.")


def show(
    settings: Settings,
    subject: Subject,
    environment: Mapping[str, str],
    episodes: int,
    on_episode: Callable[[dict[str, Any]], None],
) -> None:
    """Play episodes in a window.

    Args:
        settings: of the run.
        subject: what is played.
        environment: variables for the worker, without keys.
        episodes: how many.
        on_episode: told of each its ``success``, ``own_return`` and ``length`` as it ends.

    Raises:
        RenderingError: there is no display, or nothing to show on it.
        ResultsError: the model cannot be read.
    """
    if sys.platform == "linux" and not (
        environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    ):
        raise RenderingError(NO_DISPLAY)
    payload = _payload(settings, subject, episodes)
    with tempfile.TemporaryDirectory() as folder:
        job = Job("play", f"{_WORKER}:show", payload, Path(folder) / "log.txt")
        executor = LocalExecutor(1, _variables(environment, "glfw"))
        outcome = executor.run([job], lambda name, data: on_episode(data))["play"]
    if outcome.error is not None:
        raise RenderingError(f"{str(outcome.error).rstrip('.')}.")
    _accepted(outcome.value)
