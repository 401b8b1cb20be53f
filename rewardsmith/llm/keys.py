"""API keys: where they are read, and how they are kept from where they do not belong.

Keys are read from the process's environment and from a ``.env`` file. They are handed to providers
as a plain mapping and never written into ``os.environ``, so no child process inherits what
only ``.env`` holds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rewardsmith.errors import ConfigurationError

# AUTHORIZATION is one, XAUTHORITY and AUTHOR are not; nor are KEYBOARD and TOKENIZERS_PARALLELISM.
_SECRET_NAME = re.compile(
    r"KEY(?!BOARD)|TOKEN(?!IZER)|SECRET|PASSWORD|PASSWD|CREDENTIAL|AUTH(?!OR(?!IZ))",
    re.IGNORECASE,
)

# Shorter values (``1``, ``false``) are no keys, and stand in many innocent places.
_SHORTEST_SECRET = 8


MASK = "***"

_TAKEN: dict[str, str] = {}


def read_environment(folder: Path) -> Mapping[str, str]:
    """Read the process's environment over the values of ``folder/.env``.

    A variable that is set in the process wins, even if it is empty: ``OPENAI_API_KEY= python
    gen.py`` hides a key for one run.

    Raises:
        ConfigurationError: the file is there but is no readable text.
    """
    path = folder / ".env"
    if not path.is_file():
        return dict(os.environ)
    from dotenv import dotenv_values

    try:
        # A `$` in a key is a `$`.
        values = dotenv_values(path, interpolate=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = type(error).__name__
        raise ConfigurationError(
            f"{path} cannot be read ({reason}): write it as lines of NAME=value in UTF-8."
        ) from None
    return {name: value for name, value in values.items() if value is not None} | dict(os.environ)


def take_environment(folder: Path) -> Mapping[str, str]:
    """Read the environment, and take the keys out of this process's own.

    Libraries start programs of their own (Python's `platform` asks ``uname``, for one), and those
    would inherit every key. What was taken is given again by later calls.

    Args:
        folder: where a ``.env`` file may lie.
    """
    environment = {**read_environment(folder), **_TAKEN}
    kept = without_secrets(environment)
    for name in [name for name in os.environ if name not in kept]:
        _TAKEN[name] = os.environ.pop(name)
    return environment


def names_secret(name: str) -> bool:
    """Whether a variable of this name is taken for a secret."""
    return _SECRET_NAME.search(name) is not None


def find_secrets(environment: Mapping[str, str]) -> frozenset[str]:
    """Collect the values that must not appear anywhere, of at least 8 characters each."""
    values = (value.strip() for name, value in environment.items() if names_secret(name))
    return frozenset(value for value in values if len(value) >= _SHORTEST_SECRET)


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Copy an environment for a child process, without anything that looks like a key.

    Left out are variables with a name such as ``*_KEY``, ``*TOKEN*``, ``*PASSWORD*``, ``AUTH_*``,
    and those whose value is a secret's, whatever their name.
    """
    secrets = find_secrets(environment)
    return {
        name: value
        for name, value in environment.items()
        if not names_secret(name) and value.strip() not in secrets
    }


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Replace every secret in a text by ``***``."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def masked(value: Any, name: str = "") -> Any:
    """Copy plain data for a record, with `MASK` in place of headers and of named secrets."""
    # `max_tokens` and its like are numbers; no secret is one.
    secret = names_secret(name) and isinstance(value, str)
    if secret or name.endswith("headers"):
        return MASK
    if isinstance(value, Mapping):
        return {str(key): masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item, name) for item in value]
    return value
