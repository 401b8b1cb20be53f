"""What the tests of the reward process share: layouts, transitions, limits, one-line helpers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewardsmith.reward.failure import RewardFailure
from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import SandboxSettings
from rewardsmith.types import Field, RewardFunction, Rewards, TransitionLayout, Transitions
from tests.conftest import FETCH_COLUMNS

DATA = Path(__file__).parents[1] / "data"
LIMITS = SandboxSettings(
    allow_weaker=False, deadline_s=1.0, memory_mib=1024, cpu_s=600, batch_rows=4096
)

GOOD = """
def compute_reward(state, action, next_state):
    distance = np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    effort = -0.01 * np.sum(action**2, axis=-1)
    return effort - distance, {"reach": -distance, "effort": effort}
"""


def _layout(observation: int, slices: dict[str, tuple[int, int]]) -> TransitionLayout:
    """A layout of the Fetch kind: the goals behind the observation."""
    fields = [
        Field("observation", "observation", 0, observation),
        Field("achieved_goal", "achieved_goal", observation, observation + 3),
        Field("desired_goal", "desired_goal", observation + 3, observation + 6),
    ]
    fields += [Field(name, "observation", *columns) for name, columns in slices.items()]
    return TransitionLayout(tuple(fields), observation + 6, 4)


REACH = _layout(10, FETCH_COLUMNS[10])
OBJECT = _layout(25, FETCH_COLUMNS[25])
LAYOUTS = {"reach": REACH, "push": OBJECT, "slide": OBJECT, "pick_and_place": OBJECT}


def make_transitions(layout: TransitionLayout, rows: int = 200, seed: int = 0) -> Transitions:
    """Plausible transitions: fingers exactly 0, the goal reached in every tenth row."""
    columns = {item.name: slice(item.start, item.stop) for item in layout.fields}
    rng = np.random.default_rng(seed)
    states = []
    goal = rng.normal([1.3, 0.75, 0.5], 0.1, (rows, 3))
    for _ in range(2):
        state = rng.normal(0.0, 0.02, (rows, layout.state_width))
        state[:, columns["gripper_position"]] += [1.3, 0.75, 0.5]
        place = "object_position" if "object_position" in columns else "gripper_position"
        if place == "object_position":
            state[:, columns[place]] += [1.3, 0.75, 0.42]
            gap = state[:, columns[place]] - state[:, columns["gripper_position"]]
            state[:, columns["object_relative_position"]] = gap
        state[:, columns["finger_displacement"]] = 0.0
        state[:, columns["finger_velocity"]] = 0.0
        state[:, columns["achieved_goal"]] = state[:, columns[place]]
        state[:, columns["desired_goal"]] = goal
        states.append(state)
    states[1][::10, columns["achieved_goal"]] = goal[::10]
    action = rng.uniform(-1.0, 1.0, (rows, layout.action_width))
    return Transitions(states[0], action, states[1], np.zeros(rows, dtype=bool))


def evaluate(process: RewardProcess, transitions: Transitions) -> Rewards:
    return process.evaluate(transitions.state, transitions.action, transitions.next_state)


def body(*lines: str) -> str:
    """A reward function around a few lines; `total` and `parts` are theirs to set."""
    inner = "".join(f"    {line}\n" for line in lines)
    return (
        "def compute_reward(state, action, next_state):\n"
        '    total = -np.sum(action**2, axis=-1)\n    parts = {"a": total}\n'
        f"{inner}    return total, parts\n"
    )


def manifest(folder: str) -> list[dict[str, Any]]:
    return json.loads((DATA / folder / "manifest.json").read_text())


@pytest.fixture
def limits() -> SandboxSettings:
    return LIMITS


@pytest.fixture(scope="module")
def process() -> Iterator[RewardProcess]:
    """One process for tests that only load and evaluate; not for those that kill it."""
    with RewardProcess(OBJECT, LIMITS) as running:
        yield running


@pytest.fixture
def rejection(process: RewardProcess) -> Callable[[str], RewardFailure]:
    """Load a source that must be rejected; give the failure."""

    def load(source: str) -> RewardFailure:
        with pytest.raises(RewardFailure) as caught:
            process.load(RewardFunction(source))
        assert process._child.poll() is None, "the reward process died"
        return caught.value

    return load
