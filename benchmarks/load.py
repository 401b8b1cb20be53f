"""How big a search may be: 256 candidates in each of 20 iterations, watched from outside.

``python gen.py env=point …`` is run as a user would, with the built-in designer, a tiny budget of
training, and the usual 1,024 open files (``ulimit -n``). While it runs, its processes, memory and
descriptors are sampled; afterwards its files are counted, and what it should not have left behind.
Then the page is made and opened in Chromium, if Selenium and Chromium are there.

Usage: ``python benchmarks/load.py [--candidates 256] [--iterations 20] [--minutes 60]
[--folder DIR] [--quick]`` (``--quick``: 40 candidates, 3 iterations, writes nothing; ``--folder``
keeps the run). After so many minutes the run is killed, and resumed with the iterations that it
has: what is written down is of those.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from common import FOLDER, write

ROOT = FOLDER.parent
TINY = (
    "env=point",
    "llm=builtin",
    "training.total_timesteps=200",
    "training.checkpoints=2",
    "training.checkpoint_episodes=2",
    "env.tuned.learning_starts=60",
    "experiment.repairs=0",  # each asks and checks once more
    "experiment.seeds=1",
    "experiment.races=0",
    "experiment.final_seeds=1",
    "experiment.evaluation_episodes=5",
    "experiment.test_episodes=5",
    "video.episodes=0",
)
OPEN_FILES = 1024
SAMPLE_S = 1.0
TREE_SHARE = 0.1
"""Of the time, that looking at the memory of all processes may take."""
KINDS = {
    "exchanges": r"iteration_\d+/exchange_",
    "replies": r"iteration_\d+/reply_",
    "candidates": r"iteration_\d+/candidate_",
    "rewards": r"rewards/",
    "models": r"models/",
    "tensorboard": r"tensorboard_logs/",
    "experience": r"iteration_\d+/experience",
    "populations": r"populations/",
    "metrics": r"metrics\.jsonl",
    "log": r"log\.txt|logs/",
    "report": r"report\.html",
}


@dataclass(frozen=True)
class Sample:
    """What was seen of the run at one moment.

    Attributes:
        time: seconds since 1970.
        rss: memory of the controller, bytes.
        tree: memory of all processes, what they share counting once, bytes; None if not looked at.
        descriptors: of the controller.
        most_descriptors: of any of its processes.
        threads: of the controller.
        processes: below the controller.
    """

    time: float
    rss: int
    tree: int | None
    descriptors: int
    most_descriptors: int
    threads: int
    processes: int


class Watch(threading.Thread):
    """Samples a process and all below it until it ends."""

    def __init__(self, process: psutil.Process) -> None:
        """Get ready to watch."""
        super().__init__(daemon=True)
        self.process = process
        self.samples: list[Sample] = []
        self._tree_due = 0.0

    def run(self) -> None:
        """Sample until the process has ended."""
        while True:
            try:
                self.samples.append(self._sample())
            except psutil.Error:
                return
            time.sleep(SAMPLE_S)

    def _sample(self) -> Sample:
        below = self.process.children(recursive=True)
        with self.process.oneshot():
            return Sample(
                time.time(),
                self.process.memory_info().rss,
                self._tree([self.process, *below]),
                self.process.num_fds(),
                max([self.process.num_fds(), *self._each(below)]),
                self.process.num_threads(),
                len(below),
            )

    @staticmethod
    def _each(below: Sequence[psutil.Process]) -> Iterator[int]:
        for item in below:
            try:
                yield item.num_fds()
            except psutil.Error:
                continue

    def _tree(self, members: Sequence[psutil.Process]) -> int | None:
        started = time.monotonic()
        if started < self._tree_due:
            return None
        total = 0
        for item in members:
            try:
                total += item.memory_full_info().pss
            except psutil.Error:
                continue
        took = time.monotonic() - started
        self._tree_due = started + took / TREE_SHARE
        return total


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a run in a folder."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    with (folder / "out.txt").open("ab") as out:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "gen.py"), *arguments],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            preexec_fn=_usual_limits,
        )


def carry_out(asked: argparse.Namespace, folder: Path) -> tuple[int, list[Sample]]:
    """Make the run; when its time is over, stop it and have it come to its result."""
    size = f"experiment.candidates={asked.candidates}", f"experiment.iterations={asked.iterations}"
    process = start(folder, *TINY, *size)
    watch = Watch(psutil.Process(process.pid))
    watch.start()
    try:
        return process.wait(asked.minutes * 60), watch.samples
    except subprocess.TimeoutExpired:
        process.kill()  # the hardest way to stop
        process.wait()
    run = folder / "results" / "point"
    closed = len(list(run.glob("iteration_*/evaluations.json")))
    resumed = start(folder, f"experiment.resume={run}", f"experiment.iterations={closed}")
    return resumed.wait(), watch.samples


def _usual_limits() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))


def own_processes() -> set[int]:
    """Processes of this checkout: reward processes and workers name it in their arguments."""
    found = set()
    for item in psutil.process_iter(["pid", "cmdline"]):
        text = " ".join(item.info["cmdline"] or [])
        if str(ROOT) in text and item.info["pid"] != os.getpid():
            found.add(item.info["pid"])
    return found


def leftovers(temporary: Path) -> list[Path]:
    """Temporary files; torch makes one folder for itself, always the same."""
    return [file for file in temporary.rglob("*") if not file.name.startswith("torchinductor")]


def in_use() -> set[Path]:
    """Shared memory that a process still has, for instance that of other runs."""
    found = set()
    for item in psutil.process_iter():
        try:
            found |= {Path(place.path) for place in item.memory_maps()}
        except (psutil.Error, OSError):
            continue
    return found


def iterations_of(run: Path) -> list[dict[str, float]]:
    """Seconds of each iteration: asking and checking, training, the rest."""
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows: dict[int, dict[str, float]] = {}
    row: dict[str, float] = {}
    for event in events:
        if event["event"] == "iteration":
            row = {"start": event["time"]}
            rows.setdefault(event["number"], row)  # a run that goes on repeats what it recalls
        elif event["event"] == "written":
            row["written"] = event["time"]
        elif event["event"] == "evaluated":
            row["evaluated"] = event["time"]
        elif event["event"] == "best":
            row["end"] = event["time"]
    return [rows[number] for number in sorted(rows) if "end" in rows[number]]


def sizes(run: Path) -> dict[str, dict[str, float]]:
    """Number of files and megabytes of each kind; a file with two names counts once."""
    found: dict[str, dict[str, float]] = defaultdict(
        lambda: {"files": 0, "mb": 0.0, "disk_mb": 0.0}
    )
    seen = set()
    for file in run.rglob("*"):
        if not file.is_file():
            continue
        about = file.stat()
        name = file.relative_to(run).as_posix()
        kind = next((key for key, pattern in KINDS.items() if re.match(pattern, name)), "other")
        for key in (kind, "all"):
            found[key]["files"] += 1
            if about.st_ino not in seen:
                found[key]["mb"] += about.st_size / 1e6
                found[key]["disk_mb"] += about.st_blocks * 512 / 1e6
        seen.add(about.st_ino)
    return {
        key: {name: round(value, 2) for name, value in item.items()} for key, item in found.items()
    }


def slope(values: Sequence[float]) -> float:
    """Least-squares growth per step."""
    count = len(values)
    if count < 2:
        return 0.0
    middle, mean = (count - 1) / 2, sum(values) / count
    above = sum((place - middle) * (value - mean) for place, value in enumerate(values))
    return above / sum((place - middle) ** 2 for place in range(count))


def by_iteration(
    samples: Sequence[Sample], rows: Sequence[dict[str, float]]
) -> list[dict[str, Any]]:
    """The largest of what was sampled in each iteration."""
    found = []
    for row in rows:
        own = [item for item in samples if row["start"] <= item.time <= row["end"]]
        trees = [item.tree for item in own if item.tree is not None]
        entry: dict[str, Any] = {
            "seconds": round(row["end"] - row["start"], 1),
            "asking": round(row.get("written", row["start"]) - row["start"], 1),
            "training": round(
                row.get("evaluated", row["end"]) - row.get("written", row["start"]), 1
            ),
            "after": round(row["end"] - row.get("evaluated", row["end"]), 1),
        }
        if own:
            entry |= {
                "rss_mib": round(max(item.rss for item in own) / 2**20, 1),
                "rss_mib_at_end": round(own[-1].rss / 2**20, 1),
                "tree_mib": round(max(trees) / 2**20) if trees else None,
                "descriptors": max(item.descriptors for item in own),
                "descriptors_at_end": own[-1].descriptors,
                "most_descriptors": max(item.most_descriptors for item in own),
                "threads": max(item.threads for item in own),
                "processes": max(item.processes for item in own),
            }
        found.append(entry)
    return found


def open_page(run: Path) -> dict[str, Any]:
    """How large the report is, and how long Chromium takes to draw it and to open a candidate."""
    file = run / "report.html"
    found: dict[str, Any] = {"report_mb": round(file.stat().st_size / 1e6, 2)}
    try:
        sys.path.insert(0, str(ROOT))
        from tests.page.browser import open_browser
    except ImportError:
        return found
    with open_browser() as browser:
        began = time.monotonic()
        browser.visit(file)
        found["page_ready_s"] = round(time.monotonic() - began, 2)
        found["page_elements"] = browser.run("return document.querySelectorAll('*').length")
        found["console_messages"] = len(browser.messages())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60, help="after which it is stopped")
    parser.add_argument("--name", default="load", help="of the file in results/")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    if asked.quick:
        asked.candidates, asked.iterations = 40, 3
    with tempfile.TemporaryDirectory() as scratch:
        measure(asked, (asked.folder or Path(scratch)).resolve())


def measure(asked: argparse.Namespace, folder: Path) -> None:
    """Run, watch, count, tell."""
    shared = Path("/dev/shm")
    before = own_processes(), set(shared.glob("*"))
    code, samples = carry_out(asked, folder)
    time.sleep(2.0)
    with (folder / "samples.jsonl").open("a") as stream:
        stream.writelines(json.dumps(asdict(item)) + "\n" for item in samples)
    left = {
        "exit_code": code,
        "processes_left": len(own_processes() - before[0]),
        "temporary_files_left": len(leftovers(folder / "tmp")),
        "shared_memory_left": len(set(shared.glob("*")) - before[1] - in_use()),
    }
    run = folder / "results" / "point"
    rows, found = by_iteration(samples, iterations_of(run)), sizes(run)
    headline = summed_up(run, rows, found) | left | open_page(run)
    for key, value in headline.items():
        print(f"{key}: {value}")
    for row in rows:
        print(row)
    for kind, item in sorted(found.items(), key=lambda pair: -pair[1]["disk_mb"]):
        print(
            f"{kind:<12} {item['files']:>7,} files {item['mb']:>8.1f} MB, "
            f"on disk {item['disk_mb']:.1f}"
        )
    if not asked.quick:
        write(asked.name, headline, iterations=rows, files=found)


def summed_up(
    run: Path, rows: Sequence[dict[str, Any]], found: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """The numbers that count."""
    written = len(list(run.glob("iteration_*/candidate_*.json")))
    watched = [row for row in rows if "rss_mib" in row]
    third, last = watched[min(2, len(watched) - 1)], watched[-1]
    return {
        "candidates": written,
        "iterations": len(rows),
        "seconds_last_over_third": round(last["seconds"] / third["seconds"], 2),
        "rss_mib_third": third["rss_mib"],
        "rss_mib_last": last["rss_mib"],
        "rss_mib_per_iteration": round(slope([row["rss_mib"] for row in watched[2:]]), 2),
        "tree_mib_third": third["tree_mib"],
        "tree_mib_last": last["tree_mib"],
        "tree_mib_most": max(row["tree_mib"] or 0 for row in watched),
        "descriptors_third": third["descriptors_at_end"],
        "descriptors_last": last["descriptors_at_end"],
        "descriptors_of_any_process": max(row["most_descriptors"] for row in watched),
        "processes_most": max(row["processes"] for row in watched),
        "mb": found["all"]["mb"],
        "kb_per_candidate_on_disk": round(1000 * found["all"]["disk_mb"] / max(written, 1), 1),
    }


if __name__ == "__main__":
    main()
