"""What several parts of the tests share: the shipped configuration, tasks, where data lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rewardsmith.settings import SandboxSettings, Settings
from rewardsmith.tasks.task import Task, build_task

CFG = Path(__file__).parents[1] / "cfg"
DATA = Path(__file__).parent / "data"


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


@pytest.fixture
def without_package() -> dict[str, str]:
    """Environment variables of a child process that knows nothing of this repository."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
