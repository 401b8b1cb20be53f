"""Meta-World's tasks: goals that are seen, that a seed decides, and that can be reached."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from rewardsmith.config import task_settings
from rewardsmith.errors import TaskError
from rewardsmith.tasks.meta_world import MT10
from rewardsmith.tasks.task import build_task, make_environment


def test_without_the_extra_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "metaworld.env_dict", None)
    [env] = task_settings(["metaworld_door_open"])
    with pytest.raises(TaskError, match=r"pip install 'rewardsmith\[metaworld\]'") as caught:
        build_task(env)
    assert str(caught.value).startswith("Meta-World/door-open-v3 needs Meta-World")
    assert "\n" not in str(caught.value)


def environment(task: str) -> Any:
    pytest.importorskip("metaworld", reason="the extra metaworld is not installed")
    [env] = task_settings([f"metaworld_{task.removesuffix('-v3').replace('-', '_')}"])
    assert env.id.endswith(f"/{task}")
    return make_environment(env)


def policy_of(task: str) -> Any:
    """Meta-World's own scripted policy."""
    import metaworld.policies

    words = task.removesuffix("-v3").replace("peg-insert", "peg-insertion").split("-")
    name = "Sawyer" + "".join(word.capitalize() for word in words) + "V3Policy"
    return getattr(metaworld.policies, name)()


def test_the_goal_is_seen_in_every_observation_and_is_another_for_another_seed() -> None:
    env = environment("reach-v3")
    goals = []
    for seed in range(5):
        first, _ = env.reset(seed=seed)
        after = env.step(env.action_space.sample())[0]
        np.testing.assert_array_equal(first[36:39], after[36:39])
        np.testing.assert_array_equal(first[36:39], env.unwrapped._target_pos)
        goals.append(tuple(first[36:39]))
    assert len(set(goals)) == 5
    unseeded = [tuple(env.reset()[0][36:39]) for _ in range(3)]
    assert len(set(unseeded)) == 3
    env.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Constant")
@pytest.mark.parametrize("task", MT10)
def test_the_scripted_policy_solves_it_and_success_stays(task: str) -> None:
    env, policy, solved = environment(task), policy_of(task), []
    for seed in range(5):
        observation, _ = env.reset(seed=seed)
        said, own, done = [], [], False
        while not done:
            action = np.clip(policy.get_action(observation), -1, 1).astype(np.float32)
            observation, _, _, done, info = env.step(action)
            said.append(bool(info["is_success"]))
            own.append(bool(info["success"]))
        assert len(said) == 500
        assert said == np.logical_or.accumulate(own).tolist()
        solved.append(said[-1])
    env.close()
    assert sum(solved) >= 4
