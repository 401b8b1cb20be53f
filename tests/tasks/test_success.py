"""Success by rules: what counts, when it counts, and what is wrong with a bad rule."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from rewardsmith.errors import ConfigurationError, TaskError
from rewardsmith.evaluation import run_episodes
from rewardsmith.settings import SuccessRule
from rewardsmith.tasks.success import SuccessWrapper
from rewardsmith.tasks.task import build_task
from tests.conftest import load_settings, load_task


class Scripted(gymnasium.Env):
    """Two positions in the plane that follow a script, and the height in info."""

    observation_space = gymnasium.spaces.Box(-9.0, 9.0, (4,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, script: list[float]) -> None:
        self.script = script

    def reset(self, **kwargs: Any) -> Any:
        super().reset(seed=kwargs.get("seed"))
        self.at = 0
        return np.zeros(4), {}

    def step(self, action: Any) -> Any:
        height = self.script[self.at]
        self.at += 1
        position = np.array([3.0 * height, 4.0 * height, 0.0, 0.0])
        return position, 0.0, False, self.at == len(self.script), {"height": height}


def verdicts(script: list[float], *rules: dict[str, Any]) -> tuple[list[bool], list[bool]]:
    """What is said after every step, of success and of this very step; in a second episode."""
    env = SuccessWrapper(Scripted(script), tuple(SuccessRule(**rule) for rule in rules))
    said: list[Any] = []
    for _ in range(2):
        env.reset(seed=0)
        said = [env.step(np.zeros(1))[4] for _ in script]
    return [item["is_success"] for item in said], [item["success_now"] for item in said]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("end", [False, True, False, True]),
        ("ever", [False, True, True, True]),
        ("always", [False, False, False, False]),
    ],
)
def test_when_a_rule_must_hold(at: str, expected: list[bool]) -> None:
    rule = {"source": "info.height", "at": at, "above": 1.0}
    said, now = verdicts([0.5, 1.0, 0.9, 2.0], rule)
    assert said == expected
    assert now == [False, True, False, True]


def test_always_is_forgiven_at_the_next_reset() -> None:
    rule = {"source": "info.height", "at": "always", "above": 1.0}
    assert verdicts([2.0, 1.5], rule)[0] == [True, True]
    assert verdicts([2.0, 0.5, 2.0], rule)[0] == [True, False, False]


def test_bounds_are_inclusive_and_all_rules_must_hold() -> None:
    rules = (
        {"source": "info.height", "at": "end", "above": 1.0, "below": 2.0},
        {"source": "observation[0]", "at": "always", "below": 6.0},
    )
    assert verdicts([1.0, 2.0, 2.1], *rules)[0] == [True, True, False]
    assert verdicts([3.0, 1.0], *rules)[0] == [False, False]
    assert verdicts([3.0, 1.0], *rules)[1] == [False, True]


def test_of_several_numbers_the_length_counts_and_a_difference_is_a_distance() -> None:
    length = {"source": "observation[0:2]", "below": 5.0}
    assert verdicts([1.0, 1.01], length)[0] == [True, False]
    apart = {"source": "observation[0:2]", "minus": "observation[2:4]", "above": 4.9, "below": 5.1}
    assert verdicts([1.0, 2.0], apart)[0] == [True, False]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{source: qpos}", "success_when.0 is .* should have a bound: above, below or both"),
        ("{source: qpos, above: 2, below: 1}", "should have above at most as large as below"),
        ("{source: qpos, above: high}", "env.success_when.0.above is 'high', but it should be a"),
        ("{source: qpos, above: inf}", "success_when.0.above is inf, but it should be a finite"),
        ("{source: qpos, above: 1, at: once}", "success_when.0.at is 'once', but it should be 'en"),
        ("{above: 1}", "env.success_when.0.source is missing"),
        ("{source: qpos, over: 1}", "env.success_when.0.over is not a setting of env.success_when"),
        ("[]", "env.success_when is .*, but it should have at least one rule"),
    ],
)
def test_a_bad_rule_is_one_sentence(rule: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_settings(
            "env=gym", "env.id=Reacher-v5", "env.description=x", f"env.success_when={rule}"
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("source: info.nothing", "env.success_when.0 reads 'info.nothing', which the environment"),
        ("source: body.tail", "env.success_when.0 reads 'body.tail', which the environment does"),
        ("source: 'qpos[7]'", "env.success_when.0 reads beyond qpos, which has 4 numbers"),
        (
            "source: 'qpos[-1]'",
            "success_when.0.source is 'qpos\\[-1\\]', but it must look like obs",
        ),
        ("source: qpos, minus: 'x y['", "success_when.0.minus is 'x y\\[', but it must look like"),
        ("source: qpos, minus: qvel, below: 1", ""),
        (
            "source: qpos, minus: body.target",
            "subtracts 3 numbers \\(body.target\\) from 4 \\(qpos",
        ),
    ],
)
def test_what_the_environment_does_not_deliver_is_found_when_the_task_is_built(
    rule: str, message: str
) -> None:
    bound = "" if "below" in rule else ", above: 1"
    settings = load_settings(
        "env=gym",
        "env.id=Reacher-v5",
        "env.description=x",
        f"env.success_when={{{rule}{bound}}}",
    )
    if not message:
        assert build_task(settings.env).success_key == "is_success"
        return
    with pytest.raises(TaskError, match=message) as caught:
        build_task(settings.env)
    assert "\n" not in str(caught.value)


def test_the_evaluator_counts_by_the_rules() -> None:
    task = load_task(
        "env=gym",
        "env.id=Pendulum-v1",
        "env.description=x",
        "env.max_episode_steps=30",
        "env.success_when={source: 'observation[2]', at: ever, above: 3.0}",
    )
    assert (task.success_key, task.fitness_kind) == ("is_success", "success")
    episodes, played = run_episodes(task, lambda seen: np.zeros(1, np.float32), range(12))
    speeds = [item.next_state[:, 2].max() for item in played]
    assert episodes.successes == [speed >= 3.0 for speed in speeds]
    assert 0 < sum(episodes.successes) < 12
