"""Warnings that other libraries make of Python's `warnings`: not for the terminal.

What they say is for programmers: that an environment has a newer version, that an observation is
``float64``. Whoever wants to see it where it arises starts Python with ``-W default``.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@contextmanager
def kept_off(keep: Callable[[str], None] | None = None) -> Iterator[None]:
    """Keep warnings off the terminal, unless Python was told to show them.

    A filter alone would not do: Gymnasium puts its own before it when it is imported.

    Args:
        keep: told each in a line, once; None drops them.
    """
    if sys.warnoptions:
        yield
        return
    known: set[str] = set()

    def take(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: str | None = None,
    ) -> None:
        said = _COLOUR.sub("", " ".join(str(message).split()))
        text = f"{said} ({category.__name__}, {Path(filename).name}:{lineno})"
        if keep is not None and text not in known:
            keep(text)
        known.add(text)

    with warnings.catch_warnings():
        warnings.showwarning = take
        yield
