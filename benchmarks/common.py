"""What the benchmarks share: the rewards that they train with, and how they write their results."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from rewardsmith.config import checked, config_folder
from rewardsmith.execution import LocalExecutor, cores
from rewardsmith.settings import Settings

FOLDER = Path(__file__).parent
PACKAGES = ("jax", "mujoco", "numpy", "stable-baselines3", "torch")


def rewards(task: str) -> dict[str, str]:
    """Sources of the fixed rewards of a task, by name."""
    files = sorted((FOLDER / "rewards" / task).glob("*.txt"))
    return {file.stem: file.read_text() for file in files}


def settings(*overrides: str) -> Settings:
    """The shipped configuration with overrides, as the command line composes it."""
    with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
        return checked(compose("config", overrides=["llm=builtin", *overrides]))


def executor(workers: int) -> LocalExecutor:
    """Worker processes as a run has them."""
    kept = ("HOME", "PATH", "MUJOCO_GL", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR")
    return LocalExecutor(workers, {key: os.environ[key] for key in kept if key in os.environ})


def write(name: str, headline: Mapping[str, Any], **details: Any) -> None:
    """Write ``results/<name>.json``.

    Args:
        name: of the script.
        headline: flat numbers.
        details: anything else.
    """
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    machine = f"{platform.system()} {platform.machine()}, {cores()} cores, {_processor()}"
    report = {
        "machine": f"{machine}, Python {sys.version.split()[0]}, {versions}",
        "headline": dict(headline),
        **details,
    }
    file = FOLDER / "results" / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(report, indent=2) + "\n")


def _processor() -> str:
    """Model of the processor, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
