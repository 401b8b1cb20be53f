"""How far the trainings of the current round are: what the live display shows."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from rich.table import Table
from rich.text import Text

BAR_WIDTH = 20
MOST_LINES = 20
"""Candidates in the live display; of more, the best are shown, so that it fits a screen."""


class Line:
    """What is known of one candidate of the current round."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.state = "asked for"
        self.steps = 0
        self.rate = 0.0
        self.success: float | None = None
        self.own_return: float | None = None
        self._began: float | None = None
        self._first = 0
        self._points: dict[int, list[dict[str, Any]]] = {}

    def advance(self, steps: int, late: bool) -> None:
        """Count steps; fewer than before are another training's, or those of a late look."""
        now = time.monotonic()
        if self._began is None or (steps < self.steps and not late):
            self._began, self._first, self.steps = now, steps, steps
        elif steps >= self.steps:
            self.steps = steps
            if now - self._began > 1.0:
                self.rate = (steps - self._first) / (now - self._began)

    def look(self, point: dict[str, Any]) -> int:
        """Take in one training's look, as the mean with those of other trainings.

        Returns:
            How many trainings have had this look.
        """
        points = self._points.setdefault(point["timesteps"], [])
        points.append(point)
        if point["success"] is not None:
            self.success = sum(item["success"] for item in points) / len(points)
        self.own_return = sum(item["own_return"] for item in points) / len(points)
        return len(points)

    def text(self, steps: int, budget: int) -> str:
        """The look at ``steps`` in words."""
        success = "" if self.success is None else f", success {self.success:.2f}"
        rate = f", {self.rate:.0f} steps/s" if self.rate else ""
        return f"{steps:,}/{budget:,} steps{rate}{success}, own return {self.own_return:.3g}"


def summary_text(lines: Iterable[Line], budget: int) -> str:
    """All trainings of a round in one line."""
    training = [line for line in lines if line.steps]
    if not training:
        return "nothing is trained yet"
    steps = max(line.steps for line in training)
    rate = max(line.rate for line in training)
    text = f"{steps:,}/{budget:,} steps" + (f", {rate:.0f} steps/s" if rate else "")
    seen = [line.success for line in training if line.success is not None]
    if not seen:
        return text
    return f"{text}, success {span(seen)}"


def span(values: list[float], digits: int = 2) -> str:
    """Smallest and largest of some numbers in words."""
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def progress_table(
    lines: dict[str, Line], title: str, caption: str, measure: str, budget: int
) -> Table:
    """The candidates of a round side by side.

    Args:
        lines: what is known of each, by label.
        title: of the round.
        caption: what has been spent.
        measure: name of the fitness.
        budget: steps of a training.
    """
    shown = list(lines.items())
    if len(shown) > MOST_LINES:
        shown = sorted(shown, key=lambda item: _interest(item[1]))[:MOST_LINES]
        caption = f"{MOST_LINES} of {len(lines)} candidates" + (f", {caption}" if caption else "")
    drawn = Table(title=title, title_justify="left", caption=caption or None)
    for name in ("candidate", "state", "progress", "steps/s", measure, "own return"):
        drawn.add_column(name, justify="left" if name in ("candidate", "state") else "right")
    for label, line in shown:
        drawn.add_row(
            label,
            line.state,
            _bar(min(1.0, line.steps / budget)),
            f"{line.rate:.0f}" if line.rate else "",
            "" if line.success is None else f"{line.success:.2f}",
            "" if line.own_return is None else f"{line.own_return:.3g}",
        )
    return drawn


def _interest(line: Line) -> tuple[bool, float]:
    """Sorts those first that train well, then others that train."""
    return not line.steps, -(line.success or 0.0)


def _bar(share: float) -> Text:
    done = round(BAR_WIDTH * share)
    rest = Text("━" * (BAR_WIDTH - done), style="bright_black")
    return Text("━" * done, style="green") + rest + Text(f" {share:4.0%}", style="default")
