"""trackio: ``tracking=trackio``, a local database with a dashboard (``trackio show``)."""

from __future__ import annotations

import contextlib
import io
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


class Trackio:
    """Implements `rewardsmith.tracking.base.Sink`; writes to ``TRACKIO_DIR``, or its own place.

    Whoever has set ``TRACKIO_SPACE_ID`` or ``TRACKIO_SERVER_URL`` has it sent there, by trackio.
    """

    name = "trackio"

    @staticmethod
    def check(settings: TrackingSettings, environment: Mapping[str, str]) -> None:
        """See that the package is there.

        Raises:
            ConfigurationError: it is not.
        """
        if find_spec("trackio") is None:
            raise ConfigurationError(
                "tracking=trackio needs the package trackio: pip install 'rewardsmith[trackio]'."
            )

    def __init__(
        self, settings: Settings, run: RunDirectory, environment: Mapping[str, str]
    ) -> None:
        """Begin a run there, or go on with the same one."""
        self._trackio = trackio = import_module("trackio")
        number, name = identity(run)
        with _silence():
            self._run = trackio.init(
                project=settings.tracking.project,
                name=f"{name}-{number[:6]}",
                config=public(settings),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def curve(self, timesteps: int, values: Mapping[str, float]) -> None:
        """Numbers over environment steps."""
        self._run.log(dict(values), step=timesteps)

    def progress(self, iteration: int, values: Mapping[str, float]) -> None:
        """Numbers over iterations."""
        self._run.log(dict(values), step=iteration)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table of text."""
        data = [dict(zip(columns, row, strict=True)) for row in rows]
        self._run.log({name: self._trackio.Table(data=data)})

    def code(self, name: str, source: str) -> None:
        """A piece of Python."""
        text = f"```python\n{source.strip()}\n```"
        self._run.log({f"{name}/reward": self._trackio.Markdown(text)})

    def result(self, values: Mapping[str, Any]) -> None:
        """What a run came to."""
        self._run.log({f"result/{key}": value for key, value in values.items()})

    def video(self, name: str, file: Path) -> None:
        """An MP4 file."""
        self._run.log({f"{name}/video": self._trackio.Video(str(file))})

    def close(self) -> None:
        """Wait until everything is written."""
        with _silence():
            self._trackio.finish()


def _silence() -> contextlib.redirect_stdout[io.StringIO]:
    """Its greetings are not for the user of another program."""
    return contextlib.redirect_stdout(io.StringIO())
