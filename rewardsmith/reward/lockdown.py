"""Lock the calling process down for good: resource limits, Landlock, seccomp.

Called by a reward process after it has imported numpy and mapped its memory, and before it
receives any generated code. This lock is the security boundary of the project; `SECURITY.md` says
what it stops and what it does not. Linux only: elsewhere no layer but the resource limits applies,
and `lock` says so by leaving the others out of its answer.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from pathlib import Path

LAYERS = ("empty_environment", "one_thread", "rlimits", "not_dumpable", "landlock", "seccomp")
"""All layers, in the order of the bits in which a reward process reports them."""

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_FILTER_FLAG_TSYNC = 1
_SECCOMP_CALL = {"x86_64": 317, "aarch64": 277}
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_VERSION_FLAG = 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies, and die now if it already has."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def lock(memory_mib: int, cpu_s: int) -> list[str]:
    """Apply every layer that this platform has.

    Args:
        memory_mib: address space of the process.
        cpu_s: processor time over its whole life.

    Returns:
        The names of the layers that are in force, a subset of `LAYERS`.
    """
    layers = []
    if not os.environ and not _environment_of_self():
        layers.append("empty_environment")
    if _threads() == 1:
        layers.append("one_thread")
    program = _seccomp_program()
    libc = _libc() if sys.platform == "linux" else None
    if libc is not None:
        if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0:
            layers.append("not_dumpable")
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            program = None
        elif _landlock(libc):
            layers.append("landlock")
    _limit(memory_mib, cpu_s)  # from here on no file can be opened
    layers.append("rlimits")
    if libc is not None and program and "one_thread" in layers and _seccomp(libc, program):
        layers.append("seccomp")
    return layers


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _environment_of_self() -> bytes:
    try:
        return Path("/proc/self/environ").read_bytes()
    except OSError:
        return b""


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:  # no /proc: cannot tell, so do not claim it
        return 0


def _limit(memory_mib: int, cpu_s: int) -> None:
    limits = {
        "RLIMIT_AS": memory_mib << 20,
        "RLIMIT_CPU": cpu_s,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 0,
        "RLIMIT_NPROC": 0,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
    }
    for name, value in limits.items():
        if hasattr(resource, name):
            try:
                resource.setrlimit(getattr(resource, name), (value, value))
            except (ValueError, OSError):  # macOS refuses some; seccomp is what counts
                if sys.platform == "linux":
                    raise


def _landlock(libc: ctypes.CDLL) -> bool:
    """Handle every access right that the kernel knows, and allow none of them."""
    version = libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION_FLAG)
    if version < 1:
        return False
    file_rights = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    network_rights = 3 if version >= 4 else 0
    scopes = 3 if version >= 6 else 0
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attributes = struct.pack("QQQ", file_rights, network_rights, scopes)[:size]
    rules = libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    if rules < 0:
        return False
    done = libc.syscall(_LANDLOCK_RESTRICT_SELF, rules, 0) == 0
    os.close(rules)
    return done


def _seccomp_program() -> bytes | None:
    machine = platform.machine()
    file = Path(__file__).parent / "seccomp" / f"{machine}.bpf"
    if machine not in _SECCOMP_CALL or not file.is_file() or sys.maxsize < 2**32:
        return None
    return file.read_bytes()


def _seccomp(libc: ctypes.CDLL, program: bytes) -> bool:
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
    number = _SECCOMP_CALL[platform.machine()]
    flag = _SECCOMP_FILTER_FLAG_TSYNC
    return libc.syscall(number, _SECCOMP_SET_MODE_FILTER, flag, header) == 0
