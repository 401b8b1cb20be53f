"""Turns what can go wrong between the SDK and a server into one clear sentence each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from rewardsmith.errors import ProviderError, ProviderUnusable
from rewardsmith.llm.keys import scrub
from rewardsmith.llm.retries import Unreadable

# Of a server's own words, no more than this goes into a message.
_LONGEST_QUOTE = 200

_UNKNOWN_MODEL = ("model_not_found", "model_decommissioned")
_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")


@dataclass(frozen=True)
class Server:
    """Who is asked, as far as messages to the user name it.

    Attributes:
        provider: name of its file in ``cfg/llm``.
        base_url: as configured.
        model: None while it is still to be found out.
        key_variable: None if it needs no key.
        timeout_s: of one attempt.
        secrets: what must not be quoted.
    """

    provider: str
    base_url: str
    model: str | None
    key_variable: str | None
    timeout_s: float
    secrets: Collection[str]

    @property
    def address(self) -> str:
        """The base URL without user, password and query."""
        parts = urlsplit(self.base_url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def quote(self, text: object) -> str:
        """Bring a server's words into one short line without secrets."""
        # Scrubbed before it is cut, or half a key could remain at the end.
        line = " ".join(scrub(str(text), self.secrets).split())
        if len(line) > _LONGEST_QUOTE:
            line = line[: _LONGEST_QUOTE - 1] + "…"
        return line


def explain(error: Exception, server: Server, attempts: int = 1) -> ProviderError:
    """Find the sentence for an exception of the SDK, or for an answer that is no use.

    Args:
        error: of the last attempt.
        server: who was asked.
        attempts: that were made.
    """
    import openai

    tried = "in 1 attempt" if attempts == 1 else f"in {attempts} attempts"
    if isinstance(error, Unreadable):
        reason = server.quote(error)
        return ProviderError(f"{server.address} sent no usable answer, {tried}: {reason}")
    if isinstance(error, openai.APIStatusError):
        return _status(error, server, tried)
    if isinstance(error, openai.APITimeoutError):
        return _no_answer_in_time(server, tried)
    if isinstance(error, openai.APIConnectionError):
        reason = server.quote(error.__cause__ or error)
        return ProviderError(
            f"{server.address} cannot be reached ({reason}): check llm.base_url, the network, and "
            "that the server is running."
        )
    reason = server.quote(f"{type(error).__name__}: {error}")
    return ProviderError(f"The request to {server.address} failed: {reason}")


def _status(error: object, server: Server, tried: str) -> ProviderError:
    status = int(getattr(error, "status_code", 0))
    code = getattr(error, "code", None)
    words = server.quote(_words(error))
    if code in _UNKNOWN_MODEL or status == 404:
        return ProviderUnusable(
            f"{server.address} does not offer the model {server.model!r} ({status}): choose one "
            f"with llm.model=NAME, or correct llm.base_url. It says: {words}"
        )
    if code in _NO_CREDIT or status == 402:
        return ProviderUnusable(
            f"The account behind {server.key_variable} has no credit left at {server.provider} "
            f"({status}): top it up, or choose another llm.provider."
        )
    if status in (401, 403):
        return _refused_key(status, words, server)
    if status == 429:
        return ProviderError(
            f"{server.provider} limits the rate of requests, {tried} (429): lower "
            f"llm.concurrency, or try again later. It says: {words}"
        )
    often = f", {tried}" if status >= 500 else ""
    return ProviderError(f"{server.address} answered {status}{often}: {words}")


def _refused_key(status: int, words: str, server: Server) -> ProviderUnusable:
    if server.key_variable is None:
        return ProviderUnusable(
            f"{server.address} wants a key ({status}), but llm.provider={server.provider} has "
            "none: use llm.provider=compatible with LLM_API_KEY."
        )
    # What a server says of a wrong key (401) holds parts of the key.
    more = f" It says: {words}" if status == 403 else ""
    return ProviderUnusable(
        f"{server.address} refused the key in {server.key_variable} ({status}): set the right one "
        f"in the environment or in .env, or use llm.provider=builtin.{more}"
    )


def _no_answer_in_time(server: Server, tried: str) -> ProviderError:
    return ProviderError(
        f"{server.address} did not answer within llm.timeout_s={server.timeout_s:g} s, "
        f"{tried}: raise llm.timeout_s, or lower llm.max_completion_tokens."
    )


def _words(error: object) -> str:
    body = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    return str(getattr(error, "message", error))
