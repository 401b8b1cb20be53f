"""Where work runs: on this machine, on a Ray cluster, or on a Slurm cluster.

Plain data in, plain data out: nothing else in the program knows where a job runs.
"""

from rewardsmith.execution.base import Done, Executor, Job, Outcome, Progress
from rewardsmith.execution.local import THREAD_VARIABLES, LocalExecutor, cores

__all__ = [
    "THREAD_VARIABLES",
    "Done",
    "Executor",
    "Job",
    "LocalExecutor",
    "Outcome",
    "Progress",
    "cores",
]
