"""The same client against a server that others wrote: aimock, a mock of many providers' APIs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rewardsmith.errors import ProviderError
from rewardsmith.llm.chat import ChatProvider
from rewardsmith.llm.exchanges import read_exchanges
from rewardsmith.llm.replay import ReplayProvider
from rewardsmith.llm.session import Session
from rewardsmith.llm.types import Reply, Request
from tests.llm.aimock import Aimock, Unavailable, serving
from tests.llm.conftest import KEY, llm_settings

pytestmark = pytest.mark.slow

FIXTURES = {
    "fixtures": [
        {
            "match": {"userMessage": "reach the goal", "sequenceIndex": index},
            "response": {"content": f"reward of iteration {index + 1}"},
        }
        for index in range(3)
    ]
    + [{"match": {"userMessage": "anything"}, "response": {"content": "a reward"}}]
}

Make = Callable[..., Request]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    """One server for all tests of this module."""
    try:
        with serving(FIXTURES, tmp_path_factory.mktemp("fixtures")) as server:
            yield server
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def aimock(process: Aimock) -> Aimock:
    """The server with no faults, counters at zero and an empty journal."""
    process.control("DELETE", "chaos")
    process.control("POST", "reset")
    process.control("POST", "fixtures", FIXTURES)
    return process


def _provider(aimock: Aimock, **changes: Any) -> ChatProvider:
    settings = llm_settings("openai", base_url=f"{aimock.root}/v1", **changes)
    return ChatProvider(settings, {"OPENAI_API_KEY": KEY})


def test_three_iterations_are_recorded_and_replayed(
    aimock: Aimock, request_of: Make, tmp_path: Path
) -> None:
    requests = [request_of(text=f"reach the goal, history {i}", iteration=i) for i in range(1, 4)]
    session = Session(_provider(aimock), lambda i: tmp_path / f"iteration_{i}", 1, {})
    live = [session.ask([request])[0] for request in requests]
    expected = [f"reward of iteration {i}" for i in range(1, 4)]
    assert [getattr(reply, "text", reply) for reply in live] == expected
    assert session.usage.requests == 3
    assert session.usage.usd is not None and 0 < session.usage.usd < 0.01

    replay = ReplayProvider(llm_settings("replay", replay=str(tmp_path)), {})
    assert [replay.complete(request).text for request in requests] == expected
    assert len(read_exchanges(tmp_path)) == 3
    assert KEY not in "".join(path.read_text() for path in tmp_path.glob("*/*"))


def test_the_journal_shows_a_well_formed_request(aimock: Aimock, request_of: Make) -> None:
    _provider(aimock, max_completion_tokens=321).complete(request_of(text="anything"))
    (entry,) = aimock.control("GET", "journal")
    assert entry["path"] == "/v1/chat/completions"
    assert entry["body"]["model"] == "gpt-5-mini"
    assert entry["body"]["max_completion_tokens"] == 321
    assert entry["body"]["messages"][-1] == {"role": "user", "content": "anything"}


def test_many_at_once(aimock: Aimock, request_of: Make, tmp_path: Path) -> None:
    session = Session(_provider(aimock), lambda i: tmp_path, 8, {})
    answers = session.ask([request_of(i, "anything") for i in range(16)])
    assert all(isinstance(answer, Reply) and answer.text == "a reward" for answer in answers)


def test_one_server_error_is_survived(aimock: Aimock, request_of: Make) -> None:
    aimock.control("POST", "error", {"status": 503, "body": {"message": "overloaded"}})
    reply = _provider(aimock).complete(request_of(text="anything"))
    assert reply.text == "a reward"
    assert reply.notes == ("1 retries",)


@pytest.mark.parametrize(
    ("chaos", "expected"),
    [
        ({"rateLimitRate": 1}, "limits the rate of requests"),
        ({"malformedRate": 1}, "sent no usable answer"),
        ({"dropRate": 1}, "answered 500"),
        ({"disconnectRate": 1}, "cannot be reached|sent no usable answer"),
    ],
    ids=["rate-limit", "malformed", "drop", "disconnect"],
)
def test_lasting_chaos_is_one_sentence(
    aimock: Aimock, request_of: Make, chaos: dict[str, float], expected: str
) -> None:
    aimock.control("POST", "chaos", chaos)
    with pytest.raises(ProviderError, match=expected) as caught:
        _provider(aimock, max_retries=0).complete(request_of(text="anything"))
    assert "\n" not in str(caught.value)


def test_random_chaos_costs_candidates_not_the_run(
    aimock: Aimock, request_of: Make, tmp_path: Path
) -> None:
    aimock.control("POST", "chaos", {"malformedRate": 0.2, "disconnectRate": 0.2})
    session = Session(_provider(aimock, max_retries=2), lambda i: tmp_path, 8, {})
    answers = session.ask([request_of(i, "anything") for i in range(8)])
    assert sum(isinstance(answer, Reply) for answer in answers) >= 4
    assert len(list(tmp_path.iterdir())) == 8
