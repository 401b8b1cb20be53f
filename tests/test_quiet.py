"""No warning of another library reaches the user, while a command runs or when it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs import ROOT, environment, generate

NOISE = re.compile(r"warn|adroit|deprecat|traceback|exception|out of date|pygame", re.IGNORECASE)
TINY = (
    "llm=builtin",
    "training.total_timesteps=60",
    "training.checkpoints=1",
    "training.checkpoint_episodes=1",
    "experiment.candidates=1",
    "experiment.iterations=1",
    "experiment.seeds=1",
    "experiment.final_seeds=0",
    "experiment.evaluation_episodes=1",
    "experiment.test_episodes=1",
)
REWARD = """\
def compute_reward(state, action, next_state):
    effort = -np.sum(action**2, axis=-1)
    return effort, {"effort": effort}
"""
# what Gymnasium warns of: a newer version, numbers of another type, values out of bounds
LOUD = '''\
import gymnasium
import numpy as np


class Loud(gymnasium.Env):
    """An environment that Gymnasium has something to say of."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.normal(size=2), {}

    def step(self, action):
        return self.np_random.normal(size=2), 1.0, False, False, {}


for version in (0, 1):
    gymnasium.register(f"Loud-v{version}", "loud:Loud", max_episode_steps=20)
'''


@pytest.fixture
def loud(tmp_path: Path) -> str:
    """Where Python finds the module `loud`, and rewardsmith."""
    (tmp_path / "loud.py").write_text(LOUD)
    return os.pathsep.join((str(tmp_path), str(ROOT)))


def assert_quiet(done: subprocess.CompletedProcess[str], code: int = 0) -> None:
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout
    assert not NOISE.search(done.stdout)


def python_m(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rewardsmith", *arguments],
        cwd=folder,
        env=environment(**{"PYTHONPATH": str(ROOT), **variables}),
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("arguments", [(), ("reach",), ("point_maze",)])
def test_tasks_are_listed_and_shown_without_noise(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    assert_quiet(python_m(tmp_path, "tasks", *arguments))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["half_cheetah", "metaworld_reach", "gym"])
def test_a_reward_is_checked_without_noise(tmp_path: Path, loud: str, task: str) -> None:
    if task.startswith("metaworld"):
        pytest.importorskip("metaworld", reason="metaworld is not installed")
    (tmp_path / "reward.py").write_text(REWARD)
    own = ("env.id=loud:Loud-v0", "env.description=Loud.") if task == "gym" else ()
    done = python_m(tmp_path, "check", "reward.py", *own, "--env", task, PYTHONPATH=loud)
    assert_quiet(done, done.returncode)
    assert "would be trained" in done.stdout


@pytest.mark.slow
def test_a_run_on_a_robot_makes_no_noise(tmp_path: Path) -> None:
    assert_quiet(generate(tmp_path, "env=reach", *TINY))


@pytest.mark.slow
def test_what_libraries_warn_of_is_in_the_log_of_a_run(tmp_path: Path, loud: str) -> None:
    own = ("env=gym", "env.id=loud:Loud-v0", "env.description=Loud.", "training=sb3")
    done = generate(tmp_path, *own, "training.algorithm=PPO", *TINY, PYTHONPATH=loud)
    assert_quiet(done)
    log = (tmp_path / "results" / "loud-Loud-v0" / "log.txt").read_text()
    told = [line[9:] for line in log.splitlines() if line[9:].startswith("warning: ")]
    assert len(told) == len(set(told))
    assert any("is not within the observation space. (UserWarning, " in line for line in told)


@pytest.mark.slow
def test_whoever_asks_for_warnings_gets_them(tmp_path: Path, loud: str) -> None:
    (tmp_path / "reward.py").write_text(REWARD)
    own = ("check", "reward.py", "--env", "gym", "env.id=loud:Loud-v0", "env.description=Loud.")
    done = python_m(tmp_path, *own, PYTHONPATH=loud, PYTHONWARNINGS="default")
    assert "is not within the observation space" in done.stderr
