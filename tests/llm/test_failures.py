"""What fails for good is told in one sentence: what came, and what to do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from rewardsmith.errors import ProviderUnusable
from rewardsmith.llm.chat import ChatProvider
from rewardsmith.llm.types import Request
from tests.llm import faulty_server as faults
from tests.llm.conftest import KEY, chat_provider, error_of, llm_settings
from tests.llm.faulty_server import FaultyServer

Make = Callable[..., Request]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.rate_limited(), r"limits the rate of requests, in 2 attempts \(429\): lower llm\."),
        (faults.broken(), r"answered 500, in 2 attempts: internal trouble"),
        (faults.malformed(), r"sent no usable answer, in 2 attempts: JSONDecodeError"),
        (faults.empty_choices(), r"no usable answer.*no choices in the answer"),
        (faults.cut_off(), r"no usable answer, in 2 attempts"),
        (faults.slow(0.7), r"did not answer within llm\.timeout_s=0\.4 s, in 2 attempts"),
        (faults.failure(400, "too long", "context_length_exceeded", "messages"), "400: too long"),
    ],
    ids=["429", "500", "malformed", "empty", "cut", "slow", "400"],
)
def test_a_lasting_fault_is_one_candidates_failure(
    server: FaultyServer, request_of: Make, fault: faults.Answer, expected: str
) -> None:
    server.rules.append(lambda sent: fault)
    timeout_s = 0.4 if fault.delay else 5.0
    error = error_of(chat_provider(server, max_retries=1, timeout_s=timeout_s), request_of())
    assert not isinstance(error, ProviderUnusable)
    assert re.search(expected, str(error)), str(error)


def test_crumbs_do_not_keep_a_request_alive(server: FaultyServer, request_of: Make) -> None:
    server.rules.append(lambda sent: faults.crumbling(0.05))
    started = time.monotonic()
    error = error_of(chat_provider(server, max_retries=0, timeout_s=0.5), request_of())
    assert "not complete after llm.timeout_s=0.5 s" in str(error)
    assert time.monotonic() - started < 2


def test_nobody_there(request_of: Make) -> None:
    with FaultyServer() as gone:
        url = gone.url
    provider = ChatProvider(llm_settings("compatible", base_url=url, model="m", max_retries=0), {})
    error = error_of(provider, request_of())
    assert not isinstance(error, ProviderUnusable)
    assert f"{url} cannot be reached" in str(error)


def test_nobody_there_when_the_model_is_to_be_found() -> None:
    with FaultyServer() as gone:
        url = gone.url
    with pytest.raises(ProviderUnusable, match=r"cannot be reached.*check llm\.base_url"):
        ChatProvider(llm_settings("vllm", base_url=url), {})


def test_a_password_in_the_address_is_not_shown(request_of: Make) -> None:
    url = "http://me:hunter22@127.0.0.1:1/v1"
    provider = ChatProvider(llm_settings("compatible", base_url=url, model="m", max_retries=0), {})
    assert "hunter22" not in provider.describe()
    assert "hunter22" not in str(error_of(provider, request_of()))


def test_a_wrong_key(server: FaultyServer, request_of: Make) -> None:
    server.rules.append(faults.only_key("another"))
    error = error_of(chat_provider(server), request_of())
    assert isinstance(error, ProviderUnusable)
    assert str(error) == (
        f"{server.url} refused the key in OPENAI_API_KEY (401): set the right one in the "
        "environment or in .env, or use llm.provider=builtin."
    )
    assert len(server.journal) == 1


def test_a_forbidden_key_quotes_the_server_but_not_the_key(
    server: FaultyServer, request_of: Make
) -> None:
    server.script(faults.failure(403, f"country\nnot supported for {KEY} " + "x" * 500))
    message = str(error_of(chat_provider(server), request_of()))
    assert "It says: country not supported for *** xxx" in message
    assert len(message.partition("It says: ")[2]) == 200


@pytest.mark.parametrize(
    "fault",
    [
        faults.failure(404, "no such model", "model_not_found"),
        faults.failure(400, "no such model", "model_decommissioned"),
        faults.failure(403, "no such model", "model_not_found"),
    ],
    ids=["404", "400", "403"],
)
def test_an_unknown_model(server: FaultyServer, request_of: Make, fault: faults.Answer) -> None:
    server.script(fault)
    error = error_of(chat_provider(server, model="gpt-99"), request_of())
    assert isinstance(error, ProviderUnusable)
    assert "does not offer the model 'gpt-99'" in str(error)
    assert "choose one with llm.model=NAME" in str(error)


@pytest.mark.parametrize(
    "fault",
    [
        faults.failure(429, "quota", "insufficient_quota", headers=faults.RETRY_SOON),
        faults.failure(402, "payment required"),
    ],
    ids=["429", "402"],
)
def test_no_credit_left(server: FaultyServer, request_of: Make, fault: faults.Answer) -> None:
    server.rules.append(lambda sent: fault)
    error = error_of(chat_provider(server, max_retries=1), request_of())
    assert isinstance(error, ProviderUnusable)
    assert "OPENAI_API_KEY has no credit left" in str(error)


def test_a_server_that_wants_a_key_after_all(server: FaultyServer, request_of: Make) -> None:
    server.rules.append(faults.only_key(KEY))
    provider = ChatProvider(llm_settings("compatible", base_url=server.url), {})
    assert "refused the key in LLM_API_KEY" in str(error_of(provider, request_of()))
