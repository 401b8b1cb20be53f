"""Keeps a run under ``llm.max_usd``: reserve the worst case, settle what it really cost.

It covers what servers report and what the price table knows. An attempt whose answer was lost (a
cut connection, a time-out) may be on the provider's bill, so its worst case counts as spent.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from rewardsmith.errors import BudgetExceeded
from rewardsmith.llm.ledger import Ledger
from rewardsmith.llm.types import Message, Usage
from rewardsmith.settings import Price

# Room for the roles and separators that a chat template adds.
_TOKENS_PER_MESSAGE = 16
_PER_MILLION = 1e-6


def prompt_tokens_upper_bound(messages: Iterable[Message]) -> int:
    """Bound the tokens of a chat without a tokenizer: no token is shorter than one UTF-8 byte."""
    return _TOKENS_PER_MESSAGE + sum(
        len(message.content.encode()) + _TOKENS_PER_MESSAGE for message in messages
    )


@dataclass(frozen=True)
class Reservation:
    """Money set aside for one attempt.

    Attributes:
        number: tells equal reservations apart.
        price: by which it will be settled; None where the model's price is unknown.
        prompt_tokens: upper bound.
        completion_tokens: upper bound.
        usd: worst case; 0 where the price is unknown.
        line: its number in the ledger; None if there is no line.
    """

    number: int
    price: Price | None
    prompt_tokens: int
    completion_tokens: int
    usd: float
    line: int | None = None


class Budget:
    """The purse of a run; safe to use from several threads.

    >>> from rewardsmith.settings import Price
    >>> budget = Budget(0.01, {"small": Price(prompt=1.0, completion=4.0)})
    >>> reservation = budget.reserve("small", 1000, 2000)
    >>> reservation.usd
    0.009
    >>> budget.settle(reservation, Usage(1, prompt_tokens=500, completion_tokens=250)).usd
    0.0015
    >>> budget.reserve("small", 1000, 2000)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    rewardsmith.errors.BudgetExceeded: The next request could cost $0.0090, but of ...
    """

    def __init__(self, max_usd: float | None, prices: Mapping[str, Price]) -> None:
        """Start with nothing spent.

        Args:
            max_usd: hard cap; None for none.
            prices: by model; ``*`` is for every model that has no entry of its own.
        """
        self._max_usd = max_usd
        self._prices = prices
        self._spent = 0.0
        self._lost = 0.0
        self._ledger: Ledger | None = None
        self._open: dict[int, Reservation] = {}
        self._numbers = itertools.count()
        self._changed = threading.Condition()

    def reserve(
        self, model: str, prompt_tokens: int, completion_tokens: int, wait: bool = False
    ) -> Reservation:
        """Set the worst case of one attempt aside.

        Args:
            model: whose price counts.
            prompt_tokens: upper bound of what is sent.
            completion_tokens: upper bound of what comes back.
            wait: if only the worst case of requests in flight stands in the way, wait until they
                are settled instead of giving up. For callers that use one thread per request.

        Raises:
            BudgetExceeded: the request could take the run over the cap.
            ResultsError: the ledger cannot be written.
        """
        price = self._price(model)
        usd = 0.0 if price is None else _dollars(price, prompt_tokens, completion_tokens)
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: not self._open or self._fits(usd))
            if not self._fits(usd):
                raise BudgetExceeded(self._refusal(usd))
            line = self._ledger.ask(usd) if self._ledger and usd else None
            reservation = Reservation(
                next(self._numbers), price, prompt_tokens, completion_tokens, usd, line
            )
            self._open[reservation.number] = reservation
            return reservation

    def settle(self, reservation: Reservation, usage: Usage) -> Usage:
        """Replace a reservation by what the request has used, even if that is more.

        Returns:
            The usage with its dollars filled in; None where the price is unknown.
        """
        price = reservation.price
        usd = None
        if price is not None:
            usd = _dollars(price, usage.prompt_tokens, usage.completion_tokens)
        settled = replace(usage, usd=usd)
        self._close(reservation, usd or 0.0)
        return settled

    def release(self, reservation: Reservation) -> None:
        """Give a reservation back that cost nothing. Harmless if it is settled already."""
        self._close(reservation, 0.0)

    def lose(self, reservation: Reservation) -> None:
        """Count a reservation in full: its answer was lost, but may have been paid for."""
        with self._changed:
            if reservation.number in self._open:
                self._lost += reservation.usd
        self._close(reservation, reservation.usd)

    def count_spent(self, usage: Usage, ledger: Ledger | None = None) -> None:
        """Count what earlier requests of the same run have cost, before a resumed run goes on.

        Args:
            usage: of the replies on record.
            ledger: knows it better where it has lines, and is kept from now on.
        """
        usd = usage.usd or 0.0
        with self._changed:
            self._spent += usd if ledger is None else ledger.open(usd)
            self._ledger = ledger

    def _close(self, reservation: Reservation, usd: float) -> None:
        with self._changed:
            if self._open.pop(reservation.number, None) is None:
                return
            self._spent += usd
            if self._ledger and reservation.line is not None:
                self._ledger.pay(reservation.line, usd)
            self._changed.notify_all()

    @property
    def spent(self) -> float:
        """Dollars settled so far."""
        with self._changed:
            return self._spent

    def describe(self, model: str) -> str:
        """Say in a few words what the cap does for this model."""
        if self._price(model) is None:
            unknown = "its price is unknown, so tokens are counted but no dollars"
            if self._max_usd is None:
                return unknown
            return f"{unknown}, and llm.max_usd={self._max_usd:g} cannot be enforced"
        if self._max_usd is None:
            return "no limit on its cost"
        return f"at most ${self._max_usd:g} in all"

    def _price(self, model: str) -> Price | None:
        return self._prices.get(model) or self._prices.get("*")

    def _fits(self, usd: float) -> bool:
        if self._max_usd is None or usd == 0.0:
            return True
        reserved = sum(reservation.usd for reservation in self._open.values())
        return self._spent + reserved + usd <= self._max_usd

    def _refusal(self, usd: float) -> str:
        reserved = sum(reservation.usd for reservation in self._open.values())
        left = max(0.0, (self._max_usd or 0.0) - self._spent - reserved)
        lost = f" (${self._lost:.4f} went to answers that were lost)" if self._lost else ""
        return (
            f"The next request could cost ${usd:.4f}, but of llm.max_usd={self._max_usd:g} only "
            f"${left:.4f} are left{lost}: raise llm.max_usd or lower llm.max_completion_tokens."
        )


def _dollars(price: Price, prompt_tokens: int, completion_tokens: int) -> float:
    millionths = price.prompt * prompt_tokens + price.completion * completion_tokens
    return round(millionths * _PER_MILLION, 12)
