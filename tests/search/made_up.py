"""Made-up trials, for what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewardsmith.evaluation import fitness, scores
from rewardsmith.types import (
    Candidate,
    Checkpoint,
    Episodes,
    Evaluation,
    Fault,
    RewardFunction,
    Status,
    Trial,
)

SOURCE = """def compute_reward(state, action, next_state):
    near = 2.0 * np.exp(-gap)
    effort = -0.1 * np.sum(action**2, axis=-1)
    return near + effort, {"near": near, "effort": effort}
"""
SECRET_RETURN = 123.456


def look(
    step: int, success: float | None, components: dict[str, float], **changes: Any
) -> Checkpoint:
    """A look at four episodes of 50 steps; components vary by a tenth around their means."""
    values = {
        "own_return": 50 * sum(components.values()),
        "extremes": {name: (mean - 0.1, mean + 0.1) for name, mean in components.items()},
        "episodes": 4,
        **changes,
    }
    return Checkpoint(step, success, components=components, episode_length=50.0, **values)


def curve(
    successes: Sequence[float | None], **components: Sequence[float]
) -> tuple[Checkpoint, ...]:
    """Looks after 100, 200, … steps."""
    return tuple(
        look(100 * (place + 1), success, {name: item[place] for name, item in components.items()})
        for place, success in enumerate(successes)
    )


def episodes(successes: int, of: int, lengths: int = 50) -> Episodes:
    """Ranking episodes with so many successes."""
    return Episodes(
        [place < successes for place in range(of)], [SECRET_RETURN] * of, [lengths] * of
    )


def evaluated(*solved: int, of: int = 15, first: int = 0, early: float = 0.5) -> Evaluation:
    """An evaluation of trainings, numbered from `first`, that solved so many of their episodes."""
    played = tuple(episodes(count, of) for count in solved)
    return Evaluation(
        Status.OK,
        fitness("success", played),
        scores("success", played),
        tuple(curve([early], near=[1.0]) for _ in solved),
        episodes=played,
        trainings=tuple(range(first, first + len(solved))),
    )


def trial(label: str, evaluation: Evaluation) -> Trial:
    """A candidate with an evaluation, by its label."""
    iteration, index = map(int, label.split("/"))
    return Trial(Candidate(iteration, index, RewardFunction("")), evaluation)


def trained(
    curves: Sequence[tuple[Checkpoint, ...]],
    played: Sequence[Episodes],
    kind: str = "success",
    label: tuple[int, int] = (1, 0),
    source: str = SOURCE,
    **changes: Any,
) -> Trial:
    """A candidate that was trained."""
    candidate = Candidate(
        *label, RewardFunction(source), reply=f"A thought.\n```python\n{source}```\n", **changes
    )
    measured = fitness(kind, played)
    return Trial(
        candidate,
        Evaluation(
            Status.OK, measured, scores(kind, played), tuple(curves), episodes=tuple(played)
        ),
    )


def failed(label: tuple[int, int], fault: Fault) -> Trial:
    """A candidate that was not."""
    return Trial(
        Candidate(*label, None, reply="no", fault=fault), Evaluation(fault.status, fault=fault)
    )
