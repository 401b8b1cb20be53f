"""FetchPush with and without hindsight goals: how far eight rewards come, and how fast.

The eight rewards of ``rewards/push`` (one sparse, two that lead astray) are trained as one
population, as shipped for FetchPush, once with hindsight goals and once without, on the same number
of environment steps. ``best_success`` is the success of the best reward's policy on 50 further
episodes; ``steps`` and ``minutes`` are those of the first look (20 episodes) at which a reward's
policy had a success of at least 0.8, null if there was none.

Usage: ``python benchmarks/hindsight.py [--quick]`` (45 minutes; ``--quick`` takes a tenth of the
steps, 5 minutes, and writes nothing).
"""

from __future__ import annotations

import argparse
from typing import Any

from common import rewards, settings, write
from population import train

from rewardsmith.evaluation import TEST_SEEDS

SOLVED = 0.8
EPISODES = 50
LOOKS = 20


def push(hindsight: bool, steps: int | None) -> dict[str, Any]:
    """Train all rewards; give what became of them."""
    overrides = ["env=push", "sandbox.allow_weaker=true", "training.checkpoint_episodes=20"]
    if not hindsight:
        overrides.append("training.hindsight=0")
    if steps is not None:
        overrides += [f"training.total_timesteps={steps}"]
    chosen = settings(*overrides, f"training.checkpoints={LOOKS}")
    named = rewards("push")
    found: dict[str, Any] = {"steps": None, "minutes": None}
    curves: dict[str, list[float]] = {name: [] for name in named}

    def look(number: int, training: int, point: dict[str, Any], seconds: float) -> None:
        curves[list(named)[number]].append(point["success"])
        if point["success"] >= SOLVED and found["steps"] is None:
            found.update(steps=point["timesteps"], minutes=round(seconds / 60, 1))

    outcome = train(chosen, list(named.values()), EPISODES, look, first_seed=TEST_SEEDS)
    scores = {name: score for name, [score] in zip(named, outcome.scores, strict=True)}
    return {
        **found,
        "best_success": max(scores.values()),
        "scores": scores,
        "curves": curves,
        "total_timesteps": chosen.training.total_timesteps,
        "total_minutes": round(outcome.seconds / 60, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    steps = settings("env=push").training.total_timesteps // 10 if quick else None
    arms = {}
    for name, on in (("with", True), ("without", False)):
        arm = arms[name] = push(on, steps)
        print(
            f"{name} hindsight: best {arm['best_success']:.2f}, "
            f"{SOLVED} after {arm['steps']} steps and {arm['minutes']} minutes; "
            f"{arm['total_timesteps']:,} steps took {arm['total_minutes']} minutes"
        )
        for reward, score in arm["scores"].items():
            curve = " ".join(f"{value:.2f}" for value in arm["curves"][reward])
            print(f"  {reward:<10} {score:.2f}   looks: {curve}", flush=True)
    headline = {
        "best_success": arms["with"]["best_success"],
        "steps": arms["with"]["steps"],
        "minutes": arms["with"]["minutes"],
        "best_success_without": arms["without"]["best_success"],
        "steps_without": arms["without"]["steps"],
        "minutes_without": arms["without"]["minutes"],
    }
    for key, value in headline.items():
        print(f"{key}: {value}")
    if not quick:
        write("hindsight", headline, arms=arms)


if __name__ == "__main__":
    main()
