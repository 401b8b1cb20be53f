"""What a chat completion looks like on the wire, as far as a reply needs it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from rewardsmith.llm.types import Usage

_LARGEST = 32 * 2**20  # bytes


def read(chunks: Iterable[bytes], seconds: float) -> bytes:
    """Read a whole answer.

    Raises:
        TimeoutError: it was not complete after so many seconds, though it may still be growing.
        ValueError: it is too long to be a chat completion.
    """
    deadline = time.monotonic() + seconds
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if time.monotonic() > deadline:
            raise TimeoutError(f"the answer was not complete after llm.timeout_s={seconds:g} s")
        if len(body) > _LARGEST:
            raise ValueError(f"the answer is longer than {_LARGEST} bytes")
    return bytes(body)


def parse(body: bytes) -> dict[str, Any]:
    """Parse an answer that has at least one choice with a message.

    Raises:
        ValueError: it is something else.
    """
    data = json.loads(body)
    if not isinstance(data, dict):
        raise ValueError("the answer is no JSON object")
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        # Some servers report their errors with status 200.
        raise ValueError(f"no choices in the answer; error: {data.get('error')}")
    if not isinstance(choices[0], dict) or not isinstance(choices[0].get("message"), dict):
        raise ValueError("no message in the first choice")
    return data


def text(message: dict[str, Any]) -> str:
    """Get what the model wrote; a refusal counts as its text."""
    content = message.get("content") or message.get("refusal") or ""
    if isinstance(content, list):  # parts, as some servers send them
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "".join(part for part in parts if isinstance(part, str))
    return str(content)


def usage(data: dict[str, Any]) -> Usage | None:
    """Get the tokens that the server has counted, or None if it has not."""
    counts = data.get("usage")
    if not isinstance(counts, dict):
        return None
    prompt, completion = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    return Usage(1, max(0, prompt), max(0, completion))
