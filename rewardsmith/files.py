"""Write files whole: a reader sees either the old content or all of the new."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from rewardsmith.errors import ResultsError, StorageError

TEMPORARY = ".tmp"
"""How names of files end that are not finished; a run that was killed may leave some."""
_WHAT_TO_DO = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EFBIG: "Allow larger files (ulimit -f)",
    errno.EROFS: "Make it writable",
    errno.EACCES: "Make it writable",
    errno.EPERM: "Make it writable",
}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What only a place to write to can say; the others may be about anything."""


@contextlib.contextmanager
def writing(file: Path) -> Iterator[None]:
    """Say in a sentence which file the system has refused to write.

    Raises:
        StorageError: it has.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(_sentence(file, error)) from None


def _sentence(file: Path | str, error: OSError) -> str:
    advice = _WHAT_TO_DO.get(error.errno or 0)
    return f"{file} cannot be written: {error.strerror}.{f' {advice}.' if advice else ''}"


def storage_error(error: BaseException | None, file: Path | str = "A file") -> StorageError | None:
    """Find out whether something failed because a disk is full or read-only.

    Args:
        error: what was raised, perhaps by a library, perhaps because of another error.
        file: that it was about, if the error does not say.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return StorageError(_sentence(error.filename or file, error))
        error = error.__cause__ or error.__context__
    return None


def write_whole(file: Path, data: str | bytes) -> None:
    """Write under a temporary name, then rename; missing folders are made.

    Args:
        file: where to.
        data: text goes out as UTF-8; what UTF-8 cannot spell is escaped.

    Raises:
        StorageError: it cannot be written; the old content, if any, is still there.
    """
    raw = data.encode(errors="backslashreplace") if isinstance(data, str) else data
    temporary = _temporary(file)
    with writing(file):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as stream:
                stream.write(raw)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, file)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    _keep_name(file.parent)


def _temporary(file: Path) -> Path:
    """Where a file is made that nobody else is making at the same time."""
    return file.with_name(f".{file.name}.{os.getpid()}-{threading.get_ident()}{TEMPORARY}")


def _keep_name(folder: Path) -> None:
    """Have a folder's names on disk, or a power cut could undo a rename; not all systems can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def append_line(file: Path, line: str, *, durable: bool = False) -> None:
    """Add a line to a file; one that was cut off before it stays a line of its own.

    Args:
        file: to add to.
        line: without its end.
        durable: have it on disk before this returns.

    Raises:
        StorageError: it cannot be written.
    """
    with writing(file), file.open("a+b") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - 1))
        cut_off = stream.read(1) not in (b"", b"\n")
        stream.write(b"\n" * cut_off + line.encode(errors="backslashreplace") + b"\n")
        if durable:
            stream.flush()
            os.fsync(stream.fileno())


@contextlib.contextmanager
def room(file: Path, size: int) -> Iterator[None]:
    """Keep disk space free for a file that must be writable afterwards, where the system can.

    Args:
        file: that will be written.
        size: in bytes.

    Raises:
        StorageError: there is not so much, or nothing can be written.
    """
    spare = file.with_name(f".{file.name}.room{TEMPORARY}")
    with writing(file):
        spare.parent.mkdir(parents=True, exist_ok=True)
        try:
            with spare.open("wb") as stream:
                _allocate(stream.fileno(), size)
        except OSError:
            with contextlib.suppress(OSError):
                spare.unlink(missing_ok=True)
            raise
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            spare.unlink(missing_ok=True)


def _allocate(descriptor: int, size: int) -> None:
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in _WHAT_TO_DO:
            raise  # others say that this kind of disk has no such thing


@contextlib.contextmanager
def locked(file: Path, taken: str) -> Iterator[None]:
    """Hold a lock that ends with this process, however that ends.

    Args:
        file: to lock; it stays.
        taken: start of the sentence if another process holds it.

    Raises:
        ResultsError: another process does.
        StorageError: the file cannot be written.
    """
    with writing(file):
        stream = file.open("a+", encoding="utf-8")  # children do not inherit it
    with stream:
        _lock(stream, taken)
        with writing(file):
            stream.truncate(0)
            stream.write(f"{os.getpid()}\n")
            stream.flush()
        yield


def _lock(stream: TextIO, taken: str) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        owner = stream.read().strip()
        raise ResultsError(f"{taken}{f' (process {owner})' if owner else ''}.") from None
    except OSError:
        return  # some network disks have no locks


def is_whole_archive(file: Path) -> bool:
    """Whether a ZIP (a model, an NPZ) is there and as it was written."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return False


def link_or_copy(file: Path, name: Path) -> None:
    """Give a file that is never changed a second name; where there are no links, a copy.

    Raises:
        ResultsError: it cannot be written.
    """
    temporary = _temporary(name)
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
