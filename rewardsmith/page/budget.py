"""Keep the page small: what is least interesting is left out first, and the page says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

MOST_CHARACTERS = 2_800_000
"""Of the page's data, the video included; style and scripts take some 100,000 more."""
_PARTS = ("curves", "code", "diff", "reply", "prompt")


def fit(data: dict[str, Any], most: int = MOST_CHARACTERS) -> dict[str, Any]:
    """Leave out parts of candidates until the data are small enough.

    The best keeps everything, as far as there is room; of the others curves come first, then code,
    differences, replies and prompts, and within each kind the better candidate.

    Args:
        data: of a page; its candidates are changed.
        most: characters of JSON.
    """
    order = _by_interest(data)
    pairs = [(name, row) for row in order[:1] for name in _PARTS]
    pairs += [(name, row) for name in _PARTS for row in order[1:]]
    parts = [(name, row, row[name]) for name, row in pairs if row[name] is not None]
    for name, row, _ in parts:
        row[name] = None
    left = most - _size(data)
    data["left_out"] = 0
    for name, row, value in parts:
        size = _size(value)
        if size <= left:
            row[name], left = value, left - size
        else:
            row["left_out"].append(name)
            data["left_out"] += 1
    return data


def _by_interest(data: dict[str, Any]) -> Sequence[dict[str, Any]]:
    best = (data["best"], data["first_best"])

    def interest(row: dict[str, Any]) -> tuple[bool, bool, float]:
        fitness = row["fitness"] or {}
        return row["label"] in best, bool(fitness), fitness.get("mean") or 0.0

    return sorted(data["candidates"], key=interest, reverse=True)


def _size(value: Any) -> int:
    """Bytes that it takes in the page."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode("utf-8", errors="replace")) + 5 * text.count("<")
