"""Many requests at once: in order, recorded, and stopped when they have to be."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rewardsmith.errors import (
    BudgetExceeded,
    ProviderError,
    ProviderUnusable,
    ResultsError,
    StorageError,
)
from rewardsmith.llm.exchanges import read_exchanges
from rewardsmith.llm.session import Session
from rewardsmith.llm.types import Provider, Reply, Request, Usage
from tests.llm.conftest import StubProvider
from tests.runs import ROOT

Make = Callable[..., Request]


def _session(
    provider: Provider, run: Path, concurrency: int = 4, recorded: dict[str, Reply] | None = None
) -> Session:
    return Session(provider, lambda i: run / f"iteration_{i}", concurrency, recorded or {})


def _echo(request: Request) -> Reply:
    time.sleep(0.01 * ((7 * request.candidate) % 5))  # the later ones may be the faster ones
    return Reply(f"reward {request.candidate}", "stub-1", usage=Usage(1, 10, 5, 0.25))


def test_replies_come_in_the_order_of_the_requests(tmp_path: Path, request_of: Make) -> None:
    session = _session(StubProvider(_echo), tmp_path)
    answers = session.ask([request_of(candidate) for candidate in range(9)])
    assert [getattr(answer, "text", None) for answer in answers] == [
        f"reward {candidate}" for candidate in range(9)
    ]
    assert session.usage == Usage(9, 90, 45, 2.25)
    assert len(read_exchanges(tmp_path)) == 9


def test_nothing_asked_is_nothing_answered(tmp_path: Path) -> None:
    assert _session(StubProvider(_echo), tmp_path).ask([]) == []


def test_no_more_in_flight_than_allowed(tmp_path: Path, request_of: Make) -> None:
    lock = threading.Lock()
    at_once: list[int] = []
    most = 0

    def answer(request: Request) -> Reply:
        nonlocal most
        with lock:
            at_once.append(1)
            most = max(most, len(at_once))
        time.sleep(0.02)
        with lock:
            at_once.pop()
        return Reply("x", "stub-1")

    _session(StubProvider(answer), tmp_path, concurrency=3).ask([request_of(i) for i in range(9)])
    assert most == 3


def test_what_is_on_record_is_neither_asked_nor_paid(tmp_path: Path, request_of: Make) -> None:
    first = _session(StubProvider(_echo), tmp_path)
    first.ask([request_of(0), request_of(1)])
    provider = StubProvider(_echo)
    second = _session(provider, tmp_path, recorded=read_exchanges(tmp_path))
    answers = second.ask([request_of(candidate) for candidate in range(3)])
    assert [request.candidate for request in provider.asked] == [2]
    assert [getattr(answer, "text", None) for answer in answers] == [
        "reward 0",
        "reward 1",
        "reward 2",
    ]
    assert second.usage.usd == 0.25


def test_what_a_resumed_run_has_spent_counts_towards_its_cap(tmp_path: Path) -> None:
    class Counting(StubProvider):
        spent = Usage()

        def count_spent(self, usage: Usage, ledger: object = None) -> None:
            self.spent += usage

    provider = Counting(_echo)
    recorded = {"a": Reply("x", "m", usage=Usage(1, 1, 1, 0.5)), "b": Reply("y", "m")}
    _session(provider, tmp_path, recorded=recorded)
    assert provider.spent == Usage(2, 1, 1, 0.5)


def test_one_failure_is_one_candidates_failure(tmp_path: Path, request_of: Make) -> None:
    def answer(request: Request) -> Reply:
        if request.candidate == 1:
            raise ProviderError("the server was busy")
        return _echo(request)

    answers = _session(StubProvider(answer), tmp_path).ask([request_of(i) for i in range(3)])
    assert [type(one) for one in answers] == [Reply, ProviderError, Reply]
    record = json.loads((tmp_path / "iteration_1" / "exchange_1_0.json").read_text())
    assert record["error"]["text"] == "the server was busy"


def test_an_unusable_provider_ends_it_but_keeps_what_is_in_flight(
    tmp_path: Path, request_of: Make
) -> None:
    def answer(request: Request) -> Reply:
        if request.candidate == 0:
            time.sleep(0.05)
            raise ProviderUnusable("wrong key")
        time.sleep(0.2)
        return _echo(request)

    provider = StubProvider(answer)
    with pytest.raises(ProviderUnusable, match="wrong key"):
        _session(provider, tmp_path, concurrency=2).ask([request_of(i) for i in range(6)])
    assert sorted(request.candidate for request in provider.asked) == [0, 1]
    assert [reply.text for reply in read_exchanges(tmp_path).values()] == ["reward 1"]


def test_when_money_runs_out_the_paid_replies_are_given(tmp_path: Path, request_of: Make) -> None:
    def answer(request: Request) -> Reply:
        if request.candidate > 0:
            raise BudgetExceeded("no money")
        return _echo(request)

    answers = _session(StubProvider(answer), tmp_path).ask([request_of(i) for i in range(3)])
    assert [type(one) for one in answers] == [Reply, BudgetExceeded, BudgetExceeded]


def test_when_there_was_no_money_at_all_it_is_raised(tmp_path: Path, request_of: Make) -> None:
    def answer(request: Request) -> Reply:
        raise BudgetExceeded("no money")

    with pytest.raises(BudgetExceeded, match="no money"):
        _session(StubProvider(answer), tmp_path).ask([request_of(i) for i in range(3)])


def test_a_bug_in_a_provider_is_not_swallowed(tmp_path: Path, request_of: Make) -> None:
    def answer(request: Request) -> Reply:
        raise KeyError("oops")

    with pytest.raises(KeyError, match="oops"):
        _session(StubProvider(answer), tmp_path).ask([request_of(0)])


def test_an_unwritable_record_is_not_swallowed(tmp_path: Path, request_of: Make) -> None:
    (tmp_path / "iteration_1").write_text("a file in the way")
    with pytest.raises(ResultsError, match="cannot be written"):
        _session(StubProvider(_echo), tmp_path).ask([request_of(0)])


_INTERRUPTED = """
import sys, time
from pathlib import Path
from rewardsmith.llm.session import Session
from rewardsmith.llm.types import Message, Reply, Request

class Slow:
    name, model = "slow", "slow-1"
    def complete(self, request):
        if request.candidate:
            time.sleep(60)
        return Reply("quick", "slow-1")

run = Path(sys.argv[1])
requests = [Request((Message("user", "x"),), 1, i) for i in range(8)]
try:
    Session(Slow(), lambda i: run / f"iteration_{i}", 4, {}).ask(requests)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_ends_the_program_at_once_and_keeps_what_is_there(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", _INTERRUPTED, str(tmp_path)])
    _interrupt(child, tmp_path / "iteration_1" / "exchange_0_0.json")
    assert [reply.text for reply in read_exchanges(tmp_path).values()] == ["quick"]


_STORM = """
import sys
from pathlib import Path
from rewardsmith.llm.session import Session
from rewardsmith.llm.types import Message, Request
from tests.llm.conftest import chat_provider
from tests.llm.faulty_server import FaultyServer, failure, ok

def answer(sent):
    if sent.body["messages"][0]["content"] == "quick":
        return ok("quick")
    return failure(429, "slow down", headers={"Retry-After": "60"})

run = Path(sys.argv[1])
texts = ["quick"] + ["storm"] * 7
requests = [Request((Message("user", text),), 1, i) for i, text in enumerate(texts)]
with FaultyServer() as server:
    server.rules.append(answer)
    try:
        Session(chat_provider(server), lambda i: run / f"iteration_{i}", 8, {}).ask(requests)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_ends_the_program_at_once_while_everybody_waits_to_try_again(
    tmp_path: Path,
) -> None:
    child = subprocess.Popen([sys.executable, "-c", _STORM, str(tmp_path)], cwd=ROOT)
    _interrupt(child, tmp_path / "iteration_1" / "exchange_0_0.json")
    assert [reply.text for reply in read_exchanges(tmp_path).values()] == ["quick"]


def _interrupt(child: subprocess.Popen[bytes], record: Path) -> None:
    """Send Ctrl-C once the record is there, and see that it works at once."""
    deadline = time.monotonic() + 20
    while not record.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    started = time.monotonic()
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=10) == 130
    assert time.monotonic() - started < 5


def test_nothing_is_paid_for_that_there_is_no_room_to_record(
    tmp_path: Path, request_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    asked: list[Request] = []

    def answer(request: Request) -> Reply:
        asked.append(request)
        return _echo(request)

    with pytest.raises(StorageError, match=r"exchange_0_0\.json cannot be written: No space"):
        _session(StubProvider(answer), tmp_path, concurrency=1).ask([request_of(0), request_of(1)])
    assert asked == []
