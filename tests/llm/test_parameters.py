"""Servers that refuse a field get along without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rewardsmith.llm.session import Session
from rewardsmith.llm.types import Reply, Request
from tests.llm import faulty_server as faults
from tests.llm.conftest import chat_provider, error_of
from tests.llm.faulty_server import FaultyServer

Make = Callable[..., Request]


@pytest.mark.parametrize(
    "rule",
    [
        faults.refuse("temperature"),
        faults.refuse("temperature", "unsupported_value"),
        faults.refuse("temperature", None),
        faults.refuse("temperature", None, param=False),
        faults.refuse("temperature", None, param=False, status=422),
    ],
    ids=["parameter", "value", "param-only", "sentence-only", "422"],
)
def test_a_refused_parameter_is_left_out_for_good(
    server: FaultyServer, request_of: Make, rule: faults.Rule
) -> None:
    server.rules.append(rule)
    provider = chat_provider(server)
    replies = [provider.complete(request_of(candidate)) for candidate in range(2)]
    assert ["temperature" in body for body in server.bodies] == [True, False, False]
    for reply in replies:
        assert reply.notes == ("the server refused temperature: left out",)


def test_fastapi_names_the_field_in_its_own_way(server: FaultyServer, request_of: Make) -> None:
    detail = [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"]}]
    server.script(faults.Answer(422, json.dumps({"detail": detail}).encode()))
    chat_provider(server).complete(request_of())
    assert server.bodies[1]["max_tokens"] == 8192


def test_the_old_name_of_the_limit(server: FaultyServer, request_of: Make) -> None:
    server.rules.append(faults.refuse("max_completion_tokens"))
    provider = chat_provider(server, max_completion_tokens=77)
    reply = provider.complete(request_of())
    provider.complete(request_of())
    assert [body.get("max_tokens") for body in server.bodies] == [None, 77, 77]
    assert "max_completion_tokens" not in server.bodies[1]
    assert reply.notes == ("the server refused max_completion_tokens: max_tokens is sent instead",)


def test_the_new_name_of_the_limit(server: FaultyServer, request_of: Make) -> None:
    server.rules.append(faults.refuse("max_tokens"))
    chat_provider(server, parameters={"max_tokens": 55}).complete(request_of())
    assert server.bodies[1]["max_completion_tokens"] == 55
    assert "max_tokens" not in server.bodies[1]


def test_a_limit_that_is_too_high_is_never_dropped(server: FaultyServer, request_of: Make) -> None:
    for name in ("max_completion_tokens", "max_tokens"):
        server.rules.append(faults.refuse(name, None))
    error = error_of(chat_provider(server), request_of())
    assert "'max_tokens' is not supported" in str(error)
    assert len(server.journal) == 2


def test_a_limit_that_is_ignored_is_sent_by_its_old_name(
    server: FaultyServer, request_of: Make
) -> None:
    server.script(faults.ok(completion_tokens=500))
    provider = chat_provider(server, max_completion_tokens=100)
    provider.complete(request_of())
    reply = provider.complete(request_of())
    assert server.bodies[1]["max_tokens"] == 100
    assert reply.notes == ("the server ignored max_completion_tokens: max_tokens is sent instead",)


def test_several_refusals_one_after_the_other(server: FaultyServer, request_of: Make) -> None:
    for name in ("temperature", "max_completion_tokens", "seed"):
        server.rules.append(faults.refuse(name))
    reply = chat_provider(server, parameters={"seed": 1, "top_p": 0.5}).complete(request_of())
    assert set(server.bodies[-1]) == {"model", "messages", "max_tokens", "top_p"}
    assert len(reply.notes) == 3
    assert len(server.journal) == 4


def test_threads_learn_from_each_other(
    server: FaultyServer, request_of: Make, tmp_path: Path
) -> None:
    for name in ("temperature", "max_completion_tokens"):
        server.rules.append(faults.refuse(name))
    session = Session(chat_provider(server), lambda i: tmp_path, 6, {})
    answers = session.ask([request_of(candidate) for candidate in range(12)])
    assert all(isinstance(answer, Reply) for answer in answers)
    last = answers[-1]
    assert isinstance(last, Reply)
    assert len(last.notes) == 2
    assert server.most_at_once <= 6
