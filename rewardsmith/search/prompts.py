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
from rewardsmith.tasks.task import RandomPlay, Task
from rewardsmith.types import Evaluation, Fault, Field, Status, Trial

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
    iteration: int, trials: Sequence[Trial], ranking: Sequence[Trial], best: Trial | None
) -> str:
    """What became of an iteration's candidates, and the best reward so far.

    Args:
        iteration: its number.
        trials: of this iteration, in order.
        ranking: all trained trials so far, best first; gives ranks where values must stay hidden.
        best: the best trial so far.
    """
    fitness = best.evaluation.fitness if best else None
    trained = [item for item in trials if item.evaluation.status is Status.OK]
    faults = [(item.candidate.label, item.evaluation.fault) for item in trials]
    return render(
        "reflection",
        iteration=iteration,
        measure="rank" if fitness and fitness.kind == "return" else "success rate",
        rows=[_row(item, ranking) for item in trained],
        failures=[
            {
                "label": label,
                "status": fault.status.value.replace("_", " "),
                "message": fault.message,
            }
            for label, fault in faults
            if fault is not None
        ],
        any_trained=bool(trained),
        best=None if best is None else _best(best, ranking),
    )


def _row(trial: Trial, ranking: Sequence[Trial]) -> dict[str, str]:
    evaluation = trial.evaluation
    return {
        "label": trial.candidate.label,
        "outcome": evaluation.status.value,
        "fitness": fitness_text(trial, ranking),
        "curve": _success_curve(evaluation),
        "length": f"{evaluation.fitness.episode_length:.0f}" if evaluation.fitness else "–",
    }


def fitness_text(trial: Trial, ranking: Sequence[Trial]) -> str:
    """Success with its interval; for environments without a success flag only the rank.

    A mean return would show the model the values of the environment's own reward.
    """
    fitness = trial.evaluation.fitness
    if fitness is None:
        return "–"
    if fitness.kind == "return":
        return f"rank {list(ranking).index(trial) + 1} of {len(ranking)}"
    return f"{fitness.mean:.2f} [{fitness.low:.2f}, {fitness.high:.2f}]"


def _success_curve(evaluation: Evaluation) -> str:
    points = evaluation.curves[0] if evaluation.curves else ()
    values = [f"{point.success:.1f}" for point in points if point.success is not None]
    return " → ".join(values) or "–"


def _best(trial: Trial, ranking: Sequence[Trial]) -> dict[str, Any]:
    points = trial.evaluation.curves[0] if trial.evaluation.curves else ()
    names = list(points[0].components) if points else []
    assert trial.candidate.reward is not None
    return {
        "label": trial.candidate.label,
        "fitness": fitness_text(trial, ranking),
        "source": trial.candidate.reward.source.strip(),
        "timesteps": ", ".join(str(point.timesteps) for point in points),
        "components": [
            {"name": name, "means": ", ".join(f"{point.components[name]:.3g}" for point in points)}
            for name in names
        ],
    }


def _seen(item: Field, play: RandomPlay) -> str:
    """Range of each column of a field over random play, shortened where there are many."""
    values = np.concatenate([play.transitions.state, play.transitions.next_state])
    values = values[:, item.start : item.stop]
    low, high = values.min(axis=0), values.max(axis=0)
    if len(low) > 6:
        return f"{_short(low.min())} … {_short(high.max())}"
    return ", ".join(f"{_short(a)} … {_short(b)}" for a, b in zip(low, high, strict=True))


def _short(value: float) -> str:
    text = f"{value:.3g}"
    return "0" if float(text) == 0 else text
