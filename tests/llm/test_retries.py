"""When it is worth to try again, and how long to wait."""

from __future__ import annotations

import time
from email.utils import formatdate

import httpx
import openai
import pytest

from rewardsmith.llm.retries import Unreadable, may_be_billed, may_pass, pause

_REQUEST = httpx.Request("POST", "http://127.0.0.1/v1")


def _status(status: int, **headers: str) -> openai.APIStatusError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx.Response(status, headers=named, request=_REQUEST)
    return openai.APIStatusError("no", response=response, body=None)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_trouble_that_passes(status: int) -> None:
    assert may_pass(_status(status))
    assert not may_pass(_status(status, x_should_retry="false"))
    assert not may_pass(_status(status, retry_after="3600"))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_trouble_that_stays(status: int) -> None:
    assert not may_pass(_status(status))
    assert may_pass(_status(status, x_should_retry="true"))


@pytest.mark.parametrize(
    ("error", "billed"),
    [
        (_status(429), False),
        (_status(500), False),
        (_status(502), True),
        (Unreadable("cut"), True),
        (openai.APITimeoutError(_REQUEST), True),
    ],
    ids=str,
)
def test_what_may_be_on_the_bill(error: Exception, billed: bool) -> None:
    assert may_be_billed(error) == billed


@pytest.mark.parametrize("cause", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
def test_what_was_never_sent_is_not(cause: type[Exception]) -> None:
    error = openai.APIConnectionError(request=_REQUEST)
    error.__cause__ = cause("nobody there")
    assert not may_be_billed(error)
    assert may_pass(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry_after": "7"}, 7.0), ({"retry_after_ms": "1500", "retry_after": "9"}, 1.5)],
)
def test_the_server_says_when(headers: dict[str, str], seconds: float) -> None:
    assert pause(_status(429, **headers), 0) == seconds


def test_the_server_names_a_date() -> None:
    error = _status(429, retry_after=formatdate(time.time() + 20, usegmt=True))
    assert 15 <= pause(error, 0) <= 20


@pytest.mark.parametrize("words", ["", "soon", "-5", "nan", "0", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_without_a_word_it_waits_longer_each_time(words: str) -> None:
    error = _status(503, retry_after=words)
    assert all(0.25 <= pause(error, 0) <= 0.5 for _ in range(20))
    assert all(4.0 <= pause(error, 9) <= 8.0 for _ in range(20))
    assert pause(Unreadable("cut"), 0) <= 0.5
