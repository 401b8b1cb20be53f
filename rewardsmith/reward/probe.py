"""Try a reward function on recorded transitions before anything is trained with it."""

from __future__ import annotations

import numpy as np

from rewardsmith.reward.failure import RewardFailure
from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import SandboxSettings
from rewardsmith.types import (
    Fault,
    RewardFunction,
    Rewards,
    Status,
    TransitionLayout,
    Transitions,
)

ROWWISE_ROWS = 16
ROWWISE_TOLERANCE = 1e-9
CONSTANT_TOLERANCE = 1e-12


def probe(
    reward: RewardFunction,
    layout: TransitionLayout,
    transitions: Transitions,
    limits: SandboxSettings,
) -> Fault | None:
    """Check a reward statically, then by calling it.

    Args:
        reward: the candidate's code.
        layout: of the task's transitions.
        transitions: real ones, recorded in random play.
        limits: of the reward process.

    Returns:
        None if it may be trained, else what is wrong with it.
    """
    with RewardProcess(layout, limits) as process:
        try:
            process.load(reward)
        except RewardFailure as failure:
            return failure.fault(Status.REJECTED)
        try:
            _call(process, transitions)
        except RewardFailure as failure:
            return failure.fault(Status.PROBE_FAILED)
    return None


def _call(process: RewardProcess, transitions: Transitions) -> None:
    rewards = _evaluate(process, transitions)
    if np.ptp(rewards.total) <= CONSTANT_TOLERANCE * max(1.0, np.abs(rewards.total).max()):
        raise RewardFailure("constant", total=len(transitions))
    again = _evaluate(process, transitions)
    if again.total.tobytes() != rewards.total.tobytes():
        raise RewardFailure("impure")
    for row in np.linspace(0, len(transitions) - 1, ROWWISE_ROWS, dtype=np.intp):
        single = _evaluate(process, transitions[row : row + 1]).total[0]
        expected = rewards.total[row]
        if abs(single - expected) > ROWWISE_TOLERANCE * max(1.0, abs(expected)):
            raise RewardFailure("batch_dependent")


def _evaluate(process: RewardProcess, transitions: Transitions) -> Rewards:
    return process.evaluate(transitions.state, transitions.action, transitions.next_state)
