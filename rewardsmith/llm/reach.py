"""Does a provider answer, and take the key? Asked without spending a token: its list of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rewardsmith.errors import RewardsmithError
from rewardsmith.llm.chat import ChatProvider
from rewardsmith.llm.failures import Server
from rewardsmith.settings import LLMSettings

Answer = Literal["answers", "doubtful", "refused", "unreachable", "unusable"]


@dataclass(frozen=True)
class Reach:
    """What came of it.

    Attributes:
        provider: name of its file in ``cfg/llm``.
        answer: ``answers``; ``doubtful`` if something is odd; ``refused`` if the key is;
            ``unreachable``; ``unusable`` if nothing could even be asked.
        text: what happened, without any key.
        advice: what to do about it, empty if nothing.
    """

    provider: str
    answer: Answer
    text: str
    advice: str = ""


def reach(settings: LLMSettings, environment: Mapping[str, str], timeout_s: float = 5.0) -> Reach:
    """Ask a provider for its list of models, once.

    Args:
        settings: of the provider.
        environment: with its key.
        timeout_s: for the answer, in seconds.
    """
    name = settings.provider
    quick = {"timeout_s": timeout_s, "max_retries": 0, "model": settings.model or "any"}
    try:
        provider = ChatProvider(settings.model_copy(update=quick), environment)
    except RewardsmithError as error:
        return Reach(name, "unusable", str(error))
    try:
        models = provider.list_models()
    except Exception as error:  # a server that is none answers with anything
        return _failed(error, provider.server, timeout_s)
    return _answered(settings, provider.server, models)


def _answered(settings: LLMSettings, server: Server, models: list[str]) -> Reach:
    name, wanted = settings.provider, settings.model
    key = f", takes the key in {settings.key_variable}" if settings.key_required else ""
    text = f"{server.address} answers{key}"
    shown = server.quote(", ".join(models)) or "none"
    if wanted is None and len(models) != 1:
        shown = server.quote(", ".join(models)) or "none"
        return Reach(
            name, "doubtful", f"{text}; its models: {shown}", "Choose with llm.model=NAME."
        )
    if wanted is not None and wanted not in models:
        text = f"{text}, but does not list the model {wanted}"
        shown = server.quote(", ".join(models)) or "none"
        return Reach(name, "doubtful", text, f"Choose with llm.model=NAME; it lists: {shown}")
    return Reach(name, "answers", f"{text} and has {wanted or models[0]}")


def _failed(error: Exception, server: Server, timeout_s: float) -> Reach:
    import openai

    name, address = server.provider, server.address
    if isinstance(error, openai.APITimeoutError):
        text = f"{address} did not answer within {timeout_s:g} s"
        return Reach(name, "unreachable", text, "Check the network, or try again later.")
    if isinstance(error, openai.APIConnectionError):
        text = f"{address} cannot be reached ({server.quote(error.__cause__ or error)})"
        return Reach(name, "unreachable", text, "Check the network and the address.")
    if isinstance(error, openai.NotFoundError):
        text = f"{address} answers, but tells no models"
        return Reach(name, "doubtful", text, "The first request of a run will tell.")
    if isinstance(error, openai.APIStatusError):
        return _status(error.status_code, server)
    text = f"{address} answers, but not as such a server does ({type(error).__name__})"
    return Reach(name, "doubtful", text, "Check the address; most end in /v1.")


def _status(status: int, server: Server) -> Reach:
    """Nothing of the server's own words: what it says of a wrong key holds parts of the key."""
    name = server.provider
    if status in (401, 403):
        if server.key_variable is None:
            advice = "Use llm.provider=compatible with LLM_API_KEY."
            return Reach(name, "refused", f"{server.address} wants a key ({status})", advice)
        text = f"{server.address} refused the key in {server.key_variable} ({status})"
        advice = f"Set {server.key_variable} right, in the environment or in .env."
        return Reach(name, "refused", text, advice)
    text = f"{server.address} answered {status}"
    return Reach(name, "doubtful", text, "Try again later, or choose another llm.provider.")
