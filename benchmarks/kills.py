"""Kill whole runs at random moments, resume them, and compare with one that was left alone.

    python benchmarks/kills.py            # 20 runs, each killed once
    python benchmarks/kills.py --runs 5 --seed 1

Every run is a fresh one with the smallest budget that has all phases: two iterations with a race
each, the fresh trainings, the video, the report. Its replies come from a server on loopback that
notes what it is asked; every second run is killed with all its processes, the others' controller
alone. The moments are spread over the whole time of a run. One survives if ranking, headline table,
curves and stored experience are equal to the last bit.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from common import FOLDER, write

sys.path.insert(0, str(FOLDER.parent))

from tests.kills import Life, Provider, Timeline, moments, undisturbed
from tests.runs import comparable, compared, learned


def main() -> None:
    """Kill, resume, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with undisturbed(folder / "undisturbed") as (model, timeline):
            chosen = moments(options.runs, timeline.length, random.Random(options.seed))
            rows = [
                one(folder / f"{number}", moment, number % 2 == 0, model, timeline)
                for number, moment in enumerate(chosen)
            ]
    headline = {
        "tried": len(rows),
        "survived": sum(row["same"] for row in rows),
        "replies_paid_twice": sum(row["paid_twice"] for row in rows),
        "files_written_again": sum(row["written_again"] for row in rows),
        "processes_left": sum(row["left"] for row in rows),
    }
    phases = Counter(row["phase"] for row in rows)
    write("kills", headline, phases=dict(phases), seconds=round(timeline.length), runs=rows)


def one(
    folder: Path, moment: float, everyone: bool, model: Life, timeline: Timeline
) -> dict[str, Any]:
    """Kill one run, and let it go on to its end."""
    folder.mkdir()
    began = time.monotonic()
    with Provider() as provider:
        life = Life(folder, provider)
        life.kill_at(moment, timeline, everyone)
        code, said = life.end()
    assert model.run is not None
    same = code == 0 and all(
        look(life.run) == look(model.run) for look in (comparable, compared, learned)
    )
    row = {
        "moment": round(moment, 1),
        "killed": "all processes" if everyone else "the controller",
        "phase": life.phases[0],
        "same": same,
        "requests": sum(provider.sent.values()),
        "in_flight": sum(life.lost.values()),
        "paid_twice": len(life.paid_twice()),
        "written_again": len(life.written_again()),
        "left": len(life.survivors),
        "seconds": round(time.monotonic() - began),
    }
    print(row, flush=True)
    if not same:
        print(said, file=sys.stderr, flush=True)
    return row


if __name__ == "__main__":
    main()
