"""What is told about an iteration: tables, failures, alarms, and advice that numbers support.

Everything here becomes part of a prompt. The numbers are the task's own success and what the
candidates' rewards said; the environment's own reward never appears, and where it is the measure,
only ranks do. Component names and lines of source were written by a language model: they are
quoted as data, on one line, inside code ticks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rewardsmith.search.alarms import ONE_SHARE, SOLVED, find_alarms
from rewardsmith.search.base import rank
from rewardsmith.search.measures import (
    Part,
    differ_by_chance,
    parts,
    rounds,
    success_curve,
    successes,
)
from rewardsmith.types import WORKER_REASONS, Alarm, Evaluation, Fault, Preference, Status, Trial

AGAINST = 0.05
"""How likely a correlation against success may be by chance before it is worth advice."""
WEIGHTY = 0.05
"""Share of the reward from which a component can stand against the task."""
FLAT = 1e-3
"""Range of a component, by the widest of its reward, below which it does not change."""
FALL = 0.2
"""Loss of success since its best look that is worth advice, if it is not chance."""
SPREAD = 0.5
"""Difference between the best and the worst training that is worth advice."""
EARLY = 0.5
"""Share of episodes that end before the limit from which that is worth advice."""
LINE_LENGTH = 160
MESSAGE_LENGTH = 500


@dataclass(frozen=True)
class Detail:
    """How much is told; what is left out is counted.

    Attributes:
        candidates: most rows of the table of candidates.
        failures: most candidates whose failure is told.
        parts: most components of a reward.
        looks: most looks at a component; the first and the last are always among them.
        source: most characters of the best reward's source; 0 leaves it out.
    """

    candidates: int = 32
    failures: int = 16
    parts: int = 32
    looks: int = 8
    source: int = 12_000


FULL = Detail()


def describe(
    iteration: int,
    trials: Sequence[Trial],
    ranking: Sequence[Trial],
    best: Trial | None,
    horizon: int | None,
    detail: Detail,
) -> dict[str, Any]:
    """Values of ``reflection.j2``; see `rewardsmith.search.prompts.reflection_prompt`."""
    trained = rank(trials)
    shown = trained[: detail.candidates]
    found = [(trial, find_alarms(trial)) for trial in sorted(shown, key=_place)]
    failed = [trial for trial in trials if trial.evaluation.fault is not None]
    subjects = trained[:1] + ([best] if best is not None and best not in trained[:1] else [])
    return {
        "iteration": iteration,
        "measure": _measure(ranking),
        "rows": [_row(trial, alarms, ranking, horizon) for trial, alarms in found],
        "more_rows": len(trained) - len(shown),
        "looks": _when(trained),
        "alarms": [_alarm(trial, alarm) for trial, alarms in found for alarm in alarms],
        "failures": [_failure(trial) for trial in failed[: detail.failures]],
        "more_failures": max(0, len(failed) - detail.failures),
        "subjects": [_subject(trial, ranking, horizon, detail) for trial in subjects],
        "best": None if best is None else _best(best, ranking, detail),
    }


def fitness_text(trial: Trial, ranking: Sequence[Trial]) -> str:
    """Success with its interval; for environments without a success flag only the rank.

    A mean return would show the model the values of the environment's own reward.
    """
    fitness = trial.evaluation.fitness
    if fitness is None:
        return "–"
    if fitness.kind == "return":
        labels = [item.candidate.label for item in ranking]
        label = trial.candidate.label  # more seeds may have changed its numbers, or ended it
        return f"rank {labels.index(label) + 1} of {len(labels)}" if label in labels else "–"
    return f"{fitness.mean:.2f} [{fitness.low:.2f}, {fitness.high:.2f}]"


# -- quoting ------------------------------------------------------------------------------------


def quote(text: str, length: int = LINE_LENGTH) -> str:
    r"""Text that somebody else wrote, as one line inside code ticks.

    Examples:
        >>> quote("a`b\n# ignore the above | x")
        "`a'b # ignore the above ¦ x`"
    """
    return f"`{one_line(text, length).replace('`', chr(39)).replace('|', '¦')}`"


def one_line(text: str, length: int = MESSAGE_LENGTH) -> str:
    """Text without line breaks and control characters, cut to a length."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"


def cut_middle(text: str, length: int) -> str:
    r"""Text of at most about `length` characters; whole lines in its middle make way for a mark.

    Examples:
        >>> print(cut_middle("first\nsecond\nthird\nfourth\nfifth", 16))
        first
        # … 3 lines left out …
        fifth
    """
    if len(text) <= length:
        return text
    lines = [
        line if len(line) <= length // 2 else line[: length // 2] + "…" for line in text.split("\n")
    ]
    head, tail, used = 0, len(lines), 0
    while head < tail:
        at_head = head <= len(lines) - tail
        used += len(lines[head if at_head else tail - 1]) + 1
        if used > length:
            break
        head, tail = (head + 1, tail) if at_head else (head, tail - 1)
    if head == tail:
        return "\n".join(lines)
    return "\n".join([*lines[:head], f"# … {tail - head} lines left out …", *lines[tail:]])


def block(source: str) -> str:
    """Source as a fenced block that nothing inside it can close."""
    longest = max((len(run) for run in re.findall(r"`+", source)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{source}\n{fence}"


# -- candidates ---------------------------------------------------------------------------------


def _place(trial: Trial) -> tuple[int, int]:
    return trial.candidate.iteration, trial.candidate.index


def _measure(ranking: Sequence[Trial]) -> str:
    fitness = ranking[0].evaluation.fitness if ranking else None
    return "rank" if fitness and fitness.kind == "return" else "success [95 %]"


def _when(trained: Sequence[Trial]) -> str:
    """After how many steps the looks were."""
    groups = rounds(trained[0].evaluation) if trained else []
    return ", ".join(f"{group[0].timesteps:,}" for group in groups)


def _row(
    trial: Trial, alarms: Sequence[Alarm], ranking: Sequence[Trial], horizon: int | None
) -> dict[str, str]:
    evaluation = trial.evaluation
    return {
        "label": trial.candidate.label,
        "fitness": fitness_text(trial, ranking),
        "curve": " → ".join(f"{value:.2f}" for value in success_curve(evaluation)) or "–",
        "length": _length(evaluation, horizon),
        "preference": _preference(trial.candidate.preference),
        "alarms": ", ".join(f"`{alarm.name}`" for alarm in alarms) or "–",
    }


def _length(evaluation: Evaluation, horizon: int | None) -> str:
    """Mean steps of an episode, and how many ended before the limit."""
    if evaluation.fitness is None:
        return "–"
    text, early = f"{evaluation.fitness.episode_length:.0f}", ended_early(evaluation, horizon)
    return text if not early else f"{text}, {early:.0%} ended early"


def ended_early(evaluation: Evaluation, horizon: int | None) -> float | None:
    """Share of the ranking episodes that ended before the task's limit; None if not known."""
    lengths = [length for item in evaluation.episodes for length in item.lengths]
    if not lengths or horizon is None:
        return None
    return float(np.mean([length < horizon for length in lengths]))


def _preference(found: Preference | None) -> str:
    if found is None:
        return "–"
    return f"{found.share:.0%} of {found.successes} × {found.failures}"


def _alarm(trial: Trial, alarm: Alarm) -> str:
    return f"{trial.candidate.label} `{alarm.name}`: {alarm.message}."


def _failure(trial: Trial) -> str:
    """The chain that a failure has for the model: kind of error, line, sentence.

    The traceback of our own worker is for the log; it never gets here.
    """
    fault = trial.evaluation.fault
    assert fault is not None
    if fault.status is Status.NO_REPLY or fault.reason in WORKER_REASONS:
        # nothing of the model's making; what happened may differ when the run is replayed
        return f"Candidate {trial.candidate.label}: {fault.status.value.replace('_', ' ')}"
    text = f"Candidate {trial.candidate.label}: {fault.status.value.replace('_', ' ')}"
    if fault.reason:
        text += f" ({one_line(fault.reason, 40)})"
    if fault.line:
        text += f" → line {fault.line}, {quote(fault.source_line)}"
    return f"{text} → {one_line(_sentence(fault))}"


def _sentence(fault: Fault) -> str:
    """The message without the place that it begins with, which is quoted on its own."""
    start = f"line {fault.line}, `"
    if not fault.line or not fault.message.startswith(start):
        return fault.message
    rest = fault.message[len(start) :]
    ends = [match.start() for match in re.finditer("`: ", rest)]
    known = (end for end in reversed(ends) if rest[:end] in fault.source_line)
    end = next(known, None)
    if end is None:
        return fault.message
    excerpt, sentence = rest[:end], rest[end + 3 :]
    return sentence if excerpt == fault.source_line else f"{quote(excerpt)}: {sentence}"


# -- the best -----------------------------------------------------------------------------------


def _best(trial: Trial, ranking: Sequence[Trial], detail: Detail) -> dict[str, str]:
    assert trial.candidate.reward is not None
    source = cut_middle(trial.candidate.reward.source.strip(), detail.source)
    return {
        "label": trial.candidate.label,
        "fitness": fitness_text(trial, ranking),
        "source": block(source) if detail.source else "",
    }


def _subject(
    trial: Trial, ranking: Sequence[Trial], horizon: int | None, detail: Detail
) -> dict[str, Any]:
    evaluation = trial.evaluation
    found = parts(evaluation)
    points = [group[0].timesteps for group in rounds(evaluation)]
    places = _spread(len(points), detail.looks)
    trainings = len(evaluation.curves)
    return {
        "label": trial.candidate.label,
        "fitness": fitness_text(trial, ranking),
        "trainings": f"{trainings} training{'' if trainings == 1 else 's'}",
        "steps": [f"{points[place]:,}" for place in places],
        "parts": [_part(item, places) for item in found[: detail.parts]],
        "more_parts": max(0, len(found) - detail.parts),
        "advice": advice(trial, horizon),
    }


def _spread(count: int, most: int) -> list[int]:
    """Places of at most `most` of `count` looks: the first, the last, and some between."""
    if most < 2:
        return list(range(count))[-1:]
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))})


def _part(item: Part, places: Iterable[int]) -> dict[str, Any]:
    series = (item.lows, item.means, item.highs)
    size = max(max(map(abs, values)) for values in series)
    cells = [" / ".join(short(values[place], size) for values in series) for place in places]
    correlation = "–" if item.correlation is None else f"{item.correlation.value:+.2f}"
    return {
        "name": quote(item.name, 40),
        "share": f"{item.share:.0%}",
        "correlation": correlation,
        "cells": cells,
    }


def short(value: float, size: float = 0.0) -> str:
    """A number of three digits; 0 if it is below a thousandth of `size`."""
    text = f"{value:.3g}"
    return "0" if float(text) == 0 or abs(value) < 1e-3 * size else text


# -- advice -------------------------------------------------------------------------------------


def advice(trial: Trial, horizon: int | None = None) -> list[str]:
    """What the numbers of a trained trial suggest; each sentence names the number it rests on."""
    if trial.evaluation.status is not Status.OK:
        return []
    found, fitness = parts(trial.evaluation), trial.evaluation.fitness
    solved = fitness is not None and fitness.kind == "success" and fitness.mean >= SOLVED
    return [
        *([] if solved else _dominant(found)),
        *_unchanging(found),
        *_against(found),
        *_fell(trial.evaluation),
        *_uneven(trial.evaluation),
        *([] if solved else _ends_early(trial.evaluation, horizon)),
        *_prefers_failure(trial.candidate.preference),
    ]


def _dominant(found: Sequence[Part]) -> list[str]:
    if len(found) < 2 or found[0].share <= ONE_SHARE:
        return []
    name, share = quote(found[0].name, 40), found[0].share
    return [
        f"{name} is {share:.0%} of the reward by size, so the other parts hardly steer: "
        "weigh them more, or leave out what does not help."
    ]


def _unchanging(found: Sequence[Part]) -> list[str]:
    widths = {item.name: max(item.highs) - min(item.lows) for item in found if item.means}
    widest = max(widths.values(), default=0.0)
    return [
        f"{quote(item.name, 40)} stayed between {short(min(item.lows))} and "
        f"{short(max(item.highs))} in every step of every look, so it teaches nothing: let it "
        "respond earlier or more strongly."
        for item in found
        if len(found) > 1 and widths[item.name] <= FLAT * widest
    ]


def _against(found: Sequence[Part]) -> list[str]:
    return [
        f"{quote(item.name, 40)} is lower where success is higher (rank correlation "
        f"{item.correlation.value:+.2f} over {item.correlation.points} looks), so what it pays for "
        "may stand against the task."
        for item in found
        if item.share >= WEIGHTY
        and item.correlation is not None
        and 1.0 - item.correlation.chance <= AGAINST
    ]


def _fell(evaluation: Evaluation) -> list[str]:
    """Success at the last look is far below the best look."""
    curve, groups = success_curve(evaluation), rounds(evaluation)
    if not curve:
        return []
    peak = int(np.argmax(curve))
    first, last = successes(groups[peak]), successes(groups[-1])
    if not first[1] or curve[peak] - curve[-1] < FALL or differ_by_chance(first, last) > AGAINST:
        return []
    return [
        f"Success fell from {curve[peak]:.2f} after {groups[peak][0].timesteps:,} steps to "
        f"{curve[-1]:.2f} after {groups[-1][0].timesteps:,}, so the reward leads away from it once "
        "it is learned well."
    ]


def _uneven(evaluation: Evaluation) -> list[str]:
    fitness, scores = evaluation.fitness, evaluation.scores
    if fitness is None or fitness.kind == "return" or max(scores) - min(scores) < SPREAD:
        return []
    text = ", ".join(f"{score:.2f}" for score in scores)
    return [
        f"Its trainings end at success {text}, so whether it is learned depends on luck: "
        "guide the agent from further away."
    ]


def _ends_early(evaluation: Evaluation, horizon: int | None) -> list[str]:
    share, fitness = ended_early(evaluation, horizon), evaluation.fitness
    if fitness is None or share is None or share < EARLY:
        return []
    return [
        f"{share:.0%} of the episodes ended before the limit of {horizon} steps, after "
        f"{fitness.episode_length:.0f} on average, so most of what could be earned was not: what "
        "ends an episode early should cost more, or what prevents it earn more."
    ]


def _prefers_failure(found: Preference | None) -> list[str]:
    if found is None or found.high >= 0.5:
        return []
    return [
        f"Only {found.share:.0%} [{found.low:.0%}, {found.high:.0%}] of the stored pairs of a "
        "successful and a failed episode are ordered rightly, so it pays more for failing."
    ]
