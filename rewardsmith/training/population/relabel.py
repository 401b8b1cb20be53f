"""The candidates' reward processes side by side: one batch of transitions in, K rewards out.

A candidate whose process dies or whose reward breaks its contract is marked with its fault, and
gives zeros from then on; the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rewardsmith.errors import ConfigurationError
from rewardsmith.reward.failure import RewardFailure
from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import SandboxSettings
from rewardsmith.types import Fault, RewardFunction, Rewards, Status, TransitionLayout, Transitions

PATIENCE_S = 20.0
"""Time that every reward may take in all before anybody asks."""
SLOW_SHARE = 0.5
"""Share of the time so far that one reward may then take, while all others wait for it."""


class Relabeler:
    """K reward functions, each in a process of its own. Use it as a context manager.

    Attributes:
        faults: why a candidate has failed, by its number.
        late: why a candidate will have failed from the next `settle` on. What is found at a moment
            that depends on who was faster must not change what happens next.
    """

    def __init__(
        self, layout: TransitionLayout, limits: SandboxSettings, sources: Sequence[str]
    ) -> None:
        """Start the processes, all at once; `load` waits for them.

        Args:
            layout: of the transitions.
            limits: of each process.
            sources: of the reward functions.
        """
        self.faults: dict[int, Fault] = {}
        self.late: dict[int, Fault] = {}
        self._sources = sources
        self._processes: list[RewardProcess] = []
        self._answers: list[bytes | None] = [None] * len(sources)
        self._seconds = [0.0] * len(sources)
        self._began = time.monotonic()
        try:
            for _ in sources:
                self._processes.append(RewardProcess(layout, limits, wait=False))
        except OSError as error:
            self.close()
            raise ConfigurationError(
                f"{len(sources)} reward processes are needed at once, but the system refuses "
                f"after {len(self._processes)} ({error.strerror}): lower experiment.candidates, or "
                "allow more processes and memory."
            ) from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Relabeler:
        """Give itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Kill all processes."""
        for process in self._processes:
            process.close()

    def load(self) -> None:
        """Hand the sources over."""
        for number, source in enumerate(self._sources):
            try:
                self._processes[number].load(RewardFunction(source))
            except RewardFailure as failure:
                self.fail(number, failure)

    def fail(self, number: int, failure: RewardFailure) -> None:
        """Mark a candidate as failed."""
        self.faults.setdefault(number, failure.fault(Status.CRASHED))

    def settle(self) -> None:
        """Let those be failed that were found to be so at any moment before."""
        for number, fault in self.late.items():
            self.faults.setdefault(number, fault)
        self.late.clear()

    def look(self, number: int, batch: Transitions) -> Rewards | None:
        """What one candidate says of N transitions; if it fails, it has failed from `settle` on."""
        known = dict(self.faults)
        rewards = self.one(number, batch)
        if rewards is None and number not in known:
            self.late[number] = self.faults.pop(number)
        return rewards

    def one(self, number: int, batch: Transitions) -> Rewards | None:
        """What one candidate says of N transitions; None if it has failed."""
        if number in self.faults:
            return None
        process = self._processes[number]
        began = time.monotonic()
        try:
            return process.evaluate(batch.state, batch.action, batch.next_state)
        except RewardFailure as failure:
            self.fail(number, failure)
            return None
        finally:
            self._seconds[number] += time.monotonic() - began
            self._notice_slowness(number)

    def _notice_slowness(self, number: int) -> None:
        """Take a candidate out that keeps all others waiting."""
        spent, passed = self._seconds[number], time.monotonic() - self._began
        if spent > PATIENCE_S and spent > SLOW_SHARE * passed and number not in self.faults:
            message = (
                f"The reward is too slow: it took {spent:.0f} of the {passed:.0f} s of the "
                "training so far; use array operations instead of loops."
            )
            self.faults[number] = Fault(Status.TIMEOUT, "slow", message)

    def all(self, batch: Transitions) -> NDArray[np.float64]:
        """(K, N) rewards of N transitions; zeros from candidates that have failed."""
        values = np.zeros((len(self._sources), len(batch)))
        for number in range(len(self._sources)):
            rewards = self.one(number, batch)
            if rewards is not None:
                values[number] = rewards.total
        return values

    def check_purity(self, sample: Transitions) -> None:
        """Fail the candidates that say something else of the same transitions than before."""
        for number in range(len(self._sources)):
            rewards = self.one(number, sample)
            if rewards is None:
                continue
            answer = rewards.total.tobytes() + rewards.components.tobytes()
            known = self._answers[number]
            self._answers[number] = answer
            if known is not None and known != answer:
                self.fail(number, RewardFailure("impure", self._sources[number]))
