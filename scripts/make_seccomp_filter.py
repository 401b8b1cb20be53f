"""Write the seccomp filters of the reward process with libseccomp.

Run once after changing the list below, with pyseccomp installed. The filters are shipped as they
come out, one file per architecture, and loaded by `rewardsmith.reward.lockdown`.
"""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pyseccomp as seccomp

FOLDER = Path(__file__).resolve().parents[1] / "rewardsmith" / "reward" / "seccomp"
ALWAYS = (
    "read write munmap mremap brk madvise futex rt_sigreturn clock_gettime gettimeofday getrandom "
    "sched_yield exit exit_group restart_syscall getpid gettid"
).split()
PROT_EXEC = 4


def build(architecture: str) -> bytes:
    """Compile the filter: the calls above, memory mapping without PROT_EXEC, else EPERM."""
    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    if architecture != "x86_64":
        rules.add_arch(getattr(seccomp.Arch, architecture.upper()))
        rules.remove_arch(seccomp.Arch.NATIVE)
    for name in ALWAYS:
        rules.add_rule(seccomp.ALLOW, name)
    for name in ("mmap", "mprotect"):
        argument = seccomp.Arg(2, seccomp.MASKED_EQ, PROT_EXEC, 0)
        rules.add_rule(seccomp.ALLOW, name, argument)
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for machine in ("x86_64", "aarch64"):
        code = build(machine)
        (FOLDER / f"{machine}.bpf").write_bytes(code)
        print(f"{machine}: {len(code) // 8} instructions")
