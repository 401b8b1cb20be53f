"""The record of every exchange with a provider: one JSON file per request.

`rewardsmith.llm.session` writes them, `rewardsmith.llm.replay` and a resumed run read them. This
module alone knows their names and their format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rewardsmith.errors import ResultsError
from rewardsmith.files import room, write_whole
from rewardsmith.llm.keys import masked
from rewardsmith.llm.types import Reply, Request, Usage

SCHEMA = 1
ROOM = 1 << 20
"""Bytes of disk that a reply may take at most."""

_ITERATION = re.compile(r"iteration_(\d+)")
_EXCHANGE = re.compile(r"exchange_(\d+)_(\d+)\.json")


def write_exchange(
    folder: Path,
    request: Request,
    reply: Reply | None,
    error: BaseException | None,
    provider: str,
    parameters: Mapping[str, Any],
) -> Path:
    """Record one exchange, whole or not at all.

    Args:
        folder: of the iteration; made if it is missing.
        request: what was asked.
        reply: what came back, or None.
        error: why nothing came back, or None.
        provider: name of who was asked.
        parameters: what was asked along with the messages; headers and keys are masked.

    Returns:
        ``folder/exchange_<candidate>_<attempt>.json``.

    Raises:
        ResultsError: the file cannot be written.
    """
    path = _file(folder, request)
    record = {
        "schema": SCHEMA,
        "key": request.key,
        "iteration": request.iteration,
        "candidate": request.candidate,
        "attempt": request.attempt,
        "provider": provider,
        "parameters": masked(parameters),
        "messages": [asdict(message) for message in request.messages],
        "reply": None if reply is None else asdict(reply),
        "error": None if error is None else {"type": type(error).__name__, "text": str(error)},
        "timestamp": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    write_whole(path, json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n")
    return path


def room_for_exchange(folder: Path, request: Request) -> AbstractContextManager[None]:
    """Keep disk space free while a request is asked: a reply that is paid for can be recorded.

    Raises:
        StorageError: there is none, or nothing can be written.
    """
    size = ROOM + 2 * sum(len(message.content.encode()) for message in request.messages)
    return room(_file(folder, request), size)


def _file(folder: Path, request: Request) -> Path:
    return folder / f"exchange_{request.candidate}_{request.attempt}.json"


def read_exchanges(run: Path) -> dict[str, Reply]:
    """Read the replies of a run, by `Request.key`.

    Exchanges without a reply are left out, so they are asked again. If a run has asked the very
    same twice, the earlier reply counts.

    Args:
        run: run directory; one that is missing or empty holds no replies.

    Raises:
        ResultsError: a file is damaged.
    """
    replies: dict[str, Reply] = {}
    for path in _exchange_files(run):
        key, reply = _read(path)
        if reply is not None:
            replies.setdefault(key, reply)
    return replies


def read_messages(folder: Path, candidate: int) -> list[dict[str, str]]:
    """Read what was asked for a candidate in the last of its exchanges, for people to read.

    Args:
        folder: of the iteration.
        candidate: its position in the iteration.

    Returns:
        ``role`` and ``content`` of each message; nothing if there is no record that can be read.
    """
    found = {
        int(exchange[2]): path
        for path in folder.glob(f"exchange_{candidate}_*.json")
        if (exchange := _EXCHANGE.fullmatch(path.name))
    }
    if not found:
        return []
    try:
        record = json.loads(found[max(found)].read_text(encoding="utf-8"))
        return [
            {"role": str(item["role"]), "content": str(item["content"])}
            for item in record["messages"]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _exchange_files(run: Path) -> Iterator[Path]:
    found = []
    for path in run.glob("iteration_*/exchange_*.json"):
        iteration = _ITERATION.fullmatch(path.parent.name)
        exchange = _EXCHANGE.fullmatch(path.name)
        if iteration and exchange:
            order = (int(iteration[1]), int(exchange[1]), int(exchange[2]))
            found.append((order, path))
    return (path for _, path in sorted(found))


def _read(path: Path) -> tuple[str, Reply | None]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["schema"] == SCHEMA:
            reply = record["reply"]
            return str(record["key"]), None if reply is None else _reply(reply)
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ResultsError(
            f"{path} is no record of an exchange, or is damaged: delete it to ask again, which is "
            "paid for again."
        ) from None
    raise ResultsError(
        f"{path} has format {record['schema']!r}, this version of rewardsmith reads {SCHEMA}."
    )


def _reply(record: dict[str, Any]) -> Reply:
    usage = Usage(**record["usage"])
    reply = Reply(**{**record, "usage": usage, "notes": tuple(record["notes"])})
    if not isinstance(reply.text, str):
        raise TypeError("the text of a reply is a string")
    return reply
