"""A disk of a test's own that can be full or read-only; that takes the rights to mount one."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Disk:
    """A small file system in memory, mounted on a folder."""

    def __init__(self, place: Path) -> None:
        """Describe one that is mounted."""
        self.place = place
        self._filler = place / "filler"

    def fill(self) -> None:
        """Leave not a byte of room."""
        with self._filler.open("ab", buffering=0) as stream:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        stream.write(bytes(size))
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def free(self) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Let nothing be written for a while."""
        place = str(self.place)
        _run("mount", "--bind", place, place)
        try:
            _run("mount", "-o", "remount,bind,ro", place)
            yield
        finally:
            _run("umount", "-l", place)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def small_disk(place: Path, size: str = "48m") -> Iterator[Disk]:
    """Mount one, or skip the test where that is not allowed.

    Args:
        place: folder; made if it is missing.
        size: as ``mount`` takes it.
    """
    place.mkdir(parents=True, exist_ok=True)
    if shutil.which("mount") is None:
        pytest.skip("there is no mount: no disk of one's own can be filled")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield Disk(place)
    finally:
        _run("umount", "-l", str(place))
