"""What a run may have spent, on disk before it is spent.

A line is added before each attempt with the most that it can cost, and one after it with what it
did cost. Attempts without the second line, as a killed run leaves them, count as they stand in the
first, so ``kill -9`` makes no room under ``llm.max_usd``.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from rewardsmith.errors import ResultsError
from rewardsmith.files import append_line, read_text, writing


class Ledger:
    """Lines of JSON that are only ever appended; not safe to use from several threads.

    Attributes:
        file: where they are.
    """

    def __init__(self, file: Path) -> None:
        """Point at a file, which need not be there."""
        self.file = file
        self._next = 0

    def open(self, earlier: float) -> float:
        """Read what is there, before anything is added.

        Args:
            earlier: dollars that the replies on record have cost. They begin a new ledger: runs of
                older versions have none.

        Returns:
            Dollars that the run has spent so far, at most.
        """
        counted = _read(read_text(self.file))
        self._next = max(counted, default=-1) + 1
        if not counted and earlier:
            self._append(attempt=self._next, paid=earlier)
            counted[self._next] = earlier
            self._next += 1
        return sum(counted.values())

    def ask(self, at_most: float) -> int:
        """Note an attempt before it is made.

        Returns:
            Its number.

        Raises:
            ResultsError: that cannot be written, so the attempt must not be made.
        """
        number, self._next = self._next, self._next + 1
        self._append(attempt=number, at_most=at_most)
        return number

    def pay(self, number: int, usd: float) -> None:
        """Note what an attempt has cost; if that cannot be written, it counts at its worst."""
        with contextlib.suppress(ResultsError):
            self._append(attempt=number, paid=usd)

    def _append(self, **entry: float) -> None:
        with writing(self.file):
            self.file.parent.mkdir(parents=True, exist_ok=True)
        append_line(self.file, json.dumps(entry), durable=True)


def _read(text: str) -> dict[int, float]:
    """Dollars by attempt: the last line of each counts, and what was cut off does not."""
    counted: dict[int, float] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            counted[int(entry["attempt"])] = float(entry.get("paid", entry.get("at_most")))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return counted
