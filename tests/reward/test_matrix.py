"""The table of `SECURITY.md`: its tests exist, and what it says of single layers is so."""

from __future__ import annotations

import os
import platform
import re
import sys
from functools import cache
from pathlib import Path
from unittest import mock

import pytest

from tests.reward import attacks
from tests.reward.attacks import ATTACKS, NOWHERE, run_locked, targets

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()
MENTIONED = sorted(set(re.findall(r"`((?:tests|benchmarks|rewardsmith)/[^`\s]+)`", TEXT)))
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ")
]
COLUMNS = ROWS[0]
GROUPS = {
    "read files": (
        "read_passwd read_key_file read_with_numpy list_proc read_own_environ read_own_maps "
        "parent_environ parent_memory parent_command import_module"
    ),
    "write, rename, delete files": (
        "write_file append_file truncate_file rename_file delete_file make_folder temporary_file"
    ),
    "ask for names and modes of files": "stat_file chmod working_folder chroot list_proc",
    "network": "tcp udp unix_socket netlink raw_socket socket_pair name_lookup",
    "start programs": "subprocess shell spawn exec memfd_exec",
    "fork, threads": "fork thread",
    "signal or debug other processes": (
        "signal_parent ptrace process_vm_readv process_vm_writev pidfd_open pidfd_getfd "
        "pidfd_send_signal"
    ),
    "other system calls": (
        "io_uring bpf userfaultfd keyctl add_key perf_event_open mount unshare setns prctl seccomp "
        "personality modify_ldt shmget msgget semget priority affinity raise_limits alarm"
    ),
    "executable memory": "mmap_executable mprotect_executable pkey_mprotect",
    "new descriptors, shared memory": "descriptors pipe memfd posix_shared_memory",
    "use up memory": "map_memory",
}
LAYERS = {"seccomp": "seccomp", "Landlock": "landlock", "limits": "rlimits"}
ALONE = """
from rewardsmith.reward import lockdown
def lock(memory_mib, cpu_s):
    libc = lockdown._libc()
    program = lockdown._seccomp_program()
    libc.prctl(lockdown._PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    done = {{
        "": lambda: True,
        "seccomp": lambda: lockdown._seccomp(libc, program),
        "landlock": lambda: lockdown._landlock(libc),
        "rlimits": lambda: lockdown._limit(memory_mib, cpu_s) is None,
    }}["{layer}"]()
    return list(lockdown.LAYERS) if done else []
lockdown.lock = lock
server.main("""


@cache
def outcomes(layer: str) -> dict[str, str]:
    """What becomes of the attacks in the production launcher with one layer, or none, alone.

    Those that must never work are left out: they are aimed at everybody.
    """
    names = {name for group in GROUPS.values() for name in group.split()}
    names = {name for name in names if ATTACKS[name].control != NOWHERE}
    boot = attacks.BOOT.replace("server.main(", ALONE.format(layer=layer).replace("%", "%%"))
    with mock.patch.object(attacks, "BOOT", boot), targets() as (facts, _):
        return run_locked(sorted(names), facts)


@pytest.mark.parametrize("place", MENTIONED)
def test_what_is_mentioned_exists(place: str) -> None:
    file, _, name = place.partition("::")
    text = (ROOT / file).read_text()
    assert not name or f"def {name}(" in text


def test_the_table_is_one() -> None:
    assert len(ROWS) > 15
    for row in ROWS[1:]:
        assert len(row) == len(COLUMNS), row
        assert set(row[1:-1]) <= {"stops", "slows", "–"}, row
        assert "stops" in row, row
        assert "`tests/" in row[-1], row
    assert set(GROUPS) <= {row[0] for row in ROWS}


@pytest.mark.skipif(sys.platform != "linux", reason="the lock needs Linux")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="system call numbers of x86_64")
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="as root more can work")
@pytest.mark.parametrize("column", LAYERS)
def test_a_single_layer_does_what_the_table_says(column: str) -> None:
    from rewardsmith.reward import lockdown

    if column == "Landlock" and _landlock_version(lockdown) < 6:
        pytest.skip("the table speaks of a newer Landlock")
    without, alone = outcomes(""), outcomes(LAYERS[column])
    for row in ROWS[1:]:
        possible = [name for name in GROUPS.get(row[0], "").split() if without[name] == "worked"]
        stopped = [name for name in possible if alone[name] != "worked"]
        said = row[COLUMNS.index(column)]  # "slows" leaves open what a machine lets work
        if said == "stops":
            assert stopped == possible, (row[0], column, sorted(set(possible) - set(stopped)))
        elif said == "–":
            assert not stopped, (row[0], column, stopped)


def _landlock_version(lockdown: object) -> int:
    libc = lockdown._libc()  # type: ignore[attr-defined]
    return libc.syscall(444, None, 0, 1)
