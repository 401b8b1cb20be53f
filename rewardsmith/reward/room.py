"""Room for many reward processes at once: what the operating system has to allow."""

from __future__ import annotations

import sys

from rewardsmith.errors import ConfigurationError

DESCRIPTORS = 6
"""That one reward process takes on the trusted side: two pipes, two memories, two mappings."""
SPARE_DESCRIPTORS = 256
"""For everything else: libraries, pools of processes, files."""
SPARE_PROCESSES = 64
_MAC_HARD_LIMIT = 10_240
"""What macOS really allows where it says that there is no limit."""


def make_room(count: int) -> None:
    """Raise this process's own limit of open files as far as some reward processes need it.

    The usual limit of 1,024 is too low for 170 of them. Everybody may raise it up to the hard
    limit, which is far higher on most systems. Reward processes set theirs to zero.

    Args:
        count: reward processes at once.

    Raises:
        ConfigurationError: the system does not allow so many.
    """
    if sys.platform == "win32":  # no such limits
        return
    import resource

    needed = count * DESCRIPTORS + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY and sys.platform == "darwin":
        hard = max(soft, _MAC_HARD_LIMIT)
    if hard != resource.RLIM_INFINITY and needed > hard:
        most = max(1, (hard - SPARE_DESCRIPTORS) // DESCRIPTORS)
        raise ConfigurationError(
            f"experiment.candidates is {count}, but this system allows {hard} open files a process "
            f"(ulimit -Hn), which is enough for {most} candidates: use so many, or raise the limit."
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    if hasattr(resource, "RLIMIT_NPROC"):
        allowed = resource.getrlimit(resource.RLIMIT_NPROC)[0]
        if allowed != resource.RLIM_INFINITY and count + SPARE_PROCESSES > allowed:
            raise ConfigurationError(
                f"experiment.candidates is {count}, but this system allows {allowed} processes a "
                f"user (ulimit -u), and each candidate needs one: use at most "
                f"{max(1, allowed - SPARE_PROCESSES)}, or raise the limit."
            )
