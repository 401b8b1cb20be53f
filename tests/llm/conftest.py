"""What all tests of the providers share: settings from the shipped YAML, requests, a server."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rewardsmith.errors import ProviderError
from rewardsmith.llm.chat import ChatProvider
from rewardsmith.llm.keys import names_secret
from rewardsmith.llm.types import Message, Reply, Request
from rewardsmith.settings import LLMSettings
from tests.llm.faulty_server import FaultyServer

CFG = Path(__file__).parents[2] / "cfg"
PRICES = {"model-a": {"prompt": 1.0, "completion": 4.0}}
KEY = "sk-fake-0123456789abcdef-never-real"


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of tests that take seconds."""
    config.addinivalue_line("markers", "slow: takes seconds, or needs something installed")


@functools.lru_cache
def compose(provider: str) -> dict[str, Any]:
    """Compose one provider's file as Hydra does, interpolations left open."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(CFG), version_base=None):
        config = compose(f"llm/{provider}")
    return OmegaConf.to_container(config.llm, resolve=False)  # type: ignore[return-value]


def llm_settings(provider: str, **changes: Any) -> LLMSettings:
    """Settings of a shipped provider, with changes as a user would make them."""
    from omegaconf import OmegaConf

    config = OmegaConf.create({"llm": {**compose(provider), **changes}})
    values = OmegaConf.to_container(config, resolve=True)
    return LLMSettings.model_validate(values["llm"])  # type: ignore[call-overload, index]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the user's own keys, addresses and proxies from every test."""
    for name in list(os.environ):
        proxy = name.lower().endswith("_proxy")
        if names_secret(name) or proxy or name.startswith("OPENAI_") or name.endswith("BASE_URL"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """A server that answers well until told otherwise."""
    with FaultyServer() as server:
        yield server


@pytest.fixture
def request_of() -> Callable[..., Request]:
    """Make a request from a candidate's index and its prompt."""

    def make(
        candidate: int = 0, text: str = "Write a reward.", attempt: int = 0, iteration: int = 1
    ) -> Request:
        messages = (Message("system", "You write rewards."), Message("user", text))
        return Request(messages, iteration, candidate, attempt)

    return make


def chat_provider(server: FaultyServer, **changes: Any) -> ChatProvider:
    """OpenAI's settings, pointed at the server on loopback."""
    defaults = {"base_url": server.url, "model": "model-a", "prices": PRICES, "timeout_s": 5.0}
    return ChatProvider(llm_settings("openai", **(defaults | changes)), {"OPENAI_API_KEY": KEY})


def error_of(provider: ChatProvider, request: Request) -> ProviderError:
    """Ask, and get the error, which is one line without the key."""
    with pytest.raises(ProviderError) as caught:
        provider.complete(request)
    message = str(caught.value)
    assert "\n" not in message
    assert KEY not in message
    return caught.value


class StubProvider:
    """Answers from a function, without a server."""

    name = "stub"
    model = "stub-1"

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        """Keep the function; it may raise."""
        self._answer = answer
        self.asked: list[Request] = []

    def complete(self, request: Request) -> Reply:
        """Answer one request."""
        self.asked.append(request)
        return self._answer(request)

    def describe(self) -> str:
        """Say that this is no model."""
        return "stub"
