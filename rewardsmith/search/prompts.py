"""Fill in the templates of `rewardsmith.prompts`.

What goes in is chosen here with care: the task in words, its fields, our own sentences on what
happened, and numbers. Never the environment's own reward, its values or its code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np

from rewardsmith.reward.wire import MAX_COMPONENTS
from rewardsmith.search.reflection import FULL, Detail, describe, short
from rewardsmith.search.reflection import fitness_text as fitness_text
from rewardsmith.tasks.task import RandomPlay, Task
from rewardsmith.types import Fault, Field, Trial

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("rewardsmith", "prompts"),
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=False,
    autoescape=False,
)
_UNKNOWN_SUCCESS = "The environment itself reports at the end of an episode whether it was solved."
_UNKNOWN_SCORE = (
    "Trained agents are ranked against each other by a measure that is kept from you; the "
    "description above says what is wanted."
)


def render(name: str, **values: Any) -> str:
    """Fill in one template.

    Raises:
        jinja2.UndefinedError: a variable is missing.
    """
    return _TEMPLATES.get_template(f"{name}.j2").render(**values).strip() + "\n"


def system_prompt() -> str:
    """Who the model is asked to be."""
    return render("system")


def task_prompt(task: Task, play: RandomPlay, number: int, count: int) -> str:
    """The task, its fields and the contract, for request `number` of `count`."""
    settings = task.settings
    unknown = _UNKNOWN_SUCCESS if task.success_key else _UNKNOWN_SCORE
    return render(
        "task",
        description=settings.description.strip(),
        success=(settings.success or unknown).strip(),
        action_width=task.layout.action_width,
        action=task.action,
        horizon=task.horizon,
        fields=[
            {
                "name": item.name,
                "shape": item.shape,
                "unit": item.unit or "–",
                "meaning": item.meaning,
                "range": _seen(item, play),
            }
            for item in task.layout.fields
        ],
        documentation=task.documentation,
        max_components=MAX_COMPONENTS,
        variant=render("variant", number=number, count=count) if count > 1 else "",
    )


def repair_prompt(fault: Fault) -> str:
    """What is wrong with a reply, in words of ours."""
    return render("repair", status=fault.status.value.replace("_", " "), message=fault.message)


def reflection_prompt(
    iteration: int,
    trials: Sequence[Trial],
    ranking: Sequence[Trial],
    best: Trial | None,
    horizon: int | None = None,
    detail: Detail = FULL,
    asks: bool = True,
) -> str:
    """What became of an iteration's candidates, and the best reward so far.

    Args:
        iteration: its number.
        trials: of this iteration, in order.
        ranking: all trained trials so far, best first; gives ranks where values must stay hidden.
        best: the best trial so far.
        horizon: most steps of an episode, if there is a limit.
        detail: how much is told.
        asks: whether it ends by asking for a better reward.
    """
    values = describe(iteration, trials, ranking, best, horizon, detail)
    return render("reflection", **values, asks=asks)


def _seen(item: Field, play: RandomPlay) -> str:
    """Range of each column of a field over random play, shortened where there are many."""
    values = np.concatenate([play.transitions.state, play.transitions.next_state])
    values = values[:, item.start : item.stop]
    low, high = values.min(axis=0), values.max(axis=0)
    if len(low) > 6:
        return f"{short(low.min())} … {short(high.max())}"
    return ", ".join(f"{short(a)} … {short(b)}" for a, b in zip(low, high, strict=True))
