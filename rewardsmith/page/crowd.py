"""Which candidates of a very large run its page shows; all others are counted, by iteration.

A browser can hold thousands of rows, but nobody reads them, and each costs time to make, to send
and to draw. The folder of the run has everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rewardsmith.page.candidates import Entry
from rewardsmith.search.base import rank
from rewardsmith.types import Trial

MOST_SHOWN = 300
"""Candidates of a page."""
FAMILY_SHARE = 0.25
"""Of the page, that those may take which the best descends from."""
GOING_SHARE = 0.5
"""Of the page, that those may take which are on their way."""


def choose(found: Sequence[Entry], wanted: Iterable[str], most: int = MOST_SHOWN) -> list[Entry]:
    """Pick the candidates that are shown, in their order.

    Those that are wanted come first, with all that they descend from, then those on their way, then
    the best, then what failed last.

    Args:
        found: all candidates.
        wanted: labels of those that the page tells of elsewhere, the best first.
        most: candidates.
    """
    if len(found) <= most:
        return list(found)
    known = {item.candidate.label: item for item in found}
    going = [item.candidate.label for item in found if item.evaluation is None]
    trials = [Trial(item.candidate, item.evaluation) for item in found if item.evaluation]
    ranked = [trial.candidate.label for trial in rank(trials)]
    order = [
        *_family(known, wanted)[: int(FAMILY_SHARE * most)],
        *going[: int(GOING_SHARE * most)],
        *ranked,
        *reversed(known),
    ]
    chosen = set(list(dict.fromkeys(order))[:most])
    return [item for item in found if item.candidate.label in chosen]


def _family(known: dict[str, Entry], wanted: Iterable[str]) -> list[str]:
    """Some candidates and all that they descend from, the nearest first."""
    family: dict[str, None] = {}
    pending = [label for label in wanted if label in known]
    while pending:
        family.update(dict.fromkeys(pending))
        parents = [parent for label in pending for parent in known[label].candidate.parents]
        pending = [label for label in dict.fromkeys(parents) if label in known.keys() - family]
    return list(family)


def by_iteration(found: Sequence[Entry]) -> list[dict[str, Any]]:
    """What came of the candidates of each iteration: how many, of which kind, and the best one."""
    groups: dict[int, list[Entry]] = {}
    for item in found:
        groups.setdefault(item.candidate.iteration, []).append(item)
    return [_iteration(number, groups[number]) for number in sorted(groups)]


def _iteration(number: int, members: Sequence[Entry]) -> dict[str, Any]:
    trials = [Trial(item.candidate, item.evaluation) for item in members if item.evaluation]
    best = next(iter(rank(trials)), None)
    fitness = None if best is None else best.evaluation.fitness
    return {
        "number": number,
        "candidates": len(members),
        "trained": sum(trial.evaluation.fitness is not None for trial in trials),
        "failed": dict(
            Counter(item.evaluation.status.value for item in trials if item.evaluation.fault)
        ),
        "best": None if best is None else best.candidate.label,
        "fitness": None
        if fitness is None
        else {"mean": fitness.mean, "low": fitness.low, "high": fitness.high},
    }
