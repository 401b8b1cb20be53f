"""The probe finds what only shows when a reward is called: state, mixed rows, no signal."""

from __future__ import annotations

import numpy as np
import pytest

from rewardsmith.reward import process as reward_process
from rewardsmith.reward.probe import probe
from rewardsmith.settings import SandboxSettings
from rewardsmith.types import RewardFunction, Status, Transitions
from tests.reward.attacks import BOOT, LAYOUT, PRELUDE
from tests.reward.conftest import GOOD, LIMITS, OBJECT, body, make_transitions

COUNTER = """
calls = [0]
def compute_reward(state, action, next_state):
    calls[0] += 1
    total = action[:, 0] + {change}
    return total, {{"a": total}}
"""
BATCH_DEPENDENT = {
    "mean": body("total = total - total.mean()", 'parts = {"a": total}'),
    "spread": body("total = total / (total.std() + 1.0)", 'parts = {"a": total}'),
    "rank": body("total = 1.0 * np.argsort(np.argsort(total))", 'parts = {"a": total}'),
    "length": body("total = total / len(action)", 'parts = {"a": total}'),
    "neighbour": body("total = total + np.roll(total, 1)", 'parts = {"a": total}'),
    "best": body("total = total - total.max()", 'parts = {"a": total}'),
}


def judge(source: str, limits: SandboxSettings = LIMITS) -> tuple[Status, str] | None:
    fault = probe(RewardFunction(source), OBJECT, make_transitions(OBJECT), limits)
    return (fault.status, fault.reason) if fault else None


def small_transitions(rows: int = 50) -> Transitions:
    rng = np.random.default_rng(0)
    state, action = rng.normal(size=(rows, 3)), rng.normal(size=(rows, 2))
    return Transitions(state, action, state + 0.1, np.zeros(rows, dtype=bool))


def test_good_reward_passes() -> None:
    assert judge(GOOD) is None


@pytest.mark.parametrize("name", BATCH_DEPENDENT)
def test_batch_dependence_is_found(name: str) -> None:
    found = judge(BATCH_DEPENDENT[name])
    assert found == (Status.PROBE_FAILED, "batch_dependent")


@pytest.mark.parametrize("change", ["calls[0]", "1e-9 * calls[0]"])
def test_impure_reward_is_found(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the dialect switched off: it does not let such code pass in the first place."""
    monkeypatch.setattr(reward_process, "_BOOT", BOOT % (PRELUDE, {}))
    source = COUNTER.format(change=change)
    fault = probe(RewardFunction(source), LAYOUT, small_transitions(), LIMITS)
    assert fault is not None
    assert (fault.status, fault.reason) == (Status.PROBE_FAILED, "impure")


def test_impure_component_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reward_process, "_BOOT", BOOT % (PRELUDE, {}))
    source = (
        "calls = [0]\ndef compute_reward(state, action, next_state):\n    calls[0] += 1\n"
        "    total, shift = action[:, 0] * 1.0, np.full(len(action), 1.0 * calls[0])\n"
        '    return total, {"a": total + shift, "b": -shift}\n'
    )
    fault = probe(RewardFunction(source), LAYOUT, small_transitions(), LIMITS)
    assert fault is not None
    assert fault.reason == "impure"


def test_constant_reward_is_found() -> None:
    assert judge(body("total = 0.0 * total", 'parts = {"a": total}')) == (
        Status.PROBE_FAILED,
        "constant",
    )


def test_rejection_is_told_from_a_failed_probe() -> None:
    assert judge(body("while True: pass")) == (Status.REJECTED, "while_loop")
    assert judge(body("total = total[:, None]")) == (Status.PROBE_FAILED, "reward_shape")


def test_hang_is_a_timeout() -> None:
    source = body(
        "many = list(range(90000))", "for i in many:", "    for j in many:", "        k = i"
    )
    fast = SandboxSettings(**{**dict(LIMITS), "deadline_s": 0.3})
    assert judge(source, fast) == (Status.TIMEOUT, "deadline")


def test_message_never_holds_numbers_of_the_code() -> None:
    fault = probe(
        RewardFunction(body("x = 12345.678 * total", "total = total + np.zeros(7)")),
        OBJECT,
        make_transitions(OBJECT),
        LIMITS,
    )
    assert fault is not None
    assert "12345" not in fault.message
    assert "200" not in fault.message  # shapes that numpy put into its own words
