"""Trials that were never trained, and strategies built as the command line builds them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

from rewardsmith.config import find_class
from rewardsmith.llm.builtin import BuiltinDesigner
from rewardsmith.llm.types import Request
from rewardsmith.reward.extract import extract_code
from rewardsmith.search.base import Draft, Proposal, Strategy
from rewardsmith.settings import Settings, check_part
from rewardsmith.tasks.task import RandomPlay, Task, build_task, play_randomly
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

SECRET_RETURN = 73512.25
RETURNS = (48917.5, 48918.25, 48919.75)
POINT = ("env=point",)
PENDULUM = ("env=gym", "env.id=Pendulum-v1", "env.description=Swing up.")
SOURCE = """def compute_reward(state, action, next_state):
    gap = np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    near = 2.0 * np.exp(-5.0 * gap)  # steep
    return near, {"near": near}
"""


@cache
def settings(overrides: tuple[str, ...]) -> Settings:
    """A composed configuration; composing takes a while."""
    return load_settings(*overrides)


@cache
def world(overrides: tuple[str, ...]) -> tuple[Task, RandomPlay]:
    """A task and its random play, made once."""
    task = build_task(settings(overrides).env)
    return task, play_randomly(task, 0)


def build(name: str, *overrides: str, task: tuple[str, ...] = POINT) -> Strategy:
    """A shipped strategy with its shipped options."""
    composed = settings((*task, f"experiment.strategy={name}", *overrides))
    chosen = composed.strategies[name]
    kind = find_class(chosen.target)
    options = check_part(kind.Options, chosen.options, ("strategies", name))
    strategy: Strategy = kind(options, composed, *world(task))
    return strategy


def trained(
    iteration: int,
    index: int,
    success: float,
    source: str = SOURCE,
    kind: str = "success",
    proposal: Proposal | None = None,
) -> Trial:
    """A candidate with a fitness, as if it had been trained."""
    fitness = Fitness(kind, success, success - 0.1, success + 0.1, 45, 3, SECRET_RETURN, 20.0)
    shown = success if kind == "success" else None
    curve = tuple(Checkpoint(steps, shown, 1.0, {"near": 0.25}, 20.0) for steps in (100, 200))
    origin = proposal.origin if isinstance(proposal, Draft) else "provider"
    parents = proposal.parents if proposal else ()
    candidate = Candidate(iteration, index, RewardFunction(source), source, parents, origin=origin)
    return Trial(candidate, Evaluation(Status.OK, fitness, (success,), (curve,)))


def failed(proposal: Proposal, status: Status = Status.DIVERGED) -> Trial:
    """A candidate that came to nothing."""
    fault = Fault(status, "reason", "It came to nothing.", traceback="SECRET")
    source = proposal.source if isinstance(proposal, Draft) else SOURCE
    candidate = Candidate(
        proposal.iteration,
        proposal.candidate,
        RewardFunction(source),
        source,
        proposal.parents,
        origin=proposal.origin if isinstance(proposal, Draft) else "provider",
    )
    return Trial(candidate, Evaluation(status, fault=fault))


def source_of(proposal: Proposal) -> str:
    """What a proposal turns into: its own source, or what the built-in designer answers."""
    if isinstance(proposal, Draft):
        return proposal.source
    source = extract_code(BuiltinDesigner(settings(POINT).llm, {}).complete(proposal).text)
    assert source is not None
    return source


def trials_of(proposals: Sequence[Proposal], kind: str = "success") -> list[Trial]:
    """What became of proposals, by chance but always the same: some fail, the rest have fitness."""
    trials = []
    for proposal in proposals:
        chance = random.Random(f"{proposal.iteration}/{proposal.candidate}")
        if chance.random() < 0.25:
            trials.append(failed(proposal, chance.choice([Status.REJECTED, Status.DUPLICATE])))
            continue
        fitness = chance.random() if kind == "success" else chance.choice(RETURNS)
        source = source_of(proposal)
        trials.append(
            trained(proposal.iteration, proposal.candidate, fitness, source, kind, proposal)
        )
    return trials


def text_of(request: Request) -> str:
    """All that a language model would read."""
    return "\n".join(message.content for message in request.messages)
