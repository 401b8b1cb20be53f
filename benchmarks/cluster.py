"""A search of 64 candidates on a Ray cluster of two nodes, of which one is lost again and again.

The same search is made on this machine alone, on the cluster, and on the cluster while its second
node is killed and started anew; all three must come to the same, to the last bit.

    PYTHONPATH=. python benchmarks/cluster.py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import write

from tests.ray_cluster import RayCluster
from tests.runs import ROOT, environment

SEARCH = (
    "env=point",
    "llm=builtin",
    "experiment.candidates=64",
    "experiment.iterations=1",
    "experiment.seeds=1",
    "experiment.races=1",
    "experiment.final_seeds=2",
    "experiment.evaluation_episodes=10",
    "experiment.test_episodes=10",
    "training.total_timesteps=600",
    "training.checkpoints=2",
    "training.checkpoint_episodes=2",
    "training.workers=1",
    "training.shard=8",
    "video.episodes=0",
)


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as place, RayCluster() as cluster:
        folder = Path(place)
        there = ("executor=ray", f"ray.address={cluster.address}")
        local = _search(folder / "local")
        spread = _search(folder / "spread", *there)
        mishaps = _Mishaps(cluster, folder / "lossy" / "point", arguments.losses, arguments.every)
        mishaps.start()
        lossy = _search(folder / "lossy", *there)
        mishaps.join()
        runs = {"local": local, "cluster": spread, "cluster with losses": lossy}
        same = {name: _outcome(folder / part) for name, part in zip(runs, _PARTS, strict=True)}
    headline = {
        "candidates": 64,
        "shards": 8,
        "nodes": 2,
        "nodes lost": mishaps.done,
        "runs lost": sum(run["code"] != 0 for run in runs.values()),
        "runs that came to another result": sum(
            outcome != same["local"] for outcome in same.values()
        ),
        "seconds of the cluster / of this machine alone": spread["seconds"] / local["seconds"],
        "seconds with losses / without": lossy["seconds"] / spread["seconds"],
    }
    write("cluster", headline, runs=runs, search=list(SEARCH))


_PARTS = ("local", "spread", "lossy")


class _Mishaps(threading.Thread):
    """Kills the second node and starts it anew, from the moment on at which trainings begin."""

    def __init__(self, cluster: RayCluster, run: Path, losses: int, every: float) -> None:
        super().__init__(daemon=True)
        self._cluster, self._run, self._losses, self._every = cluster, run, losses, every
        self.done = 0

    def run(self) -> None:
        """Kill as often as was asked for, as long as the run goes on."""
        while not list(self._run.glob("metrics.jsonl")):
            time.sleep(0.2)
        while self.done < self._losses:
            time.sleep(self._every)
            if (self._run / "summary.json").exists():
                break
            self._cluster.kill()
            self.done += 1
            self._cluster.start()


def _search(folder: Path, *overrides: str) -> dict[str, Any]:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(ROOT / "gen.py"), *SEARCH, *overrides, f"paths.results={folder}"],
        env=environment(),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
    return {"code": done.returncode, "seconds": time.monotonic() - started}


def _outcome(folder: Path) -> list[Any]:
    """What a run came to, but for the time that it took."""
    run = folder / "point"
    tables: Sequence[Path] = sorted(run.glob("iteration_*/evaluations.json"))
    rows = [row for file in tables for row in json.loads(file.read_text())]
    if (run / "summary.json").exists():
        rows += json.loads((run / "summary.json").read_text())["headline"]
    kept = [file.read_bytes() for file in sorted(run.glob("iteration_*/experience_*.npz"))]
    return [[{**row, "seconds": None} for row in rows], kept]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--losses", type=int, default=3, help="how often a node is killed")
    parser.add_argument("--every", type=float, default=40.0, help="seconds in between")
    return parser.parse_args()


if __name__ == "__main__":
    main()
