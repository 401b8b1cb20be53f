"""What several parts of the tests share: the shipped configuration, tasks, where data lie."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from rewardsmith.settings import SandboxSettings, Settings
from rewardsmith.tasks.task import Task, build_task

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # started in the background by a shell: children would not feel Ctrl-C either
    signal.signal(signal.SIGINT, signal.default_int_handler)

CFG = Path(__file__).parents[1] / "cfg"
DATA = Path(__file__).parent / "data"
# length of a Fetch observation → first and last + 1 column of each named slice
FETCH_COLUMNS = {
    10: {
        "gripper_position": (0, 3),
        "finger_displacement": (3, 5),
        "gripper_velocity": (5, 8),
        "finger_velocity": (8, 10),
    },
    25: {
        "gripper_position": (0, 3),
        "object_position": (3, 6),
        "object_relative_position": (6, 9),
        "finger_displacement": (9, 11),
        "object_rotation": (11, 14),
        "object_velocity": (14, 17),
        "object_angular_velocity": (17, 20),
        "gripper_velocity": (20, 23),
        "finger_velocity": (23, 25),
    },
}


LONGEST = (
    "test_kills.py",
    "test_run.py",
    "test_secrets.py",
    "test_docs.py",
    "test_replay.py",
    "test_ray.py",
    "test_quiet.py",
    "test_load.py",
    "test_slurm.py",
    "reward/test_fuzz.py",
    "training/population/test_learner.py",
    "training/population/test_export.py",
    "training/test_contract.py",
    "tasks/test_baselines.py",
    "training/population/test_trainer.py",
    "test_check.py",
    "training/test_sb3.py",
    "page/test_watch.py",
    "test_notebook.py",
)
"""Begun first, or one of two processes would sit idle while the other works through them.

pytest-xdist would begin with the files that have the most tests, were it not told
`--no-loadscope-reorder` (Makefile): the longest have few.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest before the others."""
    here = Path(__file__).parent
    rank = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def pytest_configure(config: pytest.Config) -> None:
    """Keep what JAX compiles from one session to the next, but out of the user's own cache.

    And compile it with fewer optimisations: a third of the time, and a test trains too little to
    miss them.
    """
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")
    cache = getattr(config, "cache", None)  # None with -p no:cacheprovider
    if cache is not None:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache.mkdir("jax")))


def load_settings(*overrides: str) -> Settings:
    """Compose the shipped configuration as a command line would."""
    from hydra import compose, initialize_config_dir

    from rewardsmith.config import checked

    with initialize_config_dir(str(CFG), version_base="1.3"):
        return checked(compose("config", overrides=["llm=builtin", *overrides]))


def load_task(*overrides: str) -> Task:
    """Build the task of a composed configuration."""
    return build_task(load_settings(*overrides).env)


@pytest.fixture(scope="session")
def point_task() -> Task:
    """The smallest task with goals."""
    return load_task("env=point")


@pytest.fixture(scope="session")
def sandbox() -> SandboxSettings:
    """Limits of a reward process, as shipped but for machines without seccomp."""
    return load_settings("sandbox.allow_weaker=true").sandbox
