"""Asks a provider many things at once, records every exchange, and adds up what it cost."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rewardsmith.errors import BudgetExceeded, ProviderError, ProviderUnusable
from rewardsmith.llm.exchanges import room_for_exchange, write_exchange
from rewardsmith.llm.ledger import Ledger
from rewardsmith.llm.types import Provider, Reply, Request, Usage

# How long Ctrl-C may go unnoticed while waiting for an answer.
_POLL_S = 0.2

# What came of a request; None where it was not asked any more.
_Outcome = Reply | BaseException | None


@runtime_checkable
class _Budgeted(Protocol):
    def count_spent(self, usage: Usage, ledger: Ledger | None = None) -> None: ...


class Session:
    """The conversation of one run with one provider.

    Answers of an earlier, interrupted run of the same directory are given again for nothing; what
    they have cost then counts towards ``llm.max_usd``.
    """

    def __init__(
        self,
        provider: Provider,
        folder_of: Callable[[int], Path],
        concurrency: int,
        recorded: Mapping[str, Reply],
        parameters: Mapping[str, Any] | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """Prepare, without asking anything.

        Args:
            provider: who answers.
            folder_of: iteration → the folder that its exchanges are recorded in.
            concurrency: requests in flight, at most.
            recorded: replies that are there already, by `Request.key`.
            parameters: of the sampling, for the record.
            ledger: of what the run has spent, for providers that cost something.
        """
        self._provider = provider
        self._folder_of = folder_of
        self._concurrency = concurrency
        self._recorded = recorded
        self._parameters = parameters or {}
        self._usage = Usage()
        self._lock = threading.Lock()
        if isinstance(provider, _Budgeted):
            spent = sum((reply.usage for reply in recorded.values()), Usage())
            provider.count_spent(spent, ledger)

    @property
    def usage(self) -> Usage:
        """What this session has paid for; answers from an earlier record are not in it."""
        with self._lock:
            return self._usage

    def ask(self, requests: Sequence[Request]) -> list[Reply | ProviderError]:
        """Answer requests concurrently; each exchange is on disk before this returns or raises.

        Returns:
            A reply for each request, or the error that it has met, in the order of the requests.
            A request that no longer fits the budget is such an error, while others have replies.

        Raises:
            ProviderUnusable: no request can succeed. Those in flight are finished and recorded,
                the rest is not asked.
            BudgetExceeded: not a single request got a reply, and at least one for lack of money.
            ResultsError: an exchange cannot be recorded.
            KeyboardInterrupt: at once; answers that are there already stay recorded.
        """
        outcomes: dict[int, _Outcome] = {}
        for index, request in enumerate(requests):
            reply = self._recorded.get(request.key)
            if reply is not None:
                outcomes[index] = reply
        pending = [(i, request) for i, request in enumerate(requests) if i not in outcomes]
        outcomes.update(self._ask_all(pending))
        return _judged([outcomes[index] for index in range(len(requests))])

    def _ask_all(self, pending: Sequence[tuple[int, Request]]) -> dict[int, _Outcome]:
        todo: queue.SimpleQueue[tuple[int, Request]] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[int, _Outcome]] = queue.SimpleQueue()
        stop = threading.Event()
        for item in pending:
            todo.put(item)
        # Daemons, not a ThreadPoolExecutor: at exit Python would wait for the executor's threads,
        # so Ctrl-C would hang for as long as the slowest request in flight.
        for _ in range(min(self._concurrency, len(pending))):
            threading.Thread(target=self._work, args=(todo, done, stop), daemon=True).start()
        try:
            return dict(_next(done) for _ in pending)
        finally:
            stop.set()

    def _work(
        self,
        todo: queue.SimpleQueue[tuple[int, Request]],
        done: queue.SimpleQueue[tuple[int, _Outcome]],
        stop: threading.Event,
    ) -> None:
        while True:
            try:
                index, request = todo.get_nowait()
            except queue.Empty:
                return
            outcome = None if stop.is_set() else self._outcome(request)
            if _is_fatal(outcome):
                stop.set()
            done.put((index, outcome))

    def _outcome(self, request: Request) -> _Outcome:
        try:
            return self._exchange(request)
        except BaseException as error:  # whatever it is, the asking thread has to hear of it
            return error

    def _exchange(self, request: Request) -> Reply | ProviderError:
        try:
            with room_for_exchange(self._folder_of(request.iteration), request):
                reply = self._provider.complete(request)
        except ProviderError as error:
            self._record(request, None, error)
            return error
        with self._lock:
            self._usage += reply.usage
        self._record(request, reply, None)
        return reply

    def _record(self, request: Request, reply: Reply | None, error: ProviderError | None) -> None:
        folder = self._folder_of(request.iteration)
        write_exchange(folder, request, reply, error, self._provider.name, self._parameters)


def _next(done: queue.SimpleQueue[tuple[int, _Outcome]]) -> tuple[int, _Outcome]:
    while True:
        try:
            return done.get(timeout=_POLL_S)
        except queue.Empty:
            continue


def _is_fatal(outcome: _Outcome) -> bool:
    if isinstance(outcome, ProviderError):
        return isinstance(outcome, ProviderUnusable)
    return isinstance(outcome, BaseException)


def _judged(outcomes: Iterable[_Outcome]) -> list[Reply | ProviderError]:
    answers: list[Reply | ProviderError] = []
    outcomes = list(outcomes)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and _is_fatal(outcome):
            raise outcome
    for outcome in outcomes:
        if isinstance(outcome, (Reply, ProviderError)):
            answers.append(outcome)
    if not any(isinstance(answer, Reply) for answer in answers):
        for answer in answers:
            if isinstance(answer, BudgetExceeded):
                raise answer
    return answers
