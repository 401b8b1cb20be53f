"""Try a reward function on recorded transitions before anything is trained with it."""

from __future__ import annotations

import numpy as np

from rewardsmith.reward.failure import RewardFailure
from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import SandboxSettings
from rewardsmith.types import (
    Fault,
    FloatArray,
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
        return probe_in(process, reward, transitions)


def probe_in(
    process: RewardProcess, reward: RewardFunction, transitions: Transitions
) -> Fault | None:
    """Do the same in a fresh process that is there already; what passes stays loaded in it."""
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
    expected = _values(rewards)
    if _values(_evaluate(process, transitions)).tobytes() != expected.tobytes():
        raise RewardFailure("impure")
    for row in np.linspace(0, len(transitions) - 1, ROWWISE_ROWS, dtype=np.intp):
        single = _values(_evaluate(process, transitions[row : row + 1]))[:, 0]
        tolerance = ROWWISE_TOLERANCE * np.maximum(1.0, np.abs(expected[:, row]))
        if (np.abs(single - expected[:, row]) > tolerance).any():
            raise RewardFailure("batch_dependent")


def _values(rewards: Rewards) -> FloatArray:
    """Reward and components, (1 + K, N)."""
    return np.vstack([rewards.total, rewards.components])


def _evaluate(process: RewardProcess, transitions: Transitions) -> Rewards:
    return process.evaluate(transitions.state, transitions.action, transitions.next_state)
