"""The built-in designer: always usable code, the same for the same seed."""

import pytest

from rewardsmith.llm.builtin import Brief, BuiltinDesigner, Parent
from rewardsmith.llm.types import Message, Request
from rewardsmith.reward.extract import extract_code
from rewardsmith.reward.probe import probe
from rewardsmith.search.brief import build_brief
from rewardsmith.tasks.task import build_task, play_randomly
from rewardsmith.types import RewardFunction
from tests.conftest import load_settings

TASKS = {
    "point": ("env=point",),
    "reach": ("env=reach",),
    "pick_and_place": ("env=pick_and_place",),
    "cartpole": ("env=gym", "env.id=CartPole-v1", "env.description=x"),
    "reacher": ("env=gym", "env.id=Reacher-v5", "env.description=x"),
}
CHAT = (Message("user", "anything"),)


def design(brief: Brief, seed: int, candidate: int = 0, iteration: int = 1) -> str:
    settings = load_settings("llm=builtin", f"llm.seed={seed}").llm
    request = Request(CHAT, iteration, candidate, brief=brief)
    source = extract_code(BuiltinDesigner(settings, {}).complete(request).text)
    assert source is not None
    return source


@pytest.mark.parametrize("name", TASKS)
def test_every_design_can_be_trained(name: str) -> None:
    settings = load_settings("llm=builtin", *TASKS[name])
    task = build_task(settings.env)
    play = play_randomly(task, 0)
    brief = build_brief(task, play, [])
    first = [design(brief, seed, candidate) for seed in range(2) for candidate in range(3)]
    parents = tuple(Parent(source, place / 5) for place, source in enumerate(first))
    later = Brief(brief.pairs, brief.movements, brief.columns, parents)
    second = [design(later, 7, candidate, iteration=2) for candidate in range(6)]
    sandbox = load_settings("sandbox.allow_weaker=true").sandbox
    for source in [*first, *second]:
        fault = probe(RewardFunction(source), task.layout, play.probe, sandbox)
        assert fault is None or fault.reason == "constant", (fault, source)
    assert len(set(first)) > 1


def test_the_same_request_gets_the_same_reply_and_another_seed_another() -> None:
    settings = load_settings("llm=builtin", "env=reach")
    task = build_task(settings.env)
    brief = build_brief(task, play_randomly(task, 0), [])
    assert design(brief, 3) == design(brief, 3)
    assert len({design(brief, seed) for seed in range(6)}) > 2


def test_goals_are_found_among_the_fields_and_equal_fields_are_not_compared() -> None:
    task = build_task(load_settings("env=reach").env)
    brief = build_brief(task, play_randomly(task, 0), [])
    names = {frozenset((pair.first, pair.second)) for pair in brief.pairs}
    assert frozenset(("achieved_goal", "desired_goal")) in names
    assert frozenset(("achieved_goal", "gripper_position")) not in names  # always 0 in reach
    assert not any("velocity" in name for pair in names for name in pair)


def test_the_first_candidate_varies_the_best_parent_and_keeps_most_of_it() -> None:
    task = build_task(load_settings("env=reach").env)
    brief = build_brief(task, play_randomly(task, 0), [])
    good, bad = design(brief, 1), design(brief, 2)
    brief = Brief(
        brief.pairs, brief.movements, brief.columns, (Parent(bad, 0.0), Parent(good, 1.0))
    )
    lines = set(good.splitlines())
    for seed in range(5):
        child = set(design(brief, seed, iteration=2).splitlines())
        assert len(lines - child) <= 3  # one term, the sum and the return
