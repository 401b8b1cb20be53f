"""The candidates of a run for the page: those that are finished, and those on their way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rewardsmith.llm.exchanges import read_messages
from rewardsmith.page.code import MOST_CHARACTERS, coloured, cut, difference
from rewardsmith.page.curves import curves
from rewardsmith.page.progress import Going, Progress, labels
from rewardsmith.results import RunDirectory
from rewardsmith.search.alarms import find_alarms
from rewardsmith.types import Candidate, Evaluation, Fault, Trial


@dataclass(frozen=True)
class Entry:
    """A candidate with all that is known of it.

    Attributes:
        candidate: with its reward, if any.
        evaluation: None while it is on its way.
        going: what ``metrics.jsonl`` says, if it says anything.
    """

    candidate: Candidate
    evaluation: Evaluation | None
    going: Going | None


def entries(run: RunDirectory, trials: Sequence[Trial], progress: Progress) -> list[Entry]:
    """The finished candidates, then those on their way, in order."""
    known = {trial.candidate.label: trial for trial in trials}
    found = [
        Entry(trial.candidate, trial.evaluation, progress.candidates.get(label))
        for label, trial in known.items()
    ]
    for iteration, index in labels(progress.candidates):
        label = f"{iteration}/{index}"
        if label not in known:
            found.append(_on_its_way(run, iteration, index, progress.candidates[label]))
    return sorted(found, key=lambda item: (item.candidate.iteration, item.candidate.index))


def _on_its_way(run: RunDirectory, iteration: int, index: int, going: Going) -> Entry:
    candidate = Candidate(
        iteration,
        index,
        None,
        parents=tuple(going.parents),
        attempts=going.attempts,
        origin=going.origin,
    )
    if going.state == "asked for":
        return Entry(candidate, None, going)
    return Entry(run.read_written(candidate), None, going)


def rows(
    run: RunDirectory,
    found: Sequence[Entry],
    budget: int,
    texts: bool,
    everybody: Mapping[str, Entry],
) -> list[dict[str, Any]]:
    """What the page shows of each candidate, as plain data.

    Args:
        run: that they are of.
        found: candidates.
        budget: environment steps of one training, to tell how far one is.
        texts: with prompts and replies.
        everybody: all candidates by label, shown or not: parents may be any of them.
    """
    sources = {
        label: item.candidate.reward.source
        for label, item in everybody.items()
        if item.candidate.reward is not None
    }
    return [_row(run, item, sources, budget, texts) for item in found]


def _row(
    run: RunDirectory, item: Entry, sources: Mapping[str, str], budget: int, texts: bool
) -> dict[str, Any]:
    candidate = item.candidate
    source = sources.get(candidate.label)
    row = {
        "label": candidate.label,
        "iteration": candidate.iteration,
        "parents": list(candidate.parents),
        "origin": candidate.origin,
        "attempts": candidate.attempts,
        "preference": None if candidate.preference is None else asdict(candidate.preference),
        **_outcome(item, budget),
        "code": None if source is None else coloured(source),
        "diff": _diff(candidate, sources),
        "prompt": None,
        "reply": None,
        "left_out": [],
    }
    if texts:
        folder = run.iteration(candidate.iteration)
        row["prompt"] = [
            {**message, "content": cut(message["content"], 2 * MOST_CHARACTERS)}
            for message in read_messages(folder, candidate.index)
        ] or None
        row["reply"] = cut(candidate.reply) or None
    return row


def _outcome(item: Entry, budget: int) -> dict[str, Any]:
    evaluation, going = item.evaluation, item.going
    if evaluation is None:
        assert going is not None, "an entry has at least one of them"
        return {
            "status": going.state,
            "fault": going.fault,
            "fitness": None,
            "scores": [],
            "alarms": [],
            "curves": curves(going.curves, list(going.looks)),
            "seconds": None,
            "timesteps": going.steps,
            "progress": min(1.0, going.steps / max(budget, 1)),
        }
    trial = Trial(item.candidate, evaluation)
    return {
        "status": evaluation.status.value,
        "fault": None if evaluation.fault is None else fault(evaluation.fault),
        "fitness": None if evaluation.fitness is None else asdict(evaluation.fitness),
        "scores": list(evaluation.scores),
        "alarms": [
            {"name": alarm.name.replace("_", " "), "message": alarm.message}
            for alarm in find_alarms(trial)
        ],
        "curves": curves(evaluation.curves, evaluation.trainings),
        "seconds": round(evaluation.seconds, 1),
        "timesteps": evaluation.timesteps,
        "progress": None,
    }


def fault(found: Fault) -> dict[str, Any]:
    """A fault as plain data; of a long traceback, its end."""
    return {**asdict(found), "status": found.status.value, "traceback": found.traceback[-4000:]}


def _diff(candidate: Candidate, sources: Mapping[str, str]) -> dict[str, Any] | None:
    """What changed against the first parent, if both have code."""
    parent = next((label for label in candidate.parents if label in sources), None)
    if parent is None or candidate.label not in sources:
        return None
    lines = difference(sources[parent], sources[candidate.label])
    return {"parent": parent, "lines": lines}
