"""Compares a run that was replayed with the run that it was recorded in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rewardsmith.config import recorded
from rewardsmith.errors import ResultsError
from rewardsmith.results import RunDirectory
from rewardsmith.search.base import rank
from rewardsmith.settings import ExecutorSettings, Settings
from rewardsmith.summary import final_trials
from rewardsmith.types import Fitness, Trial

REPLAY = "rewardsmith.llm.replay.ReplayProvider"
_NOTHING = "–"
ORDER, WINNER = "order of the candidates", "winner"


@dataclass(frozen=True)
class Difference:
    """One thing that came out otherwise.

    Attributes:
        what: was compared.
        recorded: what it was.
        replayed: what it is now.
    """

    what: str
    recorded: str
    replayed: str


def replay_settings(run: RunDirectory) -> Settings:
    """The configuration of a run as it ended, but answered from its record, on this machine.

    A new run with it lands beside the old one.

    Raises:
        ResultsError: the run did not come to its end, so there is nothing to compare with.
    """
    if not run.summary_file.is_file():
        raise ResultsError(
            f"{run.root} is not finished, so it has no ranking to compare with: go on with it "
            f"(experiment.resume={run.root}) first."
        )
    settings = recorded(run.config_file, run.earlier_overrides())
    llm = {"target": REPLAY, "provider": "replay", "replay": str(run.root), "key_required": False}
    return settings.model_copy(
        update={
            "llm": settings.llm.model_copy(update=llm),
            "experiment": settings.experiment.model_copy(update={"resume": None}),
            "executor": ExecutorSettings(),  # here, wherever the run was
            "paths": settings.paths.model_copy(update={"results": str(run.root.parent)}),
        }
    )


def differences(recorded: RunDirectory, replayed: RunDirectory) -> list[Difference]:
    """What a replay came to otherwise: order, winner, and every number of the result.

    Raises:
        ResultsError: a file of one of them is damaged.
    """
    return list(_compare(_outcome(recorded), _outcome(replayed)))


def _compare(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    for what in dict.fromkeys([*before, *after]):
        pair = before.get(what, _NOTHING), after.get(what, _NOTHING)
        if pair[0] != pair[1]:
            yield Difference(what, *pair)


def _outcome(run: RunDirectory) -> dict[str, str]:
    """What a run came to, by what it is."""
    trials, summary = final_trials(run), run.read_summary() or {}
    best = summary.get("best") or {}
    return {
        ORDER: " ".join(trial.candidate.label for trial in rank(trials)),
        WINNER: str(best.get("candidate", _NOTHING)),
        **{trial.candidate.label: _trial_text(trial) for trial in trials},
        "winner as the result has it": _fitness_text(best.get("fitness")),
        "winner on test episodes": _fitness_text(summary.get("test")),
        **{
            f"headline: {', '.join(row['names'])}": _fitness_text(row["fitness"])
            for row in summary.get("headline") or []
        },
    }


def _trial_text(trial: Trial) -> str:
    if trial.evaluation.fitness is None:
        return trial.evaluation.status.value
    return _exactly(trial.evaluation.fitness)


def _fitness_text(values: Mapping[str, Any] | None) -> str:
    return _NOTHING if values is None else _exactly(Fitness(**values))


def _exactly(fitness: Fitness) -> str:
    """More digits than are shown elsewhere: here what is hidden would count."""
    return f"{fitness.mean:.6g} [{fitness.low:.6g}, {fitness.high:.6g}]"


def changed_versions(recorded: RunDirectory, replayed: RunDirectory) -> list[str]:
    """What ran another version, or elsewhere: possible reasons of differences."""
    before, after = (_versions(run.read_record()) for run in (recorded, replayed))
    return [
        f"{name} {before.get(name, _NOTHING)} → {after.get(name, _NOTHING)}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def _versions(record: Mapping[str, Any]) -> dict[str, str]:
    own = {name: record.get(name) for name in ("rewardsmith", "python", "platform")}
    packages = record.get("versions")
    found = {**own, **(packages if isinstance(packages, dict) else {})}
    return {name: str(version) for name, version in found.items() if version is not None}
