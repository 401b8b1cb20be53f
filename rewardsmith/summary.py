"""What a run came to: the result, and the same as plain data and as a card."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jinja2

from rewardsmith.errors import ProviderError
from rewardsmith.evaluation import merge, training_seed
from rewardsmith.headline import WINNER, Entrant, human_normalised, improvement
from rewardsmith.llm.types import Usage
from rewardsmith.results import RunDirectory
from rewardsmith.reward.lockdown import LAYERS
from rewardsmith.search.alarms import find_alarms
from rewardsmith.search.reflection import block
from rewardsmith.search.screens import savings
from rewardsmith.settings import Settings
from rewardsmith.tasks.task import Task
from rewardsmith.types import PROVIDER, Candidate, Evaluation, Fitness, Status, Trial

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("rewardsmith", "templates"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,
)


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Attributes:
        trials: all of them, in order.
        best: None if no reward could be trained.
        entrants: the winner and what it is compared with, trained from scratch on fresh seeds and
            measured on the test episodes; none without `final_seeds`.
        test: fitness on the test episodes, which nothing was selected by: of the winner's fresh
            trainings, or of the search's own best policy.
        usage: what the provider cost, earlier parts of a resumed run included.
        seconds: wall time; of a resumed run with its earlier parts that came to their end.
        timesteps: environment steps that were taken in the search.
        stopped: why the search ended early, None if it did not.
    """

    trials: tuple[Trial, ...]
    best: Trial | None
    entrants: tuple[Entrant, ...]
    test: Fitness | None
    usage: Usage
    seconds: float
    timesteps: int
    stopped: ProviderError | None = None


def summarize(result: Result, settings: Settings, record: Mapping[str, Any]) -> dict[str, Any]:
    """The result as plain data; `record` is what ``run.json`` says."""
    searched = [trial.evaluation for trial in result.trials]
    compared = [item.evaluation for item in result.entrants if item.evaluation is not None]
    return {
        "best": None if result.best is None else row(result.best),
        "test": None if result.test is None else asdict(result.test),
        "headline": headline(result.entrants),
        "candidates": len(result.trials),
        "trained": sum(item.status is Status.OK for item in searched),
        "screens": savings(result.trials),
        "usage": asdict(result.usage),
        "timesteps": {
            "search": result.timesteps,
            "headline": _headline_steps(result.entrants),
        },
        "seconds": round(result.seconds, 1),
        "seeds": {
            "selection": _seeds(searched, settings.experiment.seed),
            "headline": _seeds(compared, settings.experiment.seed),
        },
        "sandbox": protection(record),
        "stopped": None if result.stopped is None else str(result.stopped),
    }


def protection(record: Mapping[str, Any]) -> dict[str, Any]:
    """What locked the reward processes down in all parts of a run, as ``run.json`` tells it."""
    parts = [record, *record.get("resumed", [])]
    told = [part["sandbox_layers"] for part in parts if "sandbox_layers" in part]
    layers = [name for name in LAYERS if told and all(name in item for item in told)]
    return {
        "layers": layers,
        "missing": [name for name in LAYERS if told and name not in layers],
        "allow_weaker": any(part.get("sandbox_allow_weaker") for part in parts),
    }


def author_of(candidate: Candidate, provider: str) -> str:
    """Who wrote a reward: the provider, a strategy, or the user in a file."""
    return provider if candidate.origin == PROVIDER else candidate.origin


def row(trial: Trial) -> dict[str, Any]:
    """A candidate in an iteration's table."""
    evaluation, candidate = trial.evaluation, trial.candidate
    return {
        "candidate": candidate.label,
        "origin": candidate.origin,
        "status": evaluation.status.value,
        "fitness": None if evaluation.fitness is None else asdict(evaluation.fitness),
        "fault": None if evaluation.fault is None else asdict(evaluation.fault),
        "alarms": [asdict(alarm) for alarm in find_alarms(trial)],
        "sha256": None if candidate.reward is None else candidate.reward.sha256,
        "attempts": candidate.attempts,
        "timesteps": evaluation.timesteps,
        "seconds": round(evaluation.seconds, 1),
    }


def headline(entrants: Sequence[Entrant]) -> list[dict[str, Any]]:
    """The headline table as plain data, the winner first."""
    normalised = human_normalised(entrants)
    return [
        _headline_row(item, entrants[0], normalised.get(item.candidate.label)) for item in entrants
    ]


def _headline_row(entrant: Entrant, winner: Entrant, normalised: float | None) -> dict[str, Any]:
    own, best = entrant.evaluation, winner.evaluation
    assert own is not None and best is not None, "they were all trained"
    better = None if entrant is winner else improvement(best, own)
    return {
        "names": list(entrant.names),
        "candidate": entrant.candidate.label,
        "status": own.status.value,
        "fitness": None if own.fitness is None else asdict(own.fitness),
        "scores": list(own.scores),
        "human_normalised": normalised,
        "winner_is_better": None if better is None else asdict(better),
        "timesteps": own.collected,
        "seconds": round(own.seconds, 1),
        "fault": None if own.fault is None else asdict(own.fault),
    }


def _seeds(evaluations: Iterable[Evaluation], run_seed: int) -> dict[str, list[int]]:
    """Of trainings, and of the episodes that policies were measured by."""
    trainings: set[int] = set()
    episodes: set[int] = set()
    for evaluation in evaluations:
        trainings.update(training_seed(run_seed, number) for number in evaluation.trainings)
        episodes.update(seed for item in evaluation.episodes for seed in item.seeds)
    return {"trainings": sorted(trainings), "episodes": sorted(episodes)}


def card(result: Result, settings: Settings, task: Task, by: str) -> str:
    """What should be known of the best reward and its policy, as Markdown.

    Args:
        result: with a best reward.
        settings: of the run.
        task: that the reward is for.
        by: who wrote the rewards.
    """
    assert result.best is not None and result.best.candidate.reward is not None
    return _TEMPLATES.get_template("card.md.j2").render(
        env=settings.env,
        experiment=settings.experiment,
        kind=task.fitness_kind,
        by=author_of(result.best.candidate, by),
        candidates=len(result.trials),
        iterations=max(trial.candidate.iteration for trial in result.trials),
        best=result.best.candidate.label,
        source=block(result.best.candidate.reward.source.strip()),
        alarms=find_alarms(result.best),
        rows=headline_rows(result.entrants, task.fitness_kind),
        test=None if result.test is None else interval_text(result.test),
        usage=result.usage,
        steps=result.timesteps,
        headline_steps=_headline_steps(result.entrants),
        minutes=result.seconds / 60,
    )


@dataclass
class Read:
    """What was read of a run's first iterations, which are over.

    Attributes:
        until: number of the last of them.
        trials: up to then, by label, with what the races up to then found.
    """

    until: int = 0
    trials: dict[str, Trial] = field(default_factory=dict)


def final_trials(run: RunDirectory, known: Read | None = None) -> list[Trial]:
    """All finished candidates of a run, with what their races found.

    Args:
        run: finished or going on.
        known: what was read before, and is not read again; what is over by now is added.

    Raises:
        ResultsError: a file is damaged.
    """
    known = known or Read()
    trials, all_over = dict(known.trials), True
    for number in run.iterations():
        if number <= known.until:
            continue
        all_over = all_over and run.is_closed(number)  # asked first: then it does not change
        trials.update((trial.candidate.label, trial) for trial in run.read_trials(number))
        for item in itertools.chain.from_iterable(run.read_races(number)):
            if item.candidate.label in trials:
                trial = trials[item.candidate.label]
                trials[item.candidate.label] = _with_more(trial, item.evaluation)
        if all_over:
            known.until, known.trials = number, dict(trials)
    return list(trials.values())


def _with_more(trial: Trial, more: Evaluation) -> Trial:
    fitness = trial.evaluation.fitness
    if fitness is None:
        return trial
    return replace(trial, evaluation=merge(fitness.kind, trial.evaluation, more))


def hub_text(**values: Any) -> str:
    """What a model card on the Hugging Face Hub says beside `card`: the files, and their use."""
    return _TEMPLATES.get_template("hub.md.j2").render(**values)


def _headline_steps(entrants: Sequence[Entrant]) -> int:
    return sum(item.evaluation.collected for item in entrants if item.evaluation is not None)


def headline_rows(entrants: Sequence[Entrant], kind: str) -> list[dict[str, str]]:
    """The headline table in words: name, fitness with interval, and what is made of it."""
    return [_words(item, kind) for item in headline(entrants)]


def _words(item: dict[str, Any], kind: str) -> dict[str, str]:
    digits = 2 if kind == "success" else 1
    fitness, better = item["fitness"], item["winner_is_better"]
    normalised = item["human_normalised"]
    name = ", ".join(item["names"])
    number = "–" if fitness is None or fitness["iqm"] is None else f"{fitness['iqm']:.{digits}f}"
    return {
        "name": f"{name} ({item['candidate']})" if "/" in item["candidate"] else f"{name} reward",
        "fitness": item["status"] if fitness is None else interval_text(Fitness(**fitness)),
        "iqm": number,
        "normalised": "–" if normalised is None else f"{normalised:.2f}",
        "better": "–" if better is None else _probability(better),
        "scores": ", ".join(f"{score:.{digits}f}" for score in item["scores"]),
        "steps": f"{item['timesteps']:,}",
        "minutes": f"{item['seconds'] / 60:.1f}",
        "is_winner": "yes" if WINNER in item["names"] else "",
    }


def _probability(better: dict[str, float]) -> str:
    return f"{better['probability']:.2f} [{better['low']:.2f}, {better['high']:.2f}]"


def interval_text(fitness: Fitness) -> str:
    """Fitness with its 95 % interval."""
    digits = 2 if fitness.kind == "success" else 1
    return f"{fitness.mean:.{digits}f} [{fitness.low:.{digits}f}, {fitness.high:.{digits}f}]"
