"""How the numbers and choices of a run are put into words, for the terminal and the log."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rewardsmith.headline import Entrant
from rewardsmith.llm.types import Usage
from rewardsmith.progress import span
from rewardsmith.reward.lockdown import LAYERS
from rewardsmith.search.alarms import find_alarms
from rewardsmith.search.screens import FAIR_SHARE
from rewardsmith.settings import ExperimentSettings, PopulationSettings
from rewardsmith.summary import interval_text
from rewardsmith.types import Candidate, Fitness, Status, Trial

NAMED = 8
"""Most candidates that are named in one line; of more, it is told how many they are."""


def fitness_text(fitness: Fitness) -> str:
    """Fitness in words, e.g. ``success 0.96 [0.87, 0.99]``."""
    name = "success" if fitness.kind == "success" else "mean return"
    return f"{name} {interval_text(fitness)}"


def entrant_text(entrant: Entrant) -> str:
    """A row of the headline in a word."""
    label = entrant.candidate.label
    return label if entrant.candidate.iteration else f"{label} reward"


def cost_text(usage: Usage) -> str:
    """What the provider cost."""
    dollars = "dollars unknown" if usage.usd is None else f"${usage.usd:.4f}"
    tokens = usage.prompt_tokens + usage.completion_tokens
    return f"{count(usage.requests, 'request')}, {tokens:,} tokens, {dollars}"


def doubt_text(candidate: Candidate) -> str:
    """What the screens noted without stopping the reward."""
    found = candidate.preference
    if found is None or found.high >= FAIR_SHARE:
        return ""
    return f", although a success earns more than a failure in only {found.share:.0%} of pairs"


def outcome_text(trial: Trial) -> str:
    """How far a candidate came."""
    fault = trial.evaluation.fault
    if fault is None:
        return "ok"
    if fault.status in (Status.DUPLICATE, Status.SCREENED):
        return fault.status.value
    return f"{fault.status.value} ({fault.reason})"


def round_text(trials: Sequence[Trial]) -> str:
    """What came of the candidates of a round, e.g. ``7 of 8 trained, success 0.20 to 1.00``.

    Those that failed are named, or counted by how they failed if they are many.
    """
    fits = [trial.evaluation.fitness for trial in trials]
    trained = [item for item in fits if item is not None]
    text = f"{len(trained)} of {len(trials)} trained"
    if trained:
        name, digits = ("success", 2) if trained[0].kind == "success" else ("mean return", 1)
        text += f", {name} {span([item.mean for item in trained], digits)}"
    failed = [trial for trial in trials if trial.evaluation.fitness is None]
    if len(failed) > NAMED:
        found = Counter(outcome_text(item) for item in failed).most_common()
        return "; ".join([text, *(f"{number} {outcome}" for outcome, number in found)])
    return "; ".join([text, *(f"{item.candidate.label} {outcome_text(item)}" for item in failed)])


def alarms_text(trials: Sequence[Trial]) -> str:
    """The alarms of a round, by candidate or, if they are many, by name; empty without any."""
    found = [
        (trial.candidate.label, [alarm.name.replace("_", " ") for alarm in find_alarms(trial)])
        for trial in trials
    ]
    alarmed = [(label, names) for label, names in found if names]
    if len(alarmed) > NAMED:
        counted = Counter(name for _, names in alarmed for name in names).most_common()
        return "; ".join(f"{name} {number} times" for name, number in counted)
    return "; ".join(f"{label} {', '.join(names)}" for label, names in alarmed)


def labels_text(labels: Sequence[str]) -> str:
    """Some candidates by name, e.g. ``1/0, 1/2, 2/3``; of many, the first ones."""
    text = ", ".join(labels[:NAMED])
    return f"{text} and {len(labels) - NAMED} more" if len(labels) > NAMED else text


def start_state_text(start_state: str) -> str:
    """What a Fetch v3 id starts from."""
    if start_state == "documented":
        return (
            "starts in the pose that its documentation promises; env.start_state=as_released "
            "gives v3 as it was, which could not reach most goals"
        )
    return "starts as v3 was released: far from most goals, which cannot be reached from there"


def search_text(experiment: ExperimentSettings) -> str:
    """How much is searched."""
    text = (
        f"{count(experiment.candidates, 'candidate')} × "
        f"{count(experiment.iterations, 'iteration')} × {count(experiment.seeds, 'seed')}"
    )
    if experiment.final_seeds:
        text += (
            f", then the best and the baselines on {count(experiment.final_seeds, 'fresh seed')}"
        )
    return text


def budget_text(training: Any, experiment: ExperimentSettings, workers: int) -> str:
    """What is trained with how many steps."""
    steps = f"{training.algorithm}, {training.total_timesteps:,} steps"
    together = experiment.candidates * experiment.seeds
    if isinstance(training, PopulationSettings):
        shared = "shared by" if training.share_experience else "for each of"
        size = min(training.shard or experiment.candidates, experiment.candidates)
        shards = math.ceil(experiment.candidates / size)
        of = f"of each of {shards} shards" if shards > 1 else "at once"
        trainings = f"{size * experiment.seeds} trainings {of}"
        return f"{steps} an iteration, {shared} {trainings}; {workers} processes"
    return (
        f"{steps} per training, {together * experiment.iterations} trainings, {workers} at a time"
    )


def measure_text(kind: str, episodes: int) -> str:
    """What fitness is, and on how many episodes."""
    what = (
        "the task's own success at the end of an episode"
        if kind == "success"
        else "the environment's own episode return (it reports no success; kept from the provider)"
    )
    return f"{what}, on {episodes} held-out episodes"


def layers_text(layers: tuple[str, ...], weaker: bool) -> str:
    """What locks the reward processes down, and what does not."""
    missing = [name for name in LAYERS if name not in layers]
    text = ", ".join(layers) + (f"; missing: {', '.join(missing)}" if missing else "")
    return text.replace("_", " ") + (" (weaker protection was allowed)" if weaker else "")


def count(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
