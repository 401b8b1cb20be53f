"""The nouns of the project: plain, frozen values that every other part imports.

Shapes are written with N for the number of transitions, W for the width of a state record
(all raw sources of one state laid end to end) and A for the width of an action.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Field:
    """One named slice of a state record.

    Attributes:
        name: key under which a reward reads it, ``[a-z][a-z0-9_]*``.
        source: where the environment adapter reads it, e.g. ``observation[0:3]``.
        start: first column of the state record.
        stop: one past the last column.
        scalar: True if a batch of it has shape (N,) instead of (N, stop - start).
        unit: of the delivered numbers, empty if unknown.
        meaning: one line for the prompt.
    """

    name: str
    source: str
    start: int
    stop: int
    scalar: bool = False
    unit: str = ""
    meaning: str = ""

    @property
    def shape(self) -> str:
        """Shape of a batch, as it is written in a prompt."""
        return "(N,)" if self.scalar else f"(N, {self.stop - self.start})"


@dataclass(frozen=True)
class TransitionLayout:
    """How a transition is laid out in flat float64 records.

    Attributes:
        fields: the named slices that a reward may read; they may overlap.
        state_width: W, columns of a state record.
        action_width: A, columns of an action.
    """

    fields: tuple[Field, ...]
    state_width: int
    action_width: int

    @property
    def names(self) -> frozenset[str]:
        """Names of all fields."""
        return frozenset(item.name for item in self.fields)


@dataclass(frozen=True)
class Transitions:
    """A batch of recorded transitions.

    Attributes:
        state: (N, W) records before the step.
        action: (N, A).
        next_state: (N, W) records after the step.
        terminated: (N,) bool, the episode ended for good at this step.
    """

    state: FloatArray
    action: FloatArray
    next_state: FloatArray
    terminated: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of transitions N."""
        return len(self.action)

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> Transitions:
        """Pick the same rows of all arrays."""
        return Transitions(
            self.state[rows], self.action[rows], self.next_state[rows], self.terminated[rows]
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Transitions]) -> Transitions:
        """Lay batches end to end."""
        return cls(
            np.concatenate([part.state for part in parts]),
            np.concatenate([part.action for part in parts]),
            np.concatenate([part.next_state for part in parts]),
            np.concatenate([part.terminated for part in parts]),
        )


@dataclass(frozen=True)
class Rewards:
    """What a reward function said of N transitions.

    Attributes:
        total: (N,).
        components: (K, N), in the order of `names`; they sum to `total`.
        names: of the K components.
    """

    total: FloatArray
    components: FloatArray
    names: tuple[str, ...]


class Status(str, Enum):
    """How far a candidate came."""

    OK = "ok"
    NO_REPLY = "no_reply"
    NO_CODE = "no_code"
    REJECTED = "rejected"
    PROBE_FAILED = "probe_failed"
    DUPLICATE = "duplicate"
    SCREENED = "screened"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class Fault:
    """Why a candidate went no further.

    Attributes:
        status: which stage it failed at.
        reason: fixed code, e.g. ``while_loop``.
        message: one sentence of ours: what was found, and what to write instead.
        line: line of the reward's source, 0 if none is to blame.
        source_line: that line, as data.
        traceback: of our own worker, for the log only; never shown to a language model.
    """

    status: Status
    reason: str
    message: str
    line: int = 0
    source_line: str = ""
    traceback: str = ""


KILLED = "worker"
"""Reason of the fault of a training whose process died."""

WORKER_REASONS = (KILLED, "training_timeout")
"""Reasons of faults that no reward is to blame for: the process died, or had no time left."""


@dataclass(frozen=True)
class RewardFunction:
    """Source code of ``compute_reward``; only ever called inside a reward process."""

    source: str

    @property
    def sha256(self) -> str:
        """SHA-256 of the source, hexadecimal."""
        return hashlib.sha256(self.source.encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Episodes:
    """What happened in some episodes.

    Attributes:
        successes: whether each ended in success; empty if the task has no success flag.
        returns: sums of the environment's own reward. Never shown to an LLM.
        lengths: steps.
        seeds: of the environment's resets, one per episode.
    """

    successes: list[bool]
    returns: list[float]
    lengths: list[int]
    seeds: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Fitness:
    """The task's own success on held-out episodes; never the generated reward.

    Attributes:
        kind: ``success`` (share of successful episodes) or ``return`` (mean return of the
            environment's own reward, for environments without a success flag).
        mean: over all episodes of all training seeds.
        low: lower end of the 95 % interval, see `rewardsmith.evaluation.fitness`.
        high: upper end of the 95 % interval.
        episodes: evaluated episodes, over all seeds.
        seeds: training seeds behind them.
        environment_return: mean return of the environment's own reward. Never shown to an LLM.
        episode_length: mean length in steps.
        iqm: interquartile mean of the training seeds' scores; None with fewer than four.
    """

    kind: str
    mean: float
    low: float
    high: float
    episodes: int
    seeds: int
    environment_return: float
    episode_length: float
    iqm: float | None = None


@dataclass(frozen=True)
class Checkpoint:
    """One look at a policy during training.

    Attributes:
        timesteps: environment steps trained so far.
        success: share of successful episodes; None where the task has no success flag.
        own_return: mean return of the candidate's own reward.
        components: mean of each reward component per step.
        episode_length: mean, steps.
        learner: what the algorithm says of itself: entropy, Q values, losses, as far as it does.
        extremes: lowest and highest value of each reward component in any step.
        return_of_successes: mean own return of the episodes that ended in success, None without.
        return_of_failures: the same of those that did not.
        episodes: that were looked at; 0 if that was not kept.
    """

    timesteps: int
    success: float | None
    own_return: float
    components: dict[str, float]
    episode_length: float
    learner: dict[str, float] = field(default_factory=dict)
    extremes: dict[str, tuple[float, float]] = field(default_factory=dict)
    return_of_successes: float | None = None
    return_of_failures: float | None = None
    episodes: int = 0


@dataclass(frozen=True)
class Evaluation:
    """What became of one candidate.

    Attributes:
        status: `Status.OK` if it was trained and evaluated.
        fitness: None unless it was.
        scores: mean success (or return) of each training seed's policy on the ranking episodes.
        curves: one list of checkpoints per training seed.
        fault: None if the status is ok.
        seconds: wall time of its trainings, summed; its share where they ran together.
        timesteps: environment steps that its trainings learned from, summed; steps that all of
            them learned from count once.
        collected: environment steps that were taken for it; its share of those that all learn from.
        episodes: what each training seed's policy did in the episodes that `fitness` counts.
        trainings: their numbers, in the order of `scores`, `curves` and `episodes`.
    """

    status: Status
    fitness: Fitness | None = None
    scores: tuple[float, ...] = ()
    curves: tuple[tuple[Checkpoint, ...], ...] = ()
    fault: Fault | None = None
    seconds: float = 0.0
    timesteps: int = 0
    collected: int = 0
    episodes: tuple[Episodes, ...] = ()
    trainings: tuple[int, ...] = ()

    @property
    def best_training(self) -> int:
        """Number of the training whose policy scored highest, the first of equals."""
        return self.trainings[self.scores.index(max(self.scores))]


@dataclass(frozen=True)
class Preference:
    """How a reward orders stored episodes, one successful and one failed at a time.

    Attributes:
        share: of the pairs in which the successful episode earns more; a tie counts half.
        low: lower end of the 95 % interval.
        high: upper end of the 95 % interval.
        successes: successful episodes in the store.
        failures: failed ones.
    """

    share: float
    low: float
    high: float
    successes: int
    failures: int


PROVIDER = "provider"
"""Origin of a candidate that somebody was asked for."""


@dataclass(frozen=True)
class Candidate:
    """One reward function on its way through an iteration.

    Attributes:
        iteration: number of the iteration, from 1; 0 for baselines.
        index: position in the iteration, from 0.
        reward: None if no code was found.
        reply: the text it came from.
        parents: labels of the candidates that the prompt was built on.
        attempts: replies asked for, repairs included.
        fault: what stopped it before training.
        origin: who wrote it: ``provider``, a file of the user's, a strategy, or a baseline's name.
        preference: what the screen found; None if it abstained.
    """

    iteration: int
    index: int
    reward: RewardFunction | None
    reply: str = ""
    parents: tuple[str, ...] = ()
    attempts: int = 1
    fault: Fault | None = None
    origin: str = PROVIDER
    preference: Preference | None = None

    @property
    def label(self) -> str:
        """Short name, e.g. ``1/0``: iteration, then index; of a baseline its own name."""
        return f"{self.iteration}/{self.index}" if self.iteration else self.origin


@dataclass(frozen=True)
class Alarm:
    """A sign that a reward is collected without the task being solved.

    Attributes:
        name: fixed code, e.g. ``one_component``.
        message: one sentence with its numbers.
        numbers: that it rests on, by name.
    """

    name: str
    message: str
    numbers: dict[str, float]


@dataclass(frozen=True)
class Trial:
    """A candidate and what became of it."""

    candidate: Candidate
    evaluation: Evaluation
