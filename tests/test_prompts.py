"""What a language model gets to read, and what it must never see."""

import re
from dataclasses import replace

import jinja2
import pytest

from rewardsmith.search.base import NoOptions, rank
from rewardsmith.search.greedy import Greedy
from rewardsmith.search.prompts import reflection_prompt, render, repair_prompt, task_prompt
from rewardsmith.tasks.task import build_task, play_randomly
from rewardsmith.types import (
    Candidate,
    Checkpoint,
    Evaluation,
    Fault,
    Fitness,
    RewardFunction,
    Status,
    Trial,
)
from tests.conftest import load_settings

SOURCE = "def compute_reward(state, action, next_state):\n    return a, {'a': a}\n"
TASKS = {
    "reach": ("env=reach",),
    "slide": ("env=slide",),
    "reacher": ("env=gym", "env.id=Reacher-v5", "env.description=Touch the target."),
    "hopper": ("env=gym", "env.id=Hopper-v5", "env.description=Hop forward."),
    "cartpole": ("env=gym", "env.id=CartPole-v1", "env.description=Keep the pole upright."),
    "half_cheetah": ("env=half_cheetah",),
    "hopper_stand": ("env=hopper_stand",),
    "pusher": ("env=pusher",),
    "point_maze": ("env=point_maze",),
    "hand_reach": ("env=hand_reach",),
}
SECRET_RETURN = 123.456
SECRET_BASELINE = """\
def compute_reward(state, action, next_state):
    SECRET = np.sum(action**2, axis=-1)
    return SECRET, {"SECRET": SECRET}
"""


def trial(index: int, success: float, kind: str = "success", iteration: int = 1) -> Trial:
    fitness = Fitness(kind, success, success - 0.1, success + 0.1, 50, 1, SECRET_RETURN, 50.0)
    curve = (
        Checkpoint(100, success / 2 if kind == "success" else None, 1.0, {"near": 0.25}, 50.0),
        Checkpoint(200, success if kind == "success" else None, 2.0, {"near": 0.75}, 50.0),
    )
    candidate = Candidate(iteration, index, RewardFunction(SOURCE), reply=f"```\n{SOURCE}```")
    return Trial(candidate, Evaluation(Status.OK, fitness, (success,), (curve,)))


def failed(index: int, status: Status, message: str) -> Trial:
    fault = Fault(status, "reason", message, traceback="SECRET TRACEBACK")
    return Trial(Candidate(1, index, None, fault=fault), Evaluation(status, fault=fault))


@pytest.mark.parametrize("name", TASKS)
def test_no_prompt_holds_a_human_reward_or_its_values(name: str) -> None:
    settings = load_settings("llm=builtin", *TASKS[name])
    own = settings.env.baselines
    secret = settings.env.model_copy(update={"baselines": {**own, "other": SECRET_BASELINE}})
    task = build_task(secret)
    strategy = Greedy(NoOptions(), settings, task, play_randomly(task, 0))
    kind = task.fitness_kind
    chats = [strategy.ask(1)]
    strategy.tell(1, [trial(0, 0.5, kind), trial(1, 0.9, kind), failed(2, Status.CRASHED, "x")])
    chats.append(strategy.ask(2))
    for requests in chats:
        for request in requests:
            text = "\n".join(message.content for message in request.messages)
            for human in ("reward_type", "compute_terminated", "goal_distance", "reward_dist"):
                assert human not in text
            assert not re.search(r"ctrl_cost|reward_near|healthy_reward|forward_reward", text)
            assert not re.search(r"self\.|import mujoco|def step|environment_(reward|succ)", text)
            assert not re.search(r"baseline|success_when", text)
            assert not any(source.strip() in text for source in own.values() if "def " in source)
            assert "123" not in text
            assert "SECRET" not in text


def test_without_a_success_flag_only_ranks_are_told() -> None:
    trials = [trial(0, 17.25, "return"), trial(1, 42.75, "return")]
    text = reflection_prompt(1, trials, rank(trials), rank(trials)[0])
    assert "| 1/0 | rank 2 of 2 |" in text
    assert "| 1/1 | rank 1 of 2 |" in text
    for value in ("17", "42", "43"):
        assert value not in text


def test_the_task_prompt_lists_every_field_with_shape_unit_meaning_and_range() -> None:
    settings = load_settings("llm=builtin")
    task = build_task(settings.env)
    text = task_prompt(task, play_randomly(task, 0), 1, 4)
    row = re.search(r"\| `gripper_position` \| \(N, 3\) \| m \| position of the gripper.*", text)
    assert row is not None
    low, high = re.findall(r"(-?\d\.?\d*) … (-?\d\.?\d*)", row[0])[0]
    assert 1.0 < float(low) < float(high) < 1.6
    for item in task.layout.fields:
        assert f"| `{item.name}` | {item.shape} |" in text
    assert "within 0.05 m of the target" in text
    assert "an array of 4 numbers from -1 to 1" in text
    assert "at most 50 steps" in text
    assert "request 1 of 4" in text


def test_the_contract_names_what_the_dialect_rejects() -> None:
    text = render("contract", action_width=4, max_components=32)
    for word in ("while", "try", "lambda", "global", "np.random", "axis=-1", "read-only"):
        assert word in text


def test_a_reflection_tells_success_parts_and_failures() -> None:
    trials = [trial(0, 0.4), trial(1, 0.8), failed(2, Status.REJECTED, "line 3: no `while`.")]
    text = reflection_prompt(1, trials, rank(trials), rank(trials)[0])
    assert "| 1/1 | 0.80 [0.70, 0.90] | 0.40 → 0.80 | 50 |" in text
    assert "- Candidate 1/2: rejected (reason) → line 3: no `while`." in text
    assert "best reward so far is candidate 1/1" in text
    assert SOURCE.strip() in text
    assert "| `near` | 100% | – | 0.25 / 0.25 / 0.25 | 0.75 / 0.75 / 0.75 |" in text


def test_when_every_candidate_fails_the_reflection_says_why() -> None:
    trials = [
        failed(0, Status.NO_CODE, "The reply was empty."),
        failed(1, Status.CRASHED, "It died."),
    ]
    text = reflection_prompt(1, trials, [], None)
    assert "No candidate of this iteration could be trained" in text
    assert "Candidate 1/0: no code (reason) → The reply was empty." in text
    assert "Candidate 1/1: crashed (reason) → It died." in text
    assert "Write a reward function that can be trained." in text


def test_a_repair_carries_the_sentence_and_no_traceback() -> None:
    fault = Fault(
        Status.PROBE_FAILED, "wrong_sum", "The components do not sum.", traceback="SECRET"
    )
    text = repair_prompt(fault)
    assert "(probe failed)" in text
    assert "The components do not sum." in text
    assert "SECRET" not in text


def test_a_missing_variable_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("repair", status="rejected")


def test_the_best_is_kept_unless_beaten() -> None:
    first, second = trial(0, 0.8), trial(0, 0.8, iteration=2)
    assert rank([first, second])[0] is first
    better = replace(second, evaluation=trial(0, 0.9).evaluation)
    assert rank([first, better])[0] is better


def test_of_equals_the_one_that_learned_faster_is_ahead() -> None:
    slow, fast = trial(0, 0.8), trial(1, 0.8)
    early = replace(
        fast.evaluation,
        curves=(tuple(replace(p, success=0.8) for p in fast.evaluation.curves[0]),),
    )
    assert rank([slow, replace(fast, evaluation=early)])[0].candidate.index == 1
