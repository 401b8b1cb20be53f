"""What to make of a failed attempt: is it worth another, when, and may it have cost something?

The SDK could retry by itself, but then nobody would count what its lost attempts cost.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 8.0
_LONGEST_WISH_S = 120.0

_PASSING = (408, 409, 429)
# Said by something between us and the model, which may have answered.
_GATEWAYS = (502, 504, *range(520, 528))
# By the name of the HTTP library's exception: nothing was sent.
_NOT_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol")


class Unreadable(Exception):
    """An answer came, but not one to work with."""


def may_be_billed(error: BaseException) -> bool:
    """Whether the model may have answered all the same, and only its answer was lost."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return error.status_code in _GATEWAYS
    if isinstance(error, openai.APIConnectionError):
        return type(error.__cause__).__name__ not in _NOT_SENT
    return True


def may_pass(error: BaseException) -> bool:
    """Whether another attempt may succeed."""
    import openai

    if isinstance(error, openai.APIStatusError):
        wish = error.response.headers.get("x-should-retry")
        if _wished_pause(error.response.headers) > _LONGEST_WISH_S or wish == "false":
            return False
        return wish == "true" or error.status_code in _PASSING or error.status_code >= 500
    return isinstance(error, (openai.APIConnectionError, Unreadable))


def pause(error: BaseException, retries: int) -> float:
    """Seconds until the next attempt: what the server wishes, else longer each time.

    Args:
        error: of the last attempt.
        retries: that were made already.
    """
    response = getattr(error, "response", None)
    wished = 0.0 if response is None else _wished_pause(response.headers)
    # Not all at the same moment, or requests that failed together would do so again.
    own = min(_FIRST_PAUSE_S * 2**retries, _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)
    return wished or own


def _wished_pause(headers: Mapping[str, str]) -> float:
    """What ``Retry-After`` says in seconds; 0 without one, or with one that says nothing."""
    for name, second in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "")
        try:
            seconds = float(value) / second
        except ValueError:
            continue
        return seconds if seconds > 0 else 0.0  # nor is a NaN a wish
    try:
        return max(
            0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time()
        )
    except (TypeError, ValueError, OverflowError):
        return 0.0
