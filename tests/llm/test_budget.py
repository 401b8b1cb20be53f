"""The cap on dollars holds, whatever comes."""

from __future__ import annotations

import threading

import pytest

from rewardsmith.errors import BudgetExceeded
from rewardsmith.llm.budget import Budget, prompt_tokens_upper_bound
from rewardsmith.llm.types import Message, Usage
from rewardsmith.settings import Price

PRICES = {"small": Price(prompt=1.0, completion=4.0)}


def test_a_request_that_could_pass_the_cap_is_refused_before_it_is_sent() -> None:
    budget = Budget(0.01, PRICES)
    budget.reserve("small", 1000, 1000)  # 0.005
    with pytest.raises(BudgetExceeded, match=r"\$0\.0090.*llm\.max_usd=0\.01.*\$0\.0050 are left"):
        budget.reserve("small", 1000, 2000)


def test_settling_frees_what_was_not_used() -> None:
    budget = Budget(0.01, PRICES)
    usage = budget.settle(budget.reserve("small", 1000, 2000), Usage(1, 500, 250))
    assert usage == Usage(1, 500, 250, usd=0.0015)
    assert budget.spent == pytest.approx(0.0015)
    budget.reserve("small", 500, 2000)  # 0.0085: fits exactly


def test_a_failed_request_gives_its_reservation_back_once() -> None:
    budget = Budget(0.01, PRICES)
    reservation = budget.reserve("small", 1000, 2000)
    budget.release(reservation)
    budget.release(reservation)
    budget.reserve("small", 1000, 2000)
    with pytest.raises(BudgetExceeded):
        budget.reserve("small", 1000, 2000)


def test_more_than_estimated_is_counted_in_full() -> None:
    budget = Budget(0.01, PRICES)
    budget.settle(budget.reserve("small", 100, 100), Usage(1, 100, 5000))
    assert budget.spent == pytest.approx(0.0201)
    with pytest.raises(BudgetExceeded, match=r"only \$0\.0000 are left"):
        budget.reserve("small", 1, 1)


def test_unknown_price_counts_tokens_and_says_that_the_cap_is_void() -> None:
    budget = Budget(0.01, PRICES)
    usage = budget.settle(budget.reserve("other", 10**9, 10**9), Usage(1, 7, 8))
    assert usage == Usage(1, 7, 8, usd=None)
    assert "llm.max_usd=0.01 cannot be enforced" in budget.describe("other")
    assert budget.describe("small") == "at most $0.01 in all"


def test_a_star_prices_every_other_model() -> None:
    budget = Budget(0.0, {"*": Price(prompt=0, completion=0)})
    assert budget.settle(budget.reserve("any", 10, 10), Usage(1, 5, 5)).usd == 0.0


def test_no_cap_still_adds_up() -> None:
    budget = Budget(None, PRICES)
    budget.settle(budget.reserve("small", 10**6, 10**6), Usage(1, 10**6, 10**6))
    assert budget.spent == pytest.approx(5.0)
    assert budget.describe("small") == "no limit on its cost"


def test_waiting_for_others_uses_the_money_that_they_leave() -> None:
    budget = Budget(0.01, PRICES)
    first = budget.reserve("small", 1000, 2000)
    threading.Timer(0.05, budget.settle, (first, Usage(1, 10, 10))).start()
    budget.reserve("small", 1000, 2000, wait=True)


def test_no_number_of_threads_gets_past_the_cap() -> None:
    budget = Budget(0.05, PRICES)
    refused = []

    def spend() -> None:
        try:
            reservation = budget.reserve("small", 1000, 1000, wait=True)
        except BudgetExceeded:
            refused.append(1)
        else:
            budget.settle(reservation, Usage(1, 1000, 1000))

    threads = [threading.Thread(target=spend) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.spent == pytest.approx(0.05)
    assert len(refused) == 20


def test_the_bound_of_a_prompt_is_its_bytes() -> None:
    assert prompt_tokens_upper_bound([Message("user", "é" * 100)]) >= 200
