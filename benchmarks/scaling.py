"""What further candidates cost: K = 1 to 64 FetchReach rewards in one population, one seed each.

The rewards are those of ``rewards/reach``, over and over. Each K is trained as shipped, from the
start of its process to the last model, for the time. Before that it is trained for 600 steps with
an eye on the memory of all its processes (proportional set size: what they share counts once): all
memory is taken at the start. What is compiled then is found on disk later, so that compilation is
left out of the times.

Usage: ``python benchmarks/scaling.py [--quick]`` (7 minutes; ``--quick`` leaves out K = 2, 4, 32,
4 minutes, and writes nothing).
"""

from __future__ import annotations

import argparse

from common import rewards, settings, write
from population import train

SIZES = (1, 2, 4, 8, 16, 32, 64)
QUICK_SIZES = (1, 8, 16, 64)
EPISODES = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    shipped = settings("sandbox.allow_weaker=true")
    steps = shipped.training.total_timesteps
    short = settings(
        "sandbox.allow_weaker=true", "training.total_timesteps=600", "training.checkpoints=1"
    )
    pool = list(rewards("reach").values())
    wall: dict[int, float] = {}
    memory: dict[int, float] = {}
    print(f"{'K':>4} {'seconds':>8} {'per candidate':>14} {'MiB':>6} {'per candidate':>14}")
    for size in QUICK_SIZES if quick else SIZES:
        sources = [pool[number % len(pool)] for number in range(size)]
        memory[size] = train(short, sources, 1, watch_memory=True).peak_mib or 0.0
        wall[size] = train(shipped, sources, EPISODES).seconds
        print(
            f"{size:>4} {wall[size]:>8.1f} {wall[size] / size:>14.2f} "
            f"{memory[size]:>6.0f} {memory[size] / size:>14.1f}",
            flush=True,
        )
    headline = {
        "wall_16_over_8": round(wall[16] / wall[8], 2),
        "wall_64_over_8": round(wall[64] / wall[8], 2),
        "peak_mib_64": round(memory[64]),
    }
    for key, value in headline.items():
        print(f"{key}: {value}")
    if not quick:
        write("scaling", headline, seconds=wall, peak_mib=memory, total_timesteps=steps)


if __name__ == "__main__":
    main()
