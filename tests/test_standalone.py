"""``best/reward.py``: a module that needs nothing of rewardsmith."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from rewardsmith.reward.extract import extract_code
from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import SandboxSettings
from rewardsmith.standalone import standalone_module
from rewardsmith.tasks.task import Task, build_task
from rewardsmith.types import Candidate, Evaluation, Fitness, RewardFunction, Status, Trial
from tests.conftest import DATA, load_settings, load_task

PROGRESS = """
def compute_reward(state, action, next_state):
    before = np.linalg.norm(state["achieved_goal"] - state["desired_goal"], axis=-1)
    after = np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    progress = before - after
    effort = -math.sqrt(0.01) * np.sum(action**2, axis=-1)
    return progress + effort, {"progress": progress, "effort": effort}
"""


def trial(source: str) -> Trial:
    fitness = Fitness("success", 1.0, 0.9, 1.0, 50, 1, -5.0, 50.0)
    candidate = Candidate(2, 3, RewardFunction(source))
    return Trial(candidate, Evaluation(Status.OK, fitness))


def module_text(source: str, task: Task, author: str = "openai gpt-5-mini") -> str:
    return standalone_module(trial(source), task, author)


def load(text: str, folder: Path) -> ModuleType:
    file = folder / "reward.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location("reward", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_PLAY = """
import importlib.util, io, json, sys, contextlib
import gymnasium
import numpy as np
with contextlib.redirect_stderr(io.StringIO()):
    import gymnasium_robotics
results = {}
for file in sys.argv[2:]:
    spec = importlib.util.spec_from_file_location("reward", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    env = module.GeneratedReward(gymnasium.make(sys.argv[1]))
    env.reset(seed=5)
    generator = np.random.default_rng(5)
    rows = []
    for _ in range(25):
        _, reward, _, _, info = env.step(generator.uniform(-1, 1, 4).astype(np.float32))
        rows.append((reward, info["reward_components"], info["environment_reward"]))
    results[file] = rows
assert "rewardsmith" not in sys.modules
print(json.dumps(results))
"""


def replay(task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The transitions of the same 25 steps."""
    env = task.make()
    observation, info = env.reset(seed=5)
    generator = np.random.default_rng(5)
    states, actions = [task.record(env, observation, info)], []
    for _ in range(25):
        actions.append(generator.uniform(-1, 1, 4).astype(np.float32))
        observation, _, _, _, info = env.step(actions[-1])
        states.append(task.record(env, observation, info))
    return np.array(states[:-1]), np.array(actions, dtype=np.float64), np.array(states[1:])


@pytest.mark.parametrize("name", ["reach", "push"])
def test_modules_of_honest_replies_give_the_rewards_of_the_reward_process(
    name: str, tmp_path: Path, sandbox: SandboxSettings
) -> None:
    task = load_task(f"env={name}")
    sources: dict[str, str] = {}
    for reply in sorted((DATA / "replies" / name).glob("*.md")):
        code = extract_code(reply.read_text())
        assert code is not None
        file = tmp_path / f"{reply.stem}.py"
        file.write_text(module_text(code, task))
        sources[str(file)] = code
    assert len(sources) == 8
    ran = subprocess.run(
        [sys.executable, "-I", "-c", _PLAY, f"Fetch{name.title()}-v4", *sources],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    played = json.loads(ran.stdout)
    transitions = replay(task)
    for file, source in sources.items():
        with RewardProcess(task.layout, sandbox) as process:
            process.load(RewardFunction(source))
            wanted = process.evaluate(*transitions)
        rewards, components, own = zip(*played[file], strict=True)
        np.testing.assert_allclose(rewards, wanted.total, rtol=0, atol=1e-12)
        for row, key in enumerate(wanted.names):
            found = [step[key] for step in components]
            np.testing.assert_allclose(found, wanted.components[row], rtol=0, atol=1e-12)
        assert set(own) <= {0.0, -1.0}


def test_hindsight_goals_get_the_generated_reward(point_task: Task, tmp_path: Path) -> None:
    from stable_baselines3 import SAC, HerReplayBuffer

    module = load(module_text(PROGRESS, point_task), tmp_path)
    env = module.GeneratedReward(point_task.make(), capacity=200)
    model = SAC(
        "MultiInputPolicy",
        env,
        buffer_size=200,
        learning_starts=100,
        batch_size=16,
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"copy_info_dict": True},
        policy_kwargs={"net_arch": [8]},
        seed=0,
    )
    model.learn(110)
    batch = model.replay_buffer.sample(200)  # type: ignore[union-attr]
    before = {key: value.numpy().astype(float) for key, value in batch.observations.items()}
    after = {key: value.numpy().astype(float) for key, value in batch.next_observations.items()}
    wanted, _ = module.compute_reward(before, batch.actions.numpy().astype(float), after)
    rewards = batch.rewards.numpy().ravel()
    np.testing.assert_allclose(rewards, wanted, atol=1e-5)
    assert len({tuple(goal) for goal in after["desired_goal"].round(6)}) > 20


def test_hindsight_without_a_capacity_is_refused(point_task: Task, tmp_path: Path) -> None:
    module = load(module_text(PROGRESS, point_task), tmp_path)
    env = module.GeneratedReward(point_task.make())
    env.reset(seed=0)
    _, _, _, _, info = env.step(np.zeros(2, dtype=np.float32))
    with pytest.raises(KeyError, match="give RewardWrapper a capacity"):
        env.compute_reward(np.zeros((1, 2)), np.zeros((1, 2)), [info])


def test_the_module_says_where_it_comes_from(point_task: Task, tmp_path: Path) -> None:
    module = load(module_text(PROGRESS, point_task), tmp_path)
    text = module.__doc__ or ""
    assert "written by openai gpt-5-mini" in text
    assert point_task.settings.description in text
    assert "Candidate 2/3" in text
    assert RewardFunction(PROGRESS).sha256[:16] in text


@pytest.mark.parametrize(
    "description", ['Say """hello""".', "Reach C:\\new\\x.", 'It is "quoted"', "Two {braces} %s"]
)
def test_any_description_can_stand_in_the_module(description: str, tmp_path: Path) -> None:
    settings = load_settings("env=point").env.model_copy(update={"description": description})
    module = load(module_text(PROGRESS, build_task(settings)), tmp_path)
    assert description.replace('"""', "'''") in (module.__doc__ or "")


def example(text: str) -> str:
    """The call of `gymnasium.make` in a module's docstring."""
    found = re.search(r"GeneratedReward\((gymnasium\.make\(.*\))\)$", text, re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("overrides", "call"),
    [
        (["env=reach"], "gymnasium.make('gymnasium_robotics:FetchReach-v4')"),
        (
            ["env=push", "env.start_state=as_released"],
            "gymnasium.make('rewardsmith.tasks.fetch:FetchPush-v3', start_state='as_released')",
        ),
        (
            ["env=gym", "env.id=Pendulum-v1", "env.description=x", "+env.kwargs.g=5.0"],
            "gymnasium.make('Pendulum-v1', g=5.0)",
        ),
        (
            ["env=gym", "env.id=CartPole-v1", "env.description=x", "env.max_episode_steps=9"],
            "gymnasium.make('CartPole-v1', max_episode_steps=9)",
        ),
    ],
)
def test_the_example_makes_the_environment_of_the_task(overrides: list[str], call: str) -> None:
    import gymnasium

    task = load_task(*overrides)
    assert example(module_text(PROGRESS, task)) == call
    [name, *_], keywords = call_arguments(call)
    env = gymnasium.make(name, **keywords)
    ours = task.make()
    first, second = env.reset(seed=4)[0], ours.reset(seed=4)[0]
    if isinstance(first, dict):
        first, second = first["observation"], second["observation"]
    np.testing.assert_array_equal(first, second)


def call_arguments(call: str) -> tuple[list[Any], dict[str, Any]]:
    tree = ast.parse(call, mode="eval").body
    assert isinstance(tree, ast.Call)
    values = [ast.literal_eval(item) for item in tree.args]
    return values, {str(item.arg): ast.literal_eval(item.value) for item in tree.keywords}


def test_the_module_names_nothing_of_ours_but_in_words(point_task: Task) -> None:
    tree = ast.parse(module_text(PROGRESS, point_task))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported == {"__future__", "collections", "gymnasium", "math", "numpy", "typing"}
