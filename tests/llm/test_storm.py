"""A provider behind a network that fails: nothing is lost, asked twice, or paid beyond the cap."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rewardsmith.llm.types import Reply
from tests.llm import storm
from tests.llm.aimock import Unavailable
from tests.llm.storm import REQUESTS, USD, Outcome, Upstream

pytestmark = pytest.mark.slow

SEED = 5


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Threads and sockets are gone when all that asked and answered is gone."""

    def held() -> tuple[int, int]:
        gc.collect()
        return threading.active_count(), len(psutil.Process().net_connections("tcp"))

    before = held()
    yield
    end = time.monotonic() + 10
    while (after := held()) != before and time.monotonic() < end:
        time.sleep(0.05)
    assert after == before, threading.enumerate()


@pytest.fixture(params=["aimock", "own"])
def upstream(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Upstream]:
    try:
        with (storm.third_party if request.param == "aimock" else storm.own)(tmp_path) as found:
            yield found
    except Unavailable as error:
        pytest.skip(str(error))


def check_all_are_accounted_for(outcome: Outcome) -> None:
    assert len(outcome.answers) == REQUESTS
    assert outcome.answered | outcome.reported == set(range(REQUESTS))
    for index in outcome.answered:
        answer = outcome.answers[index]
        assert isinstance(answer, Reply)
        assert answer.text == f"reward {index}"


def test_every_request_is_answered_or_reported_and_none_is_paid_twice(
    upstream: Upstream, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with storm.proxied(upstream, SEED) as proxy:
        first = storm.ask(proxy.url, run, max_usd=None)
        check_all_are_accounted_for(first)
        assert len(list((run / "iteration_1").iterdir())) == REQUESTS
        assert len(proxy.counts) > 15  # nearly all kinds of faults were met
        assert sum(proxy.counts.values()) - proxy.counts["none"] > REQUESTS / 2
        assert len(first.answered) > REQUESTS / 2
        assert first.reported - first.refused
        paid = upstream.billed()
        for index in first.answered:  # once, and once more for each answer that got lost
            assert paid[index] <= 1 + first.lost[index]
        assert first.spent >= USD * sum(paid.values()) - 1e-9

        proxy.faulty = False
        second = storm.ask(proxy.url, run, max_usd=None, timeout_s=30)
        check_all_are_accounted_for(second)
        assert second.answered == set(range(REQUESTS))
        again = upstream.billed() - paid
        assert set(again) == first.reported
        assert set(again.values()) == {1}
        third = storm.ask(proxy.url, run, max_usd=None)
        assert third.answers == second.answers
        assert upstream.billed() == paid + again


def test_the_cap_holds_by_the_providers_own_book(upstream: Upstream, tmp_path: Path) -> None:
    run, cap = tmp_path / "run", 0.6 * REQUESTS * USD
    with storm.proxied(upstream, SEED + 1) as proxy:
        first = storm.ask(proxy.url, run, cap)
        check_all_are_accounted_for(first)
        assert first.answered and first.refused  # it bit in the middle
        assert USD * sum(upstream.billed().values()) <= first.spent + 1e-9 <= cap + 2e-9
        second = storm.ask(proxy.url, run, cap)
        check_all_are_accounted_for(second)
        assert second.answered >= first.answered
        assert USD * sum(upstream.billed().values()) <= second.spent + 1e-9 <= cap + 2e-9
