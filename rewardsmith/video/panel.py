"""Draw over a frame what cannot be seen in it: episode, success, goal, and what the reward says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MOST_COMPONENTS = 12
ONE_COLUMN = 6
"""Components that are listed in one column; more take two."""
INK, PALE, FAINT, PAPER = (240, 242, 245), (196, 201, 209), (150, 156, 166), (24, 27, 33)
GREEN, RED = (94, 201, 130), (238, 124, 108)


@dataclass(frozen=True)
class Moment:
    """What is said of one frame.

    Attributes:
        episode: number, from 1.
        step: of the episode, 0 right after the reset.
        solved: whether the task's success signal is on; None if the task has none.
        distance: between achieved and desired goal; None without goals.
        own_return: sum of the candidate's reward so far.
        components: of the reward at this step.
    """

    episode: int
    step: int
    solved: bool | None
    distance: float | None
    own_return: float
    components: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """Turns frames and moments into pictures of one size.

    Attributes:
        width: of the picture, pixels.
        names: of the reward's components.
        limit: largest magnitude of any component; the length of a full bar.
        title: what is shown, e.g. ``1/5 on FetchReach-v3``.
        episodes: how many there are.
        steps: most steps of an episode, 0 if that is unknown.
        unit: of the distance.
        speed: how many steps one frame stands for.
    """

    width: int
    names: tuple[str, ...]
    limit: float
    title: str
    episodes: int
    steps: int
    unit: str = ""
    speed: int = 1

    def draw(self, frame: np.ndarray, moment: Moment) -> np.ndarray:
        """One picture: the frame with a band over it and the components below.

        Args:
            frame: (H, W, 3) of bytes.
            moment: what is said of it.

        Returns:
            (height, width, 3) of bytes, both even, as encoders want them.
        """
        height = _even(frame.shape[0] * self.width / frame.shape[1])
        picture = Image.new("RGB", (self.width, height + self._strip), PAPER)
        scene = Image.fromarray(frame)
        if scene.size != (self.width, height):
            scene = scene.resize((self.width, height), Image.Resampling.LANCZOS)
        picture.paste(scene, (0, 0))
        self._band(picture, moment)
        self._components(ImageDraw.Draw(picture), height, moment)
        return np.asarray(picture)

    @property
    def _size(self) -> int:
        return max(11, round(self.width / 34))

    @property
    def _line(self) -> int:
        return round(1.35 * self._size)

    @property
    def _shown(self) -> tuple[str, ...]:
        return self.names[:MOST_COMPONENTS]

    @property
    def _rows(self) -> int:
        shown = len(self._shown)
        return shown if shown <= ONE_COLUMN else (shown + 1) // 2

    @property
    def _strip(self) -> int:
        """Height of what is below the frame."""
        return _even(self._line * (self._rows + 0.7))

    def _band(self, picture: Image.Image, moment: Moment) -> None:
        """Two lines over the top of the frame, on a veil."""
        line, margin = self._line, self._size // 2
        veil = Image.new("RGB", (self.width, 2 * line + margin), PAPER)
        over = picture.crop((0, 0, *veil.size))
        picture.paste(Image.blend(over, veil, 0.8), (0, 0))
        draw = ImageDraw.Draw(picture)
        of = f"/{self.steps}" if self.steps else ""
        left = f"episode {moment.episode}/{self.episodes}   step {moment.step}{of}"
        speed = f"   {self.speed}x" if self.speed > 1 else ""
        self._text(draw, (margin, margin // 2), left + speed, INK)
        right = self._fit(self.title, self.width - 3 * margin - _length(left + speed, self._size))
        self._text(draw, (self.width - margin, margin // 2), right, PALE, "ra")
        self._state(draw, line + margin // 2, moment)

    def _state(self, draw: ImageDraw.ImageDraw, top: int, moment: Moment) -> None:
        place, gap = self._size // 2, self._size
        if moment.solved is not None:
            text, ink = ("success: yes", GREEN) if moment.solved else ("success: no", RED)
            self._text(draw, (place, top), text, ink)
            place += _length("success: yes", self._size) + gap
        if moment.distance is not None:
            unit = f" {self.unit}" if self.unit else ""
            self._text(draw, (place, top), f"to the goal: {moment.distance:.3f}{unit}", INK)
        text = f"own return {moment.own_return:.2f}"
        self._text(draw, (self.width - self._size // 2, top), text, INK, "ra")

    def _components(self, draw: ImageDraw.ImageDraw, top: int, moment: Moment) -> None:
        columns = 1 if self._rows == len(self._shown) else 2
        width = self.width // columns
        for place, name in enumerate(self._shown):
            column, row = divmod(place, self._rows)
            y = top + round(self._line * (row + 0.3))
            value = moment.components[place] if moment.components else 0.0
            self._component(draw, column * width, y, width, name, value)

    def _component(
        self, draw: ImageDraw.ImageDraw, x: int, y: int, width: int, name: str, value: float
    ) -> None:
        """Name, a bar to the left (below zero) or right of its middle, and the number."""
        margin, size = self._size // 2, self._size
        number = _length("-88.888", size)
        named = round((width - number) * 0.46)
        self._text(draw, (x + margin, y), self._fit(name, named - margin), INK)
        first, last = x + named + margin, x + width - number - 2 * margin
        middle, half = (first + last) // 2, (last - first) // 2
        end = middle + round(half * float(np.clip(value / self.limit, -1.0, 1.0)))
        upper, lower = y + size // 5, y + size
        draw.rectangle((first, upper, last, lower), fill=(46, 51, 60))
        ink = GREEN if value >= 0 else RED
        draw.rectangle((min(middle, end), upper, max(middle, end), lower), fill=ink)
        draw.line((middle, upper - 1, middle, lower + 1), fill=FAINT)
        self._text(draw, (x + width - margin, y), _number(value), INK, "ra")

    def _fit(self, text: str, room: float) -> str:
        """Cut a text so that it fits."""
        if _length(text, self._size) <= room:
            return text
        while text and _length(text + "...", self._size) > room:
            text = text[:-1]
        return text + "..."

    def _text(
        self,
        draw: ImageDraw.ImageDraw,
        place: tuple[int, int],
        text: str,
        ink: tuple[int, int, int],
        anchor: str = "la",
    ) -> None:
        draw.text(place, text, ink, _font(self._size), anchor)


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _length(text: str, size: int) -> int:
    return round(_font(size).getlength(text))


def _number(value: float) -> str:
    """At most seven characters up to a million, e.g. ``-0.125``."""
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _even(length: float) -> int:
    return 2 * max(1, round(length / 2))
