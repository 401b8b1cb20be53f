"""The file that keeps the episodes of an iteration, and how each of them ended.

Rows are whole episodes, end to end. Next states are the states of the next row, but for each
episode's last. Rewards are not kept: each candidate has its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rewardsmith.types import Transitions

UNKNOWN = -1


@dataclass(frozen=True)
class StoredEpisode:
    """One episode that was played earlier.

    Attributes:
        transitions: in order.
        success: whether it ended in success; None if nobody knows: the task has no success flag,
            the episode was cut off, or an older version wrote the file.
    """

    transitions: Transitions
    success: bool | None


def outcome_code(success: bool | None) -> int:
    """How the file spells a success."""
    return UNKNOWN if success is None else int(success)


def read_episodes(file: Path) -> Iterator[StoredEpisode]:
    """Read the episodes that ``Replay.save`` kept, in their order."""
    with np.load(file) as data:
        state, last = data["state"], data["last"]
        action, terminated, lengths = data["action"], data["terminated"], data["lengths"]
        outcomes = data["success"] if "success" in data else np.full(len(lengths), UNKNOWN)
    for number, stop in enumerate(np.cumsum(lengths)):
        rows = slice(stop - lengths[number], stop)
        following = np.concatenate([state[rows.start + 1 : stop], last[number : number + 1]])
        transitions = _transitions(state[rows], action[rows], following, terminated[number])
        outcome = int(outcomes[number])
        yield StoredEpisode(transitions, None if outcome == UNKNOWN else bool(outcome))


def _transitions(
    state: NDArray[np.float32],
    action: NDArray[np.float32],
    following: NDArray[np.float32],
    terminated: bool,
) -> Transitions:
    ends = np.zeros(len(action), bool)
    ends[-1] = terminated
    before, actions, after = (part.astype(np.float64) for part in (state, action, following))
    return Transitions(before, actions, after, ends)
