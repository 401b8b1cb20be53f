"""How well the screens before training know what a training would show.

Some forty FetchReach rewards (the fixed ones, one recorded reply, twelve of the built-in designer, and variants of a
few of them that differ a little, in scale, or by a monotone map) are trained in one population, in two runs of two
trainings each. A reward's outcome is its success at the end and its mean success over the looks, which says how
early it came.

- Duplicates: for every pair, Spearman's and Pearson's correlation of the two rewards on stored transitions, their
  ratio of scales, and the difference of their outcomes. What the same reward differs by is known from its other
  trainings: pairs that are flagged should differ by no more.
- Preference: the share of (successful, failed) episode pairs of the other run's store that a reward orders rightly,
  against its success.

Usage: ``python benchmarks/screens.py [--quick]`` (10 minutes on two idle cores; ``--quick`` does one run of one
training each and writes nothing).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import FOLDER, rewards, settings
from population import train

from rewardsmith.llm.builtin import BuiltinDesigner
from rewardsmith.reward.extract import extract_code
from rewardsmith.search.base import NoOptions
from rewardsmith.search.greedy import Greedy
from rewardsmith.tasks.task import RandomPlay, Task, build_task, play_randomly

STEPS = 5_000
LOOKS = 10
EPISODES = 20
DESIGNED = 12
DISTANCE = 'd = np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)'
EFFORT = "np.mean(np.square(action), axis=-1)"
VARIANTS = {
    "linear": "-d",
    "linear_2_plus_3": "3.0 - 2.0 * d",
    "linear_10": "-10.0 * d",
    "linear_100": "-100.0 * d",
    "linear_1000": "-1000.0 * d",
    "linear_hundredth": "-0.01 * d",
    "exp_1": "np.exp(-d)",
    "exp_10": "np.exp(-10.0 * d)",
    "exp_12": "np.exp(-12.0 * d)",
    "exp_30": "np.exp(-30.0 * d)",
    "tanh_10": "1.0 - np.tanh(10.0 * d)",
    "squared": "-np.square(d)",
    "root": "-np.sqrt(d)",
    "linear_effort_0001": f"-d - 0.001 * {EFFORT}",
    "linear_effort_001": f"-d - 0.01 * {EFFORT}",
    "linear_effort_01": f"-d - 0.1 * {EFFORT}",
    "linear_bonus": "-d + np.where(d < 0.05, 0.1, 0.0)",
    "sparse_one": "np.where(d < 0.05, 1.0, 0.0)",
    "sparse_ten": "np.where(d < 0.05, 10.0, 0.0)",
    "sparse_3_cm": "np.where(d < 0.03, 0.0, -1.0)",
    "sparse_10_cm": "np.where(d < 0.10, 0.0, -1.0)",
    "away": "d",
}


@dataclass(frozen=True)
class Outcome:
    """How one training of a reward did.

    Attributes:
        success: on the last episodes.
        early: mean success over the looks.
    """

    success: float
    early: float


def sources(task: Task, play: RandomPlay) -> dict[str, str]:
    """The rewards, by name."""
    reply = FOLDER.parent / "tests" / "data" / "replies" / "reach" / "good_0.md"
    known = {**rewards("reach"), "reply_0": extract_code(reply.read_text()) or ""}
    for name, expression in VARIANTS.items():
        body = f"    {DISTANCE}\n    value = {expression}\n    return value, {{'value': value}}\n"
        known[name] = f"def compute_reward(state, action, next_state):\n{body}"
    chosen = settings(f"experiment.candidates={DESIGNED}")
    designer = BuiltinDesigner(chosen.llm, {})
    for number, request in enumerate(Greedy(NoOptions(), chosen, task, play).ask(1)):
        known[f"designed_{number}"] = extract_code(designer.complete(request).text) or ""  # type: ignore[arg-type]
    return known


def outcomes(seed: int, named: dict[str, str], trainings: int, kept: Path) -> list[list[Outcome]]:
    """Train all rewards once; one list of trainings for each of them."""
    chosen = settings(
        "sandbox.allow_weaker=true",
        f"experiment.seed={seed}",
        f"training.total_timesteps={STEPS}",
        f"training.checkpoints={LOOKS}",
        "training.checkpoint_episodes=4",
    )
    looks: dict[tuple[int, int], list[float]] = {}

    def look(number: int, training: int, point: dict[str, Any], seconds: float) -> None:
        looks.setdefault((number, training), []).append(point["success"])

    trained = train(
        chosen, list(named.values()), EPISODES, look, trainings=trainings, experience=str(kept)
    )
    return [
        [
            Outcome(score, float(np.mean(looks[number, training])))
            for training, score in enumerate(scores)
        ]
        for number, scores in enumerate(trained.scores)
    ]
