"""Many rewards tried at once: one reward process for each, a few of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import SandboxSettings
from rewardsmith.types import RewardFunction, TransitionLayout

T = TypeVar("T")

Work = Callable[[RewardProcess, RewardFunction], T]
"""What is done with a reward in its fresh process; the reward is not loaded yet."""


def try_each(
    rewards: Iterable[RewardFunction],
    layout: TransitionLayout,
    limits: SandboxSettings,
    work: Work[T],
    workers: int = 1,
) -> Iterator[T]:
    """Do something with each reward, in a process of its own.

    A process takes a fifth of a second of one core to start, so that is what most of the time goes
    into. What comes out depends neither on `workers` nor on who is faster.

    Args:
        rewards: to be tried.
        layout: of the transitions that they will be called on.
        limits: of each process.
        work: called in a thread; a process dies with the thread that started it.
        workers: processes at a time.

    Yields:
        What `work` gave for each reward, in their order.
    """

    def one(reward: RewardFunction) -> T:
        with RewardProcess(layout, limits) as process:
            return work(process, reward)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="try")
    try:
        yield from pool.map(one, rewards)
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C only those under way are waited for
