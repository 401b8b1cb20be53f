"""Screens before training: what a reward says of stored episodes, and whether it is there already.

A reward that has passed its probe is compared with the rewards that were accepted before it in
this run, first by its code, then by what it says of stored transitions; and it is asked whether it
puts the successful ones of the stored episodes above the failed ones. What is stored is random
play, and the experience of the iterations before where the backend keeps any. All verdicts depend
on that alone, so a run that is resumed comes to the same ones.

``benchmarks/screens.py`` measures what the screens save and how often they are wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rewardsmith.experience import StoredEpisode, read_episodes
from rewardsmith.reward.bench import try_each
from rewardsmith.reward.failure import RewardFailure
from rewardsmith.reward.likeness import Crowd, Likeness, likeness, normal_form
from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import SandboxSettings, ScreenSettings
from rewardsmith.tasks.task import RandomPlay, Task
from rewardsmith.types import (
    Candidate,
    Fault,
    FloatArray,
    Preference,
    RewardFunction,
    Status,
    Transitions,
    Trial,
)

# Rewards of equal ranks do not train alike: -d, -0.01 d and exp(-d) differ by up to 0.8 in mean
# success over the looks (benchmarks/screens.py, FetchReach). A positive affine map keeps all
# optimal policies, and yet 3 - 2 d was not solved where -d was: the critic first has to learn the
# constant. So values, scale and offset have to be near, all three.
SAME_VALUES = 0.999
"""Correlation from which two rewards are one."""
SAME_SCALE = 3.0
"""By what factor their spreads may then differ. A factor of 10 was seen in the outcome; 3 is a
guess on the safe side."""
SAME_SHIFT = 0.1
"""By how much their means may then differ, each in standard deviations of its own reward."""
MOST_EPISODES = 100
"""Stored episodes of each kind, successful and failed, that a reward is shown."""
MOST_STEPS = 20_000
"""Transitions of each kind."""
FEWEST_EPISODES = 10
"""With fewer of a kind the preference screen abstains."""
FAIR_SHARE = 0.5
"""Of the pairs; a reward whose whole interval is below it is worse than a coin."""
RESAMPLES = 1_000

ExperienceFiles = Callable[[int], Sequence[Path]]
"""Number of an iteration → files with the episodes of those before it."""


@dataclass(frozen=True)
class Store:
    """Episodes that rewards are shown.

    Attributes:
        successes: that ended in success.
        failures: that did not.
    """

    successes: tuple[StoredEpisode, ...]
    failures: tuple[StoredEpisode, ...]

    @property
    def episodes(self) -> tuple[StoredEpisode, ...]:
        """Successes, then failures."""
        return self.successes + self.failures

    def preference(self, rewards: FloatArray) -> Preference | None:
        """How a reward orders the episodes; None if there are too few of a kind.

        Args:
            rewards: of all transitions of `episodes`, end to end.
        """
        if min(len(self.successes), len(self.failures)) < FEWEST_EPISODES:
            return None
        lengths = [len(episode.transitions) for episode in self.episodes]
        starts = np.cumsum([0, *lengths[:-1]])
        returns = np.add.reduceat(rewards, starts)
        return preference(returns[: len(self.successes)], returns[len(self.successes) :])


def build_store(play: RandomPlay, files: Sequence[Path], seed: int) -> Store:
    """Draw the episodes that rewards are shown; those of unknown success are left out.

    Args:
        play: random play.
        files: of earlier iterations' experience.
        seed: of the draw.
    """
    episodes = [*play.episodes, *(episode for file in files for episode in read_episodes(file))]
    generator = np.random.default_rng(seed)
    drawn = [episodes[place] for place in generator.permutation(len(episodes))]
    return Store(
        successes=tuple(_few(item for item in drawn if item.success is True)),
        failures=tuple(_few(item for item in drawn if item.success is False)),
    )


def _few(episodes: Iterator[StoredEpisode]) -> Iterator[StoredEpisode]:
    steps = 0
    for number, episode in enumerate(episodes):
        steps += len(episode.transitions)
        if number >= MOST_EPISODES or steps > MOST_STEPS:
            return
        yield episode


def preference(successes: FloatArray, failures: FloatArray) -> Preference:
    """Share of all pairs of a successful and a failed episode in which success earns more.

    Args:
        successes: (S,) return of each successful episode.
        failures: (F,) the same of each failed one.

    Returns:
        The share, a tie counting half, with a percentile interval from a bootstrap over the
        episodes of both kinds.

    Examples:
        >>> preference(np.array([1.0, 2.0]), np.array([0.0, 1.0])).share
        0.875
    """
    gaps = successes[:, None] - failures[None, :]
    tie = 1e-9 * max(np.abs(successes).max(), np.abs(failures).max())
    right = np.where(np.abs(gaps) <= tie, 0.5, (gaps > 0).astype(np.float64))
    generator = np.random.default_rng(0)
    first, second = (
        generator.multinomial(count, np.full(count, 1.0 / count), RESAMPLES) / count
        for count in right.shape
    )
    shares = np.einsum("rs,sf,rf->r", first, right, second, optimize=True)
    low, high = np.percentile(shares, [2.5, 97.5])
    return Preference(float(right.mean()), float(low), float(high), *right.shape)


def is_same(found: Likeness) -> bool:
    """Whether two rewards would teach the same."""
    return found.pearson >= SAME_VALUES and found.scale <= SAME_SCALE and found.shift <= SAME_SHIFT


@dataclass(frozen=True)
class Said:
    """What a reward said.

    Attributes:
        sample: of random play.
        stored: of the stored episodes, end to end.
    """

    sample: FloatArray
    stored: FloatArray


@dataclass(frozen=True)
class _Known:
    """A reward that was accepted earlier; values are those of random play."""

    label: str
    reward: RewardFunction
    values: FloatArray


class Screens:
    """Looks at every reward that has passed its probe; remembers those that it lets through."""

    def __init__(
        self,
        settings: ScreenSettings,
        task: Task,
        play: RandomPlay,
        sandbox: SandboxSettings,
        experience: ExperienceFiles = lambda before: (),
        workers: int = 1,
    ) -> None:
        """Start with nothing remembered.

        Args:
            settings: which screens are on.
            task: whose transitions are stored.
            play: random play.
            sandbox: limits of reward processes.
            experience: files of earlier iterations.
            workers: reward processes at a time, where many are tried.
        """
        self.settings = settings
        self._task, self._play, self._sandbox = task, play, sandbox
        self._experience = experience
        self._workers = workers
        self._sample = Transitions.concatenate([play.transitions, play.probe])
        self._known: list[_Known] = []
        self._crowd = Crowd()  # their values, in the same order
        self._labels: dict[bytes, str] = {}  # of the first reward of each normal form
        self._unheard: list[Candidate] = []  # remembered, but not asked yet
        self._iteration = 0
        self._open(Store((), ()))

    def examine(self, candidate: Candidate) -> Candidate:
        """Screen a candidate whose reward has passed its probe.

        Returns:
            The candidate with its preference, and with its fault if a screen has found one. One
            without a fault is remembered: the next that is like it is its duplicate.
        """
        assert candidate.reward is not None
        self.begin(candidate.iteration)
        (said,) = self._ask([candidate.reward])
        return self.judge(candidate, said)

    def begin(self, iteration: int) -> None:
        """Have the experience of the iterations before at hand; `listen` and `judge` need it."""
        if iteration != self._iteration:
            self._iteration = iteration
            self._open(build_store(self._play, self._experience(iteration), iteration))

    def listen(self, process: RewardProcess) -> Said | Fault:
        """Have a reward evaluate what is stored; may be called by several threads.

        Args:
            process: with the reward loaded.
        """
        batch = self._batch
        try:
            total = process.evaluate(batch.state, batch.action, batch.next_state).total
        except RewardFailure as failure:  # random play has not shown what experience has
            return failure.fault(Status.PROBE_FAILED)
        return Said(total[: len(self._sample)], total[len(self._sample) :])

    def judge(self, candidate: Candidate, said: Said | Fault) -> Candidate:
        """Screen a candidate by what `listen` found; see `examine`."""
        assert candidate.reward is not None
        self._hear()
        fault = self._same_code(candidate.reward)
        if fault is not None:
            return replace(candidate, fault=fault)
        if isinstance(said, Fault):
            return replace(candidate, fault=said)
        found = None if self.settings.preference == "skip" else self._store.preference(said.stored)
        fault = self._same_values(said) or self._prefers_failure(found)
        if fault is None:
            self._know(candidate, said)
        return replace(candidate, preference=found, fault=fault)

    def accept(self, candidate: Candidate, said: Said | Fault) -> None:
        """Know a reward by what `listen` found, without judging it; one that failed is left out."""
        self._hear()
        self._know(candidate, said)

    def remember(self, candidates: Sequence[Candidate], before: int) -> None:
        """Know the rewards of another run, which have been trained.

        They are asked when there is something to compare them with; one that fails then is left
        out.

        Args:
            candidates: that have no fault.
            before: iteration before which they were written.
        """
        self.begin(before)
        self._unheard += candidates

    def _hear(self) -> None:
        """Ask those that are remembered."""
        waiting, self._unheard = self._unheard, []
        rewards = [item.reward for item in waiting if item.reward is not None]
        for candidate, said in zip(waiting, self._ask(rewards), strict=True):
            self._know(candidate, said)

    def _know(self, candidate: Candidate, said: Said | Fault) -> None:
        assert candidate.reward is not None
        if isinstance(said, Said):
            self._known.append(_Known(candidate.label, candidate.reward, said.sample))
            self._crowd.add(said.sample)
            self._labels.setdefault(self._form(candidate.reward), candidate.label)

    def _form(self, reward: RewardFunction) -> bytes:
        """A digest: the form itself is several times as long as the code."""
        form = normal_form(reward.source, self._task.layout.names)
        return hashlib.sha256(form.encode()).digest()

    def _open(self, store: Store) -> None:
        self._store = store
        stored = [episode.transitions for episode in store.episodes]
        self._batch = Transitions.concatenate([self._sample, *stored])

    def _ask(self, rewards: Sequence[RewardFunction]) -> Iterator[Said | Fault]:
        """Ask some rewards, each in a process of its own."""

        def work(process: RewardProcess, reward: RewardFunction) -> Said | Fault:
            try:
                process.load(reward)
            except RewardFailure as failure:
                return failure.fault(Status.REJECTED)
            return self.listen(process)

        return try_each(rewards, self._task.layout, self._sandbox, work, self._workers)

    def _same_code(self, reward: RewardFunction) -> Fault | None:
        twin = self._labels.get(self._form(reward))
        if twin is None or not self.settings.static:
            return None
        return Fault(
            Status.DUPLICATE,
            "static_duplicate",
            f"It is the same code as that of candidate {twin}, apart from names and "
            "comments; write a reward that differs in what it measures or in how it is shaped.",
        )

    def _same_values(self, said: Said) -> Fault | None:
        if not self.settings.behaviour:
            return None
        for place in self._crowd.near(said.sample):
            known = self._known[place]
            found = likeness(known.values, said.sample)
            if is_same(found) and self._same_stored(known, said.stored):
                return Fault(
                    Status.DUPLICATE,
                    "behavioural_duplicate",
                    f"It says the same as candidate {known.label} of recorded transitions "
                    f"(correlation {found.pearson:.4f}, up to a factor of {found.scale:.2g}); "
                    "write a reward that differs in what it measures or in how it is shaped.",
                )
        return None

    def _same_stored(self, known: _Known, stored: FloatArray) -> bool:
        """Whether an earlier reward is like this one in the stored episodes too."""
        if not len(stored):
            return True
        (others,) = self._ask([known.reward])
        if isinstance(others, Fault):  # it has failed in training, this one has not
            return False
        return is_same(likeness(others.stored, stored))

    def _prefers_failure(self, found: Preference | None) -> Fault | None:
        if found is None or self.settings.preference != "reject" or found.high >= FAIR_SHARE:
            return None
        return Fault(
            Status.SCREENED,
            "prefers_failure",
            f"It puts failed episodes above successful ones: of all pairs of a successful and a "
            f"failed recorded episode it orders {found.share:.0%} rightly "
            f"[{found.low:.0%}, {found.high:.0%}] ({found.successes} successful, "
            f"{found.failures} failed); a successful episode must earn more.",
        )


def savings(trials: Sequence[Trial]) -> dict[str, Any]:
    """What the screens kept from being trained, as it stands at the end of a run.

    A reward that was sent back and replaced is not in it: its place was trained with another.

    Returns:
        How many candidates each screen stopped; how many more prefer failure and were trained all
        the same; and the share of the trainings that were saved.
    """
    reasons = [trial.evaluation.fault.reason if trial.evaluation.fault else "" for trial in trials]
    stopped = {
        name: reasons.count(name)
        for name in ("static_duplicate", "behavioural_duplicate", "prefers_failure")
    }
    trained = [trial for trial in trials if trial.evaluation.timesteps]
    noted = [
        trial
        for trial in trained
        if trial.candidate.preference and trial.candidate.preference.high < FAIR_SHARE
    ]
    total = len(trained) + sum(stopped.values())
    share = sum(stopped.values()) / total if total else 0.0
    return {**stopped, "noted": len(noted), "saved": round(share, 3)}
