"""The built-in designer: always usable code, the same for the same seed, made for the task."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from rewardsmith.llm.builtin import Brief, BuiltinDesigner, Parent
from rewardsmith.llm.types import Message, Request
from rewardsmith.reward.extract import extract_code
from rewardsmith.reward.probe import probe
from rewardsmith.reward.process import RewardProcess
from rewardsmith.search.brief import build_brief
from rewardsmith.settings import SandboxSettings
from rewardsmith.tasks.task import RandomPlay, Task, build_task, play_randomly
from rewardsmith.types import Field, RewardFunction, TransitionLayout, Transitions
from tests.conftest import CFG, load_settings

GYM = ("env=gym", "env.description=x")
SHIPPED = {file.stem for file in (CFG / "env").glob("*.yaml")} - {"base", "gym"}
TASKS = {
    **{name: (f"env={name}",) for name in sorted(SHIPPED)},
    "cartpole": (*GYM, "env.id=CartPole-v1"),
    "reacher": (*GYM, "env.id=Reacher-v5"),
    "hopper": (*GYM, "env.id=Hopper-v5"),
}
MANY_SEEDS = ("point", "push", "reach", "hopper", "hand_reach", "metaworld_door_open")
CHAT = (Message("user", "anything"),)


@cache
def world(name: str) -> tuple[Task, RandomPlay, Brief]:
    task = build_task(load_settings(*TASKS[name]).env)
    play = play_randomly(task, 0)
    return task, play, build_brief(task, play, [])


@cache
def designer(seed: int) -> BuiltinDesigner:
    settings = load_settings().llm.model_copy(update={"seed": seed})
    return BuiltinDesigner(settings, {})


def design(brief: Brief, seed: int, candidate: int = 0, iteration: int = 1) -> str:
    request = Request(CHAT, iteration, candidate, brief=brief)
    source = extract_code(designer(seed % 8).complete(replace(request, attempt=seed // 8)).text)
    assert source is not None
    return source


def lines_of(source: str) -> set[str]:
    """The terms with their weights, whatever they are called."""
    return set(re.findall(r"^    \w+ = (\S+ \* \(.*)$", source, re.M))


def designs(brief: Brief, seeds: int) -> list[str]:
    """Fresh ones, and three rounds of mutations and crossovers of them."""
    found = [design(brief, seed) for seed in range(seeds)]
    parents = found
    for iteration in (2, 3, 4):
        children = []
        for seed in range(seeds // 3):
            chosen = (parents[seed % len(parents)], parents[-1 - seed % len(parents)])
            family = tuple(Parent(source, 1.0 - place) for place, source in enumerate(chosen))
            operator = ("mutation", "crossover", "")[seed % 3]
            later = replace(brief, parents=family, operator=operator)
            children.append(design(later, seed, candidate=1, iteration=iteration))
        parents = children
        found += children
    return found


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        *((name, 9) for name in TASKS),
        *(pytest.param(name, 100, marks=pytest.mark.slow) for name in MANY_SEEDS),
    ],
)
def test_designs_can_be_trained(name: str, seeds: int, sandbox: SandboxSettings) -> None:
    task, play, brief = world(name)
    found = designs(brief, seeds)
    rows, constant = play.probe, set()
    with RewardProcess(task.layout, sandbox) as process:
        for source in found:
            process.load(RewardFunction(source))
            rewards = process.evaluate(rows.state, rows.action, rows.next_state)
            if np.ptp(rewards.total) < 1e-9:
                constant.add(source)  # of things that do not move in random play; it is sent back
            assert np.abs(rewards.components).max() < 1e3, source
    for source in (found[0], found[-1]):
        fault = probe(RewardFunction(source), task.layout, rows, sandbox)
        assert (fault is not None) == (source in constant)
    assert len(constant) <= 0.1 * len(set(found)), constant
    assert len(set(found)) > seeds / 2


def test_the_same_request_gets_the_same_reply_and_another_seed_another() -> None:
    _, _, brief = world("reach")
    assert design(brief, 3) == design(brief, 3)
    assert len({design(brief, seed) for seed in range(6)}) > 2


def test_goals_are_found_among_the_fields_and_equal_fields_are_not_compared() -> None:
    _, _, brief = world("reach")
    names = {frozenset((pair.first, pair.second)) for pair in brief.pairs}
    assert frozenset(("achieved_goal", "desired_goal")) in names
    assert frozenset(("achieved_goal", "gripper_position")) not in names  # always 0 in reach
    assert not any("velocity" in name for pair in names for name in pair)
    assert brief.stages == ()


def test_the_first_candidate_varies_the_best_parent_and_keeps_most_of_it() -> None:
    _, _, brief = world("reach")
    good, bad = design(brief, 1), design(brief, 2)
    brief = replace(brief, parents=(Parent(bad, 0.0), Parent(good, 1.0)))
    for seed in range(5):
        child = lines_of(design(brief, seed, iteration=2))
        assert len(lines_of(good) - child) <= 1
        assert child != lines_of(good)


@pytest.mark.parametrize("name", ["push", "pick_and_place", "slide"])
def test_what_has_to_be_moved_is_reached_and_brought_to_the_goal(name: str) -> None:
    _, _, brief = world(name)
    (stage,) = brief.stages
    found = (stage.mover, stage.thing, stage.goal)
    assert found == ("gripper_position", "achieved_goal", "desired_goal")
    sources = [design(brief, seed) for seed in range(40)]
    reach = 'next_state["gripper_position"] - next_state["achieved_goal"]'
    bring = 'next_state["achieved_goal"] - next_state["desired_goal"]'
    staged = [source for source in sources if reach in source and bring in source]
    assert len(staged) >= 28
    assert any("behind_" in source for source in sources)
    goals = [pair for pair in brief.pairs if pair.is_goal]
    assert [(pair.first, pair.second) for pair in goals] == [("achieved_goal", "desired_goal")]


def test_behind_the_thing_is_better_than_before_it(sandbox: SandboxSettings) -> None:
    task, _, brief = world("push")
    line = next(
        line
        for seed in range(60)
        for line in design(brief, seed).splitlines()
        if line.startswith("    behind_")
    )
    name = line.split()[0]
    source = "\n".join(
        [
            "def compute_reward(state, action, next_state):",
            line,
            f'    return {name}, {{"{name}": {name}}}',
        ]
    )
    rows = np.zeros((3, task.layout.state_width))
    fields = {item.name: slice(item.start, item.stop) for item in task.layout.fields}
    for name, places in {
        "gripper_position": [(-0.1, 0, 0), (0, 0.1, 0), (0.1, 0, 0)],  # behind, beside, before
        "object_position": [(0, 0, 0)] * 3,
        "achieved_goal": [(0, 0, 0)] * 3,
        "desired_goal": [(0.2, 0, 0)] * 3,
    }.items():
        rows[:, fields[name]] = places
    with RewardProcess(task.layout, sandbox) as process:
        process.load(RewardFunction(source))
        behind, beside, before = process.evaluate(rows, np.zeros((3, 4)), rows).total
    assert behind > 0.05
    assert beside == pytest.approx(0.0, abs=1e-9)
    assert before == pytest.approx(-behind)


def test_numbers_that_a_task_names_are_preferred_to_columns() -> None:
    task, _, _ = world("hopper")
    fields = (
        Field("observation", "observation", 0, 11),
        Field("x_velocity", "observation[5]", 5, 6, scalar=True, unit="m/s"),
        Field("height", "observation[0]", 0, 1, scalar=True, unit="m"),
    )
    layout = TransitionLayout(fields, task.layout.state_width, task.layout.action_width)
    named = replace(task, layout=layout)
    brief = build_brief(named, play_randomly(named, 0), [])
    sources = "".join(design(brief, seed) for seed in range(40))
    assert 'next_state["x_velocity"]' in sources
    assert 'next_state["height"]' in sources
    assert 'state["height"][' not in sources
    for kind in ("more_", "less_", "keep_", "gain_"):
        assert kind in sources


def test_a_field_that_never_changes_is_left_out() -> None:
    task, play, _ = world("hopper")
    state = play.transitions.state.copy()
    state[:, 3] = 5.0
    still = Transitions(state, play.transitions.action, state, play.transitions.terminated)
    brief = build_brief(task, RandomPlay(still, still), [])
    assert 3 not in {item.column for item in brief.numbers}


def test_a_mutation_changes_one_thing_and_a_crossover_takes_from_both() -> None:
    _, _, brief = world("push")
    for seed in range(30):
        parents = (design(brief, seed), design(brief, seed + 30))
        lines = [lines_of(source) for source in parents]
        family = tuple(Parent(source, 1.0 - place) for place, source in enumerate(parents))
        one = design(replace(brief, parents=family[:1], operator="mutation"), seed, 3, 2)
        child = lines_of(one)
        assert child != lines[0]
        assert len(child - lines[0]) <= 1 and len(lines[0] - child) <= 1
        both = design(replace(brief, parents=family, operator="crossover"), seed, 3, 2)
        child = lines_of(both)
        assert child not in lines
        assert len(child - lines[0] - lines[1]) <= 1


def test_lines_of_others_that_cannot_stand_alone_are_not_taken_over() -> None:
    _, _, brief = world("point")
    foreign = """def compute_reward(state, action, next_state):
    gap = np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    near = 2.0 * (np.exp(-gap))
    return near, {"near": near}
"""
    for operator in ("", "mutation", "crossover"):
        later = replace(brief, parents=(Parent(foreign, 1.0),), operator=operator)
        assert "gap" not in design(later, 1, iteration=2)
