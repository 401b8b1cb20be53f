"""How a source is written: ``observation[0:3]``, ``info.x_position``, ``body.torso[2]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SOURCE = re.compile(r"(?P<raw>[A-Za-z_][\w.: -]*)(?:\[(?P<start>\d+)(?::(?P<stop>\d+))?\])?")
FORMS = "observation[0:3], desired_goal, info.KEY, qpos[0], qvel, body.NAME or site.NAME"


@dataclass(frozen=True)
class Source:
    """A slice of something that `rewardsmith.tasks.wrapper.read_source` reads.

    Examples:
        >>> Source.parse("observation[0:3]")
        Source(raw='observation', start=0, stop=3)
        >>> Source.parse("qpos[1]")
        Source(raw='qpos', start=1, stop=None)
        >>> Source.parse("info.x_position").columns(1)
        slice(0, 1, None)

    Attributes:
        raw: what is read.
        start: first number of it; None for all of them.
        stop: one past the last number; None for a single one.
    """

    raw: str
    start: int | None
    stop: int | None

    @classmethod
    def parse(cls, text: str) -> Source | None:
        """Take a source apart; None if it is none."""
        match = _SOURCE.fullmatch(text)
        if match is None:
            return None
        start, stop = (None if match[key] is None else int(match[key]) for key in ("start", "stop"))
        return cls(match["raw"], start, stop)

    @property
    def single(self) -> bool:
        """Whether it is written as one number."""
        return self.start is not None and self.stop is None

    def columns(self, width: int) -> slice | None:
        """Columns of the `width` numbers that are read; None if they reach too far."""
        first = self.start or 0
        last = width if self.start is None else first + 1 if self.stop is None else self.stop
        return slice(first, last) if first < last <= width else None
