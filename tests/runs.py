"""Start `gen.py` as a user would, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REPLIES = ROOT / "tests" / "data" / "replies"
COMPARED = (
    "training.total_timesteps=200",
    "training.checkpoints=2",
    "training.checkpoint_episodes=2",
    "env.tuned.learning_starts=60",  # or nothing would be learned
    "experiment.candidates=4",
    "experiment.iterations=2",
    "experiment.seeds=1",
    "experiment.final_seeds=1",
    "experiment.evaluation_episodes=5",
    "experiment.test_episodes=5",
    "video.episodes=0",
)

SMALL = (*COMPARED, "~env.baselines", "experiment.races=0")


def environment(**variables: str) -> dict[str, str]:
    """The process's environment without any provider's variables, and with these."""
    names = ("OPENAI", "GROQ", "OPENROUTER", "ANTHROPIC", "LLM_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(names)}
    return {**kept, **variables}


def start(folder: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start ``python gen.py`` and do not wait."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "gen.py"), *arguments],
        cwd=folder,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def generate(
    folder: Path, *arguments: str, timeout: float = 300, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python gen.py`` to its end."""
    process = start(folder, *arguments, **variables)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def summary(run: Path) -> dict[str, Any]:
    """The result of a run."""
    result: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return result


def evaluations(run: Path) -> list[dict[str, Any]]:
    """All rows of all iterations, in order."""
    files = sorted(run.glob("iteration_*/evaluations.json"))
    return [row for file in files for row in json.loads(file.read_text())]


def comparable(run: Path) -> list[dict[str, object]]:
    """All rows of all iterations, but for the time that they took."""
    return [{**row, "seconds": None} for row in evaluations(run)]


def compared(run: Path) -> list[dict[str, object]]:
    """The headline table, but for the time that it took."""
    return [{**row, "seconds": None} for row in summary(run)["headline"]]


def learned(run: Path) -> list[object]:
    """What the learners came to, to the last bit, and how often each curve is drawn."""
    trials = sorted(run.glob("iteration_*/candidate_*.json"))
    curves = sorted(path.parent for path in run.glob("tensorboard_logs/*/*/*/events*"))
    return [
        [file.read_bytes() for file in sorted(run.glob("iteration_*/experience*.npz"))],
        [json.loads(file.read_text())["evaluation"]["curves"] for file in trials],
        [folder.relative_to(run) for folder in curves],
    ]


def wait_for(condition: Callable[[], object], seconds: float = 180.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
