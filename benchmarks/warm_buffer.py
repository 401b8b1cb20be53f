"""What earlier experience is worth, and whether it changes which reward wins.

A first population of eight FetchReach rewards leaves its transitions behind. The same eight
rewards are then trained again with another seed, once with these transitions and once without,
alike in everything else. Reported: the environment steps until a reward is solved (success of at
least 0.9 at a look, every 250 steps), and Kendall's tau between the final successes with and
without.

Usage: ``python benchmarks/warm_buffer.py [--quick]`` (5 minutes; ``--quick`` takes one seed,
2 minutes, and writes nothing).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import rewards, settings, write
from population import train
from scipy.stats import kendalltau

SOLVED = 0.9
STEPS = 5_000
EPISODES = 30
SEEDS = 3


def solve(seed: int, sources: list[str], **changes: Any) -> tuple[list[int | None], list[float]]:
    """Steps until each reward was solved (None: never), and its success at the end."""
    chosen = settings(
        "sandbox.allow_weaker=true",
        f"experiment.seed={seed}",
        f"training.total_timesteps={STEPS}",
        "training.checkpoints=20",
        "training.checkpoint_episodes=10",
    )
    steps: list[int | None] = [None] * len(sources)

    def look(number: int, training: int, point: dict[str, Any], seconds: float) -> None:
        if steps[number] is None and point["success"] >= SOLVED:
            steps[number] = point["timesteps"]

    outcome = train(chosen, sources, EPISODES, look, **changes)
    return steps, [score for [score] in outcome.scores]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    named = rewards("reach")
    sources = list(named.values())
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1 if quick else SEEDS):
            kept = Path(folder) / f"{seed}.npz"
            solve(seed, sources, experience=str(kept))
            cold = solve(seed + 100, sources, stream=[2, 0])
            warm = solve(seed + 100, sources, stream=[2, 0], earlier=[str(kept)])
            rows.append((cold, warm))
    cold_scores = np.mean([np.minimum(cold[1], SOLVED) for cold, _ in rows], axis=0)
    warm_scores = np.mean([np.minimum(warm[1], SOLVED) for _, warm in rows], axis=0)
    print(f"{'reward':<10} {'steps cold':>12} {'steps warm':>12} {'cold':>6} {'warm':>6}")
    speed_ups = []
    for place, name in enumerate(named):
        pairs = [(cold[0][place], warm[0][place]) for cold, warm in rows]
        solved = [(a, b) for a, b in pairs if a is not None and b is not None]
        speed_ups += [a / b for a, b in solved]
        texts = [
            f"{np.mean([pair[side] for pair in solved]):,.0f}" if solved else "never"
            for side in (0, 1)
        ]
        scores = f"{cold_scores[place]:>6.2f} {warm_scores[place]:>6.2f}"
        print(f"{name:<10} {texts[0]:>12} {texts[1]:>12} {scores}")
    headline = {
        "steps_cold_over_warm": round(float(np.median(speed_ups)), 2),
        "kendall_tau": round(float(kendalltau(cold_scores, warm_scores).statistic), 2),
        "solved_cold": int((cold_scores >= SOLVED).sum()),
        "solved_warm": int((warm_scores >= SOLVED).sum()),
    }
    for key, value in headline.items():
        print(f"{key}: {value}")
    if not quick:
        write("warm_buffer", headline, runs=rows)


if __name__ == "__main__":
    main()
