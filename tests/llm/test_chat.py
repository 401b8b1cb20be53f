"""A language model behind a server that behaves, and one that does not."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rewardsmith.errors import (
    BudgetExceeded,
    ConfigurationError,
    ProviderError,
    ProviderUnusable,
)
from rewardsmith.llm.chat import ChatProvider
from rewardsmith.llm.exchanges import read_exchanges
from rewardsmith.llm.ledger import Ledger
from rewardsmith.llm.session import Session
from rewardsmith.llm.types import Reply, Request, Usage
from tests.llm import faulty_server as faults
from tests.llm.conftest import KEY, chat_provider, error_of, llm_settings
from tests.llm.faulty_server import FaultyServer

Make = Callable[..., Request]


# What is sent, and what comes back.


def test_a_reply_with_all_that_is_known_of_it(server: FaultyServer, request_of: Make) -> None:
    server.script(faults.ok("def f(): ...", "model-a-2026", 1000, 500))
    reply = chat_provider(server).complete(request_of())
    assert reply.text == "def f(): ..."
    assert reply.model == "model-a-2026"
    assert reply.finish_reason == "stop"
    assert reply.usage == Usage(1, 1000, 500, usd=0.003)
    assert 0 < reply.seconds < 5
    assert reply.notes == ()


def test_what_is_sent(server: FaultyServer, request_of: Make) -> None:
    parameters = {"top_p": 0.9, "top_k": 20, "extra_headers": {"X-Title": "rewardsmith"}}
    chat_provider(server, parameters=parameters, temperature=0.5).complete(request_of(text="Hop."))
    assert server.journal[0].path == "/v1/chat/completions"
    assert server.journal[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.journal[0].headers["x-title"] == "rewardsmith"
    assert server.journal[0].body == {
        "model": "model-a",
        "messages": [
            {"role": "system", "content": "You write rewards."},
            {"role": "user", "content": "Hop."},
        ],
        "temperature": 0.5,
        "max_completion_tokens": 8192,
        "top_p": 0.9,
        "top_k": 20,
    }


def test_temperature_null_is_not_sent(server: FaultyServer, request_of: Make) -> None:
    chat_provider(server, temperature=None).complete(request_of())
    assert "temperature" not in server.bodies[0]


def test_an_empty_reply_is_a_reply(server: FaultyServer, request_of: Make) -> None:
    server.script(faults.ok(None, completion_tokens=8192, finish_reason="length"))
    reply = chat_provider(server).complete(request_of())
    assert (reply.text, reply.finish_reason) == ("", "length")


def test_a_half_of_a_surrogate_pair_can_go_into_the_next_prompt(
    server: FaultyServer, request_of: Make
) -> None:
    server.script(faults.ok("\ud83d!"))
    reply = chat_provider(server).complete(request_of())
    assert reply.text == "?!"
    assert len(request_of(text=reply.text).key) == 64


def test_describe_names_who_where_and_how_much(server: FaultyServer) -> None:
    assert chat_provider(server).describe() == f"openai: model-a at {server.url}, at most $1 in all"


# Keys, addresses, models.


def test_a_missing_key_is_told_at_once_without_the_sdk() -> None:
    code = (
        "import sys\n"
        "from rewardsmith.errors import ProviderUnusable\n"
        "from rewardsmith.llm.chat import ChatProvider\n"
        "from tests.llm.conftest import llm_settings\n"
        "try: ChatProvider(llm_settings('groq'), {'GROQ_API_KEY': ' '})\n"
        "except ProviderUnusable as error: print(error)\n"
        "print('openai' in sys.modules)\n"
    )
    root = Path(__file__).parents[2]
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True
    ).stdout
    assert printed == (
        "llm.provider=groq needs a key: set GROQ_API_KEY in the environment or in .env, or use "
        "llm.provider=builtin, which needs none.\nFalse\n"
    )


def test_a_mangled_key_is_told_without_showing_it(server: FaultyServer) -> None:
    settings = llm_settings("openai", base_url=server.url)
    with pytest.raises(ProviderUnusable, match="OPENAI_API_KEY holds characters") as caught:
        ChatProvider(settings, {"OPENAI_API_KEY": "sk-fake…0123"})
    assert "0123" not in str(caught.value)


def test_a_key_with_a_line_end_works(server: FaultyServer, request_of: Make) -> None:
    server.rules.append(faults.only_key(KEY))
    settings = llm_settings("openai", base_url=server.url, model="model-a")
    ChatProvider(settings, {"OPENAI_API_KEY": KEY + "\r\n"}).complete(request_of())


def test_a_local_server_needs_no_key(server: FaultyServer, request_of: Make) -> None:
    settings = llm_settings("ollama", base_url=server.url)
    provider = ChatProvider(settings, {})
    assert provider.complete(request_of()).usage.usd == 0.0
    assert "max_completion_tokens" not in server.bodies[0]
    assert server.bodies[0]["max_tokens"] == 8192


def test_the_variable_for_the_address(server: FaultyServer, request_of: Make) -> None:
    environment = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url}
    ChatProvider(llm_settings("openai", model="model-a"), environment).complete(request_of())
    assert len(server.journal) == 1


def test_nothing_is_taken_from_the_process_behind_our_back(
    server: FaultyServer, request_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-fake-of-the-process")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-process")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-the-process")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Custom: of-the-process")
    ChatProvider(llm_settings("compatible", base_url=server.url), {}).complete(request_of())
    assert "of-the-process" not in str(server.journal[0].headers)


def test_openais_organization_goes_to_openai_only(server: FaultyServer, request_of: Make) -> None:
    account = {"OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": "proj-1"}
    environment = {"OPENAI_API_KEY": KEY, "GROQ_API_KEY": KEY, **account}
    for provider in ("openai", "groq"):
        settings = llm_settings(provider, base_url=server.url)
        ChatProvider(settings, environment).complete(request_of())
    openai, groq = (sent.headers for sent in server.journal)
    assert (openai["openai-organization"], openai["openai-project"]) == ("org-1", "proj-1")
    assert "openai-organization" not in groq
    assert "openai-project" not in groq


def test_the_only_model_of_a_server_is_found(server: FaultyServer, request_of: Make) -> None:
    server.models = ["qwen-coder"]
    provider = ChatProvider(llm_settings("vllm", base_url=server.url), {})
    assert provider.model == "qwen-coder"
    provider.complete(request_of())
    assert server.bodies[0]["model"] == "qwen-coder"


def test_several_models_are_listed(server: FaultyServer) -> None:
    server.models = ["b", "a"]
    with pytest.raises(ProviderUnusable, match=r"serves 2 models, so set llm\.model=NAME.*: a, b"):
        ChatProvider(llm_settings("vllm", base_url=server.url), {})


def test_no_address() -> None:
    with pytest.raises(ConfigurationError, match=r"set llm\.base_url \(or LLM_BASE_URL"):
        ChatProvider(llm_settings("compatible"), {})


def test_an_address_without_a_scheme(server: FaultyServer) -> None:
    with pytest.raises(ConfigurationError, match="has to start with http"):
        chat_provider(server, base_url="127.0.0.1:8000")


@pytest.mark.parametrize("name", ["n", "stream", "model", "temperature"])
def test_parameters_that_have_a_setting_of_their_own(server: FaultyServer, name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"llm\.parameters\.{name} is not allowed: use"):
        chat_provider(server, parameters={name: 1})


# Faults that pass.


@pytest.mark.parametrize(
    "fault",
    [
        faults.rate_limited(),
        faults.broken(),
        faults.malformed(),
        faults.empty_choices(),
        faults.cut_off(),
        faults.Answer(body=b"[]"),
        faults.Answer(body=b'{"error": {"message": "upstream is busy", "code": 502}}'),
    ],
    ids=["429", "500", "malformed", "empty", "cut", "list", "error-with-200"],
)
def test_a_passing_fault_is_survived(
    server: FaultyServer, request_of: Make, fault: faults.Answer
) -> None:
    server.script(fault)
    reply = chat_provider(server).complete(request_of())
    assert reply.text == "fine"
    assert reply.notes[0] == "1 retries"
    assert ("lost answers" in str(reply.notes)) == (fault.status == 200)
    assert reply.usage.requests == 1
    assert len(server.journal) == 2


def test_a_time_out_is_survived(server: FaultyServer, request_of: Make) -> None:
    server.script(faults.slow(0.6))
    assert chat_provider(server, timeout_s=0.3).complete(request_of()).text == "fine"


def test_a_server_that_wants_to_be_left_alone_is_not_asked_again(
    server: FaultyServer, request_of: Make
) -> None:
    server.script(faults.failure(429, "tomorrow", headers={"Retry-After": "86400"}))
    with pytest.raises(ProviderError, match=r"in 1 attempt \(429\).*It says: tomorrow"):
        chat_provider(server).complete(request_of())
    assert len(server.journal) == 1


def test_retry_after_is_heeded(server: FaultyServer, request_of: Make) -> None:
    server.script(faults.failure(429, headers={"Retry-After": "0.7"}))
    started = time.monotonic()
    chat_provider(server).complete(request_of())
    assert time.monotonic() - started >= 0.7


def test_all_kinds_of_faults_share_one_number_of_retries(
    server: FaultyServer, request_of: Make
) -> None:
    server.script(faults.rate_limited(), faults.malformed(), faults.broken(), faults.malformed())
    with pytest.raises(ProviderError, match="in 3 attempts"):
        chat_provider(server, max_retries=2).complete(request_of())
    assert len(server.journal) == 3


# Money.


def test_the_cap_holds_before_the_first_request(server: FaultyServer, request_of: Make) -> None:
    with pytest.raises(BudgetExceeded, match=r"llm\.max_usd=0\.001"):
        chat_provider(server, max_usd=0.001).complete(request_of())
    assert server.journal == []


def test_the_cap_holds_across_requests(server: FaultyServer, request_of: Make) -> None:
    server.rules.append(lambda sent: faults.ok(prompt_tokens=100, completion_tokens=900))
    provider = chat_provider(server, max_usd=0.01, max_completion_tokens=1000)
    with pytest.raises(BudgetExceeded):
        for candidate in range(10):
            provider.complete(request_of(candidate))
    assert len(server.journal) == 2  # 0.0037 each, and a third could cost 0.0041


def test_a_failed_request_costs_nothing(server: FaultyServer, request_of: Make) -> None:
    server.script(*[faults.failure(400, "no")] * 5)
    provider = chat_provider(server, max_usd=0.005, max_completion_tokens=1000)
    for candidate in range(5):
        error_of(provider, request_of(candidate))
    assert provider.complete(request_of()).text == "fine"


@pytest.mark.parametrize(
    ("fault", "billed"),
    [
        (faults.cut_off(), True),
        (faults.malformed(), True),
        (faults.empty_choices(), True),
        (faults.slow(0.6), True),
        (faults.failure(504, "the gateway lost patience"), True),
        (faults.broken(), False),
        (faults.rate_limited(), False),
    ],
    ids=["cut", "malformed", "empty", "slow", "504", "500", "429"],
)
def test_an_answer_that_was_lost_counts_at_its_worst(
    server: FaultyServer, request_of: Make, fault: faults.Answer, billed: bool
) -> None:
    server.script(fault)
    # the worst of one attempt is $0.0041, an answer costs next to nothing
    changes = {"max_usd": 0.0083, "max_completion_tokens": 1000, "max_retries": 0}
    provider = chat_provider(server, timeout_s=0.3, **changes)
    error_of(provider, request_of(0))
    assert provider.complete(request_of(1)).text == "fine"
    if billed:
        with pytest.raises(BudgetExceeded, match=r"\$0\.0041 went to answers that were lost"):
            provider.complete(request_of(2))
    else:
        assert provider.complete(request_of(2)).text == "fine"


def test_nobody_there_costs_nothing(request_of: Make) -> None:
    with FaultyServer() as gone:
        provider = chat_provider(gone, max_usd=0.005, max_completion_tokens=1000, max_retries=0)
    for candidate in range(3):
        assert "cannot be reached" in str(error_of(provider, request_of(candidate)))


def test_what_was_in_flight_when_a_run_was_killed_counts_when_it_goes_on(
    server: FaultyServer, request_of: Make, tmp_path: Path
) -> None:
    changes = {"max_usd": 0.009, "max_completion_tokens": 1000}
    folder = tmp_path / "iteration_1"

    def session() -> Session:
        ledger = Ledger(tmp_path / "spent.jsonl")
        recorded = read_exchanges(tmp_path)
        return Session(chat_provider(server, **changes), lambda i: folder, 1, recorded, {}, ledger)

    session().ask([request_of(0)])
    before, _ = (tmp_path / "spent.jsonl").read_text().splitlines()
    session().ask([request_of(1)])
    with (tmp_path / "spent.jsonl").open("a") as stream:
        stream.write(before.replace(": 0,", ": 7,"))  # asked, then kill -9
    with pytest.raises(BudgetExceeded, match=r"only \$0\.0040 are left"):
        for candidate in range(2, 20):
            session().ask([request_of(candidate)])


def test_what_a_resumed_run_has_spent_counts(server: FaultyServer, request_of: Make) -> None:
    provider = chat_provider(server)
    provider.count_spent(Usage(9, 1, 1, usd=0.99))
    with pytest.raises(BudgetExceeded, match=r"only \$0\.0100 are left"):
        provider.complete(request_of())


def test_an_unknown_price_is_unknown(server: FaultyServer, request_of: Make) -> None:
    provider = chat_provider(server, prices={})
    assert provider.complete(request_of()).usage == Usage(1, 100, 20, usd=None)
    assert "price is unknown" in provider.describe()


def test_no_usage_reported_counts_the_worst(server: FaultyServer, request_of: Make) -> None:
    server.script(faults.ok(usage=False))
    reply = chat_provider(server, max_completion_tokens=1000).complete(request_of())
    assert reply.usage.completion_tokens == 1000
    assert reply.usage.usd is not None and reply.usage.usd >= 0.004
    assert reply.notes == ("the server reported no usage: the upper bound is counted",)


# Secrets.


def test_the_key_gets_nowhere(
    server: FaultyServer, request_of: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.script(
        faults.ok(f"my key is {KEY}", model=f"model-{KEY}"),
        faults.failure(400, f"bad request with {KEY}"),
        faults.failure(500, f"trouble with {KEY}", headers=faults.RETRY_SOON),
        faults.failure(500, f"trouble with {KEY}", headers=faults.RETRY_SOON),
        faults.Answer(body=json.dumps({"error": KEY}).encode()),
        faults.Answer(body=json.dumps({"error": "x" * 150 + KEY}).encode()),
    )
    parameters = {"extra_headers": {"X-Key": KEY}}
    provider = chat_provider(server, max_retries=1, parameters=parameters)
    session = Session(provider, lambda i: tmp_path, 1, {}, parameters)
    answers = session.ask([request_of(candidate) for candidate in range(4)])
    assert [type(answer) for answer in answers] == [Reply] + [ProviderError] * 3
    server.rules.append(faults.only_key("another"))
    with pytest.raises(ProviderUnusable) as caught:
        session.ask([request_of(4)])
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 5
    for text in (written, str(answers), repr(caught.value), caplog.text, provider.describe()):
        assert KEY not in text
        assert KEY[:12] not in text


def test_many_threads_build_one_client(server: FaultyServer, request_of: Make) -> None:
    provider = chat_provider(server)
    replies: list[Reply] = []
    threads = [
        threading.Thread(target=lambda: replies.append(provider.complete(request_of())))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 8


@pytest.mark.parametrize("path", ["", "/", "/v1"])
def test_groqs_address_can_be_given_with_or_without_its_path(
    path: str, server: FaultyServer, request_of: Make
) -> None:
    root = server.url.removesuffix("/v1")
    environment = {"GROQ_API_KEY": KEY, "GROQ_BASE_URL": root + path}
    ChatProvider(llm_settings("groq"), environment).complete(request_of())
    wanted = "/v1" if path == "/v1" else "/openai/v1"
    assert server.journal[0].path == f"{wanted}/chat/completions"
