"""What ``rewardsmith check`` finds out about a reward in a file, stage by stage.

A person's reward gets what a language model's gets: the dialect, the probe, the screens. It is
only ever called in a reward process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rewardsmith.results import RunDirectory
from rewardsmith.reward.probe import probe
from rewardsmith.reward.process import RewardProcess
from rewardsmith.search.screens import FAIR_SHARE, Screens
from rewardsmith.search.seeded import read_text, source_of
from rewardsmith.settings import Settings
from rewardsmith.tasks.task import RandomPlay, Task, build_task, play_randomly
from rewardsmith.types import Candidate, Fault, Preference, RewardFunction, Rewards, Status

_STAGES = {
    Status.NO_CODE: "code",
    Status.REJECTED: "code",
    Status.PROBE_FAILED: "probe",
    Status.TIMEOUT: "probe",
    Status.DUPLICATE: "duplicates",
    Status.SCREENED: "preference",
}


@dataclass(frozen=True)
class Finding:
    """One line of the answer.

    Attributes:
        stage: what was looked at.
        text: what was found.
        stops: whether the reward would not be trained because of it.
    """

    stage: str
    text: str
    stops: bool = False


def inspect_reward(file: Path, settings: Settings, run: RunDirectory | None) -> list[Finding]:
    """Validate, probe and screen a reward.

    Args:
        file: Python, or Markdown with a block of it.
        settings: of the task, the sandbox and the screens.
        run: whose experience and rewards the screens are to know.

    Raises:
        ConfigurationError: the file cannot be read.
        TaskError: the environment cannot be built.
    """
    source = source_of(file, read_text(file, "The reward is to be in"))
    if source is None:
        text = "There is no fenced Python code block with a function `compute_reward`."
        return [Finding("code", text, stops=True)]
    task = build_task(settings.env)
    play = play_randomly(task, settings.experiment.seed)
    reward = RewardFunction(source)
    fault = probe(reward, task.layout, play.probe, settings.sandbox)
    if fault is not None:
        return [_stop(fault)]
    findings = [Finding("code", "accepted"), *_values(reward, task, play, settings)]
    return [*findings, *_screen(reward, task, play, settings, run)]


def _stop(fault: Fault) -> Finding:
    text = f"{fault.status.value} ({fault.reason}): {fault.message}"
    return Finding(_STAGES.get(fault.status, "probe"), text, stops=True)


def _values(
    reward: RewardFunction, task: Task, play: RandomPlay, settings: Settings
) -> Iterator[Finding]:
    """Ranges of the reward and its components in random play."""
    batch = play.transitions
    with RewardProcess(task.layout, settings.sandbox) as process:
        process.load(reward)
        rewards: Rewards = process.evaluate(batch.state, batch.action, batch.next_state)
    yield Finding("probe", f"accepted; on {len(batch)} transitions of random play:")
    rows = zip(("reward", *rewards.names), (rewards.total, *rewards.components), strict=True)
    for name, values in rows:
        text = f"{name}: {values.min():.3g} to {values.max():.3g}, mean {values.mean():.3g}"
        yield Finding("", text)


def _screen(
    reward: RewardFunction,
    task: Task,
    play: RandomPlay,
    settings: Settings,
    run: RunDirectory | None,
) -> Iterator[Finding]:
    trials = [] if run is None else run.read_trials()
    known = [trial.candidate for trial in trials if trial.candidate.fault is None]
    after = 1 + max((trial.candidate.iteration for trial in trials), default=0)
    files = (lambda before: ()) if run is None else run.experience_files
    screens = Screens(settings.experiment.screens, task, play, settings.sandbox, files)
    screens.remember(known, after)
    candidate = screens.examine(Candidate(after, 0, reward))
    fault = candidate.fault
    if fault is not None and fault.status is not Status.SCREENED:
        yield _stop(fault)
        return
    among = f"like none of the {len(known)} rewards of {run.root}" if run else "none known"
    yield Finding("duplicates", among)
    if candidate.preference is not None:
        yield Finding("preference", _preference(candidate.preference), stops=fault is not None)
    elif settings.experiment.screens.preference == "skip":
        yield Finding("preference", "not asked for (experiment.screens.preference)")
    else:
        yield Finding("preference", "cannot be judged: too few stored episodes of a kind")


def _preference(found: Preference) -> str:
    kinds = f"{found.successes} successful, {found.failures} failed episodes"
    verdict = "worse than a coin" if found.high < FAIR_SHARE else "no objection"
    return (
        f"{verdict}; it orders {found.share:.0%} [{found.low:.0%}, {found.high:.0%}] of the pairs "
        f"rightly ({kinds})"
    )
