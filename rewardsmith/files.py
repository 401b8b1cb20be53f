"""Write files whole: a reader sees either the old content or all of the new."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from rewardsmith.errors import ResultsError


def write_whole(file: Path, data: str | bytes) -> None:
    """Write under a temporary name, then rename; missing folders are made.

    Args:
        file: where to.
        data: text goes out as UTF-8; what UTF-8 cannot spell is escaped.

    Raises:
        ResultsError: it cannot be written; the old content, if any, is still there.
    """
    raw = data.encode(errors="backslashreplace") if isinstance(data, str) else data
    temporary = file.with_name(f".{file.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ResultsError(f"{file} cannot be written: {error.strerror}.") from None


def link_or_copy(file: Path, name: Path) -> None:
    """Give a file that is never changed a second name; where there are no links, a copy.

    Raises:
        ResultsError: it cannot be written.
    """
    temporary = name.with_name(f".{name.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        os.link(file, temporary)
        os.replace(temporary, name)
        temporary.unlink(missing_ok=True)  # rename does nothing where both are one file already
    except OSError:
        write_whole(name, file.read_bytes())


def read_text(file: Path, last: int | None = None) -> str:
    """Read a text that somebody may be writing to; what is not UTF-8 is replaced.

    Args:
        file: to read; one that is not there is empty.
        last: so many bytes of its end, all of it by default.
    """
    try:
        with file.open("rb") as stream:
            if last is not None:
                stream.seek(max(0, file.stat().st_size - last))
            return stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
