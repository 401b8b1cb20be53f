"""The nouns of a conversation with a provider: `Message`, `Request`, `Usage`, `Reply`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Message:
    """One turn of a chat: who speaks (``system``, ``user`` or ``assistant``) and what is said."""

    role: str
    content: str


@dataclass(frozen=True)
class Request:
    """What is asked of a provider for one candidate.

    Attributes:
        messages: the whole chat so far; the only thing a language model gets to see.
        iteration: number of the iteration, from 1.
        candidate: index of the candidate in its iteration, from 0.
        attempt: 0 for the first reply, then one more for each repair.
        parents: labels of the candidates that the chat shows; not part of `key`.
        brief: structured facts for the `builtin` designer, which does not read prose.
            Never sent anywhere, never recorded, not part of `key`.
    """

    messages: tuple[Message, ...]
    iteration: int
    candidate: int
    attempt: int = 0
    parents: tuple[str, ...] = field(default=(), compare=False)
    brief: Any = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> str:
        """SHA-256 of the content: the messages, and which of the equal requests this one is."""
        content = [[message.role, message.content] for message in self.messages]
        text = json.dumps([content, self.candidate, self.attempt], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Usage:
    """What requests cost.

    Attributes:
        requests: answered requests.
        prompt_tokens: tokens sent.
        completion_tokens: tokens received, reasoning tokens included.
        usd: dollars by the price table of the configuration; None where the price is unknown.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = 0.0

    def __add__(self, other: Usage) -> Usage:
        """Sum of both; dollars are unknown as soon as one of them is."""
        usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            usd,
        )


@dataclass(frozen=True)
class Reply:
    """What came back for one `Request`.

    Attributes:
        text: the reply as written; may be empty, which is the candidate's problem, not ours.
        model: the model that the server says has answered.
        finish_reason: ``stop``, ``length``, … in the server's words.
        usage: what it cost.
        seconds: wall time from request to reply, retries included.
        notes: what was done to get it, e.g. a parameter that the server refused.
    """

    text: str
    model: str
    finish_reason: str = "stop"
    usage: Usage = Usage(requests=1)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


class Provider(Protocol):
    """Anything that answers a `Request`; must be safe to call from several threads."""

    name: str
    model: str

    def complete(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            ProviderUnusable: no request can succeed (no key, wrong key, unknown model).
            BudgetExceeded: the answer could cost more than is left.
            ProviderError: this request failed for good, after its retries.
        """
        ...

    def describe(self) -> str:
        """One line for the start of a run: who answers, and at which address or from which file."""
        ...
