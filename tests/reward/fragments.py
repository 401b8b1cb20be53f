"""Pieces of programs in and around the dialect, for `programs`: odd values and forbidden things."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
_STORED = json.loads((DATA / "fragments.json").read_text())

ARRAYS: tuple[str, ...] = tuple(_STORED["arrays"])
"""Arrays that a reward has."""
SCALARS: tuple[str, ...] = tuple(_STORED["scalars"])
"""Numbers, often odd ones."""
SHAPES: tuple[str, ...] = tuple(_STORED["shapes"])
"""Shapes and lengths, often huge ones."""
KINDS: tuple[str, ...] = tuple(_STORED["kinds"])
"""Names of types that a loop could go through."""
DTYPES: tuple[str, ...] = tuple(_STORED["dtypes"])
"""What could stand for a type."""
HELPERS: tuple[str, ...] = tuple(_STORED["helpers"])
"""Names for functions."""
FORBIDDEN: tuple[str, ...] = tuple(_STORED["forbidden"])
"""Expressions, most of which the dialect rejects."""
STATEMENTS: tuple[str, ...] = tuple(_STORED["statements"])
"""Statements, many of which it rejects."""
TOP: tuple[str, ...] = tuple(_STORED["top"])
"""What could stand at the top level."""
HOSTILE: tuple[str, ...] = tuple(_STORED["hostile"])
"""Statements for a process without a dialect, with the names of `attacks.PRELUDE`."""
CHARACTERS: tuple[str, ...] = tuple(_STORED["characters"])
"""What could be put anywhere in a text."""
LINES: tuple[str, ...] = tuple(_STORED["lines"])
"""Lines that could be put anywhere."""


@cache
def seeds() -> tuple[str, ...]:
    """Every stored snippet, hostile and sincere."""
    files = sorted([*(DATA / "corpus").glob("*.txt"), *(DATA / "sincere").glob("*.txt")])
    return tuple(file.read_text() for file in files)


def indented(text: str) -> str:
    """A block of a function."""
    return "".join(f"    {line}\n" for line in text.split("\n"))
