"""What one model on one server takes: learned from its refusals, never from its name.

OpenAI-compatible servers differ in the fields they accept. A refused field is renamed or left out,
and that is remembered for all further requests.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from rewardsmith.errors import ConfigurationError
from rewardsmith.settings import LLMSettings

# Two names of one limit; newer servers take the first, older ones only the second.
_LIMITS = ("max_completion_tokens", "max_tokens")

# Fields that this package sets itself, and what to use instead.
_RESERVED = {
    "model": "llm.model",
    "messages": "the task's description",
    "temperature": "llm.temperature",
    "timeout": "llm.timeout_s",
    "n": "experiment.candidates",
    "stream": "nothing, since replies are read whole",
}

_REFUSALS = (400, 422)
_QUOTED = re.compile(r"['\"`](\w+)['\"`]")


class Parameters:
    """The fields that are sent along with the messages; safe to use from several threads.

    Attributes:
        limit: most tokens of one reply.
        headers: what ``llm.parameters.extra_headers`` adds to each request.
        query: what ``llm.parameters.extra_query`` adds to each address.
    """

    def __init__(self, settings: LLMSettings) -> None:
        """Start with everything that the settings ask for.

        Raises:
            ConfigurationError: ``llm.parameters`` sets a field that has a setting of its own.
        """
        fields = dict(settings.parameters)
        for name, instead in _RESERVED.items():
            if name in fields:
                raise ConfigurationError(f"llm.parameters.{name} is not allowed: use {instead}.")
        self.headers: dict[str, str] = fields.pop("extra_headers", {})
        self.query: dict[str, Any] = fields.pop("extra_query", {})
        fields.update(fields.pop("extra_body", {}))
        self._limit_name = next((name for name in _LIMITS if name in fields), _LIMITS[0])
        self.limit = int(fields.pop(self._limit_name, settings.max_completion_tokens))
        if settings.temperature is not None:
            fields["temperature"] = settings.temperature
        self._fields = fields
        self._refused_limits: set[str] = set()
        self._limit_ignored = False
        self._notes: list[str] = []
        self._lock = threading.Lock()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was changed so far, for the record."""
        with self._lock:
            return tuple(self._notes)

    def fields(self) -> dict[str, Any]:
        """Fields for the next request."""
        with self._lock:
            return {**self._fields, self._limit_name: self.limit}

    def adapt(self, sent: Mapping[str, Any], error: Any) -> bool:
        """Learn from a refusal.

        Args:
            sent: the fields of the refused request.
            error: of the SDK; a refusal has status 400 or 422, ``param``, ``body`` and ``message``.

        Returns:
            Whether it is worth asking again with the fields of now.
        """
        if getattr(error, "status_code", None) not in _REFUSALS:
            return False
        name = _refused(sent, error)
        if name is None:
            return False
        with self._lock:
            if name in _LIMITS:
                return self._rename(name)
            if self._fields.pop(name, None) is not None:
                self._notes.append(f"the server refused {name}: left out")
            return True

    def notice_length(self, sent: Mapping[str, Any], completion_tokens: int) -> None:
        """Learn from a reply that is longer than allowed: the server knows the limit's old name."""
        first, second = _LIMITS
        with self._lock:
            if completion_tokens <= self.limit or first not in sent or self._limit_ignored:
                return
            self._limit_ignored = True
            if second not in self._refused_limits:
                self._limit_name = second
                self._notes.append(f"the server ignored {first}: {second} is sent instead")

    def _rename(self, name: str) -> bool:
        if name != self._limit_name:
            return True  # another thread was faster
        self._refused_limits.add(name)
        other = _LIMITS[1 - _LIMITS.index(name)]
        # The limit itself is never dropped: the cap on dollars rests on it.
        if other in self._refused_limits:
            return False
        self._limit_name = other
        self._notes.append(f"the server refused {name}: {other} is sent instead")
        return True


def _refused(sent: Mapping[str, Any], error: Any) -> str | None:
    for name in _named(error):
        if name in sent:
            return name
    # Some servers name the field in their sentence only.
    quoted = {name for name in _QUOTED.findall(str(error.message)) if name in sent}
    return quoted.pop() if len(quoted) == 1 else None


def _named(error: Any) -> Iterable[str]:
    # ``param`` is OpenAI's, ``detail[].loc`` is FastAPI's way to name a field.
    if isinstance(error.param, str):
        yield error.param.removeprefix("body.").split(".")[0]
    details = error.body.get("detail") if isinstance(error.body, Mapping) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping):
            yield from (str(part) for part in detail.get("loc", ()))
