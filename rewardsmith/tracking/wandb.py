"""Weights & Biases: ``tracking=wandb``; offline as well, for ``wandb sync``."""

from __future__ import annotations

import html
import netrc
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rewardsmith.config import public
from rewardsmith.errors import ConfigurationError
from rewardsmith.results import RunDirectory
from rewardsmith.settings import Settings, TrackingSettings
from rewardsmith.tracking.identity import identity

KEY = "WANDB_API_KEY"
START_S = 30.0
END_S = 120.0


class WeightsAndBiases:
    """Implements `rewardsmith.tracking.base.Sink`.

    Its service is a process of its own; the key is handed to it as a setting and stands in no
    environment.
    """

    name = "Weights & Biases"

    @staticmethod
    def check(settings: TrackingSettings, environment: Mapping[str, str]) -> None:
        """See that the package and, online, a key are there.

        Raises:
            ConfigurationError: one is not.
        """
        if find_spec("wandb") is None:
            raise ConfigurationError(
                "tracking=wandb needs the package wandb: pip install 'rewardsmith[wandb]'."
            )
        if _mode(settings, environment) == "online" and not _has_key(environment):
            raise ConfigurationError(
                f"tracking=wandb needs a key: set {KEY} in the environment or in .env, run wandb "
                "login, or use tracking.mode=offline."
            )

    def __init__(
        self, settings: Settings, run: RunDirectory, environment: Mapping[str, str]
    ) -> None:
        """Begin a run there, or go on with the same one.

        Neither the command line nor the machine is told: overrides may hold headers.
        """
        self._wandb = wandb = import_module("wandb")
        folder = run.tracking_folder
        folder.mkdir(parents=True, exist_ok=True)
        number, name = identity(run)
        key = environment.get(KEY, "").strip() or None
        self._run = wandb.init(
            project=settings.tracking.project,
            id=number,
            name=name,
            resume="allow",
            dir=str(folder),
            config=public(settings),
            mode=_mode(settings.tracking, environment),
            settings=wandb.Settings(
                api_key=key,
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_meta=True,
                x_disable_stats=True,
                x_save_requirements=False,
                init_timeout=START_S,
                finish_timeout=END_S,
            ),
        )
        for group, axis in _AXES.items():
            self._run.define_metric(axis)
            self._run.define_metric(f"{group}/*", step_metric=axis)

    def curve(self, timesteps: int, values: Mapping[str, float]) -> None:
        """Numbers over environment steps."""
        self._run.log({"timesteps": timesteps, **values})

    def progress(self, iteration: int, values: Mapping[str, float]) -> None:
        """Numbers over iterations."""
        self._run.log({"iteration": iteration, **values})

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table of text."""
        data = [list(row) for row in rows]
        self._run.log({name: self._wandb.Table(columns=list(columns), data=data)})

    def code(self, name: str, source: str) -> None:
        """A piece of Python, as text on a page."""
        page = f"<pre>{html.escape(source)}</pre>"
        self._run.log({f"{name}/reward": self._wandb.Html(page, inject=False)})

    def result(self, values: Mapping[str, Any]) -> None:
        """What a run came to."""
        self._run.summary.update(dict(values))

    def video(self, name: str, file: Path) -> None:
        """An MP4 file."""
        self._run.log({f"{name}/video": self._wandb.Video(str(file), format="mp4")})

    def close(self) -> None:
        """Wait until everything is written, or sent."""
        self._run.finish()


_AXES = {
    "success": "timesteps",
    "own_return": "timesteps",
    "fitness": "iteration",
    "best": "iteration",
    "cost": "iteration",
}


def _mode(settings: TrackingSettings, environment: Mapping[str, str]) -> Any:
    return settings.mode or environment.get("WANDB_MODE", "").strip() or "online"


def _has_key(environment: Mapping[str, str]) -> bool:
    """Whether there is a key, or ``wandb login`` has left one."""
    if environment.get(KEY, "").strip():
        return True
    try:
        hosts = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    own = environment.get("WANDB_BASE_URL", "").rpartition("//")[2].split("/")[0]
    return any("wandb" in host or host == own.split(":")[0] for host in hosts)
