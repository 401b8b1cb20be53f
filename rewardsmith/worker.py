"""A worker process: reads one job from standard input, runs it, writes JSON lines to a pipe.

Started by `rewardsmith.execution` as ``python -m rewardsmith.worker PIPE PARENT``. It runs trusted
code only: training and evaluation. Rewards are called in reward processes of its own.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any

from rewardsmith.errors import ResultsError, RewardsmithError
from rewardsmith.files import storage_error
from rewardsmith.reward.lockdown import die_with_parent


def main(pipe: int, parent: int) -> None:
    """Run the job.

    Args:
        pipe: descriptor for the messages.
        parent: process id of the controller; the worker dies with it.
    """
    os.set_inheritable(pipe, False)
    die_with_parent(parent)

    def send(message: dict[str, Any]) -> None:
        data = (json.dumps(message) + "\n").encode()
        while data:
            data = data[os.write(pipe, data) :]

    job = json.load(sys.stdin)
    module, _, function = job["target"].partition(":")
    try:
        run = getattr(importlib.import_module(module), function)
        value = run(job["payload"], lambda data: send({"progress": data}))
        send({"value": value})
    except ResultsError as error:
        send({"stop": type(error).__name__, "error": str(error)})
    except RewardsmithError as error:
        send({"error": str(error), "traceback": traceback.format_exc()})
    except Exception as error:
        full = storage_error(error)
        if full is not None:
            send({"stop": type(full).__name__, "error": str(full)})
            return
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        send({"error": text, "traceback": traceback.format_exc()})


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
