"""What a machine of a cluster says of itself before it is given work, inside a worker process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rewardsmith.installed import everything
from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import SandboxSettings
from rewardsmith.types import TransitionLayout


def describe(data: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Lock a reward process, and list the versions of what results depend on.

    Args:
        data: ``sandbox``.
        report: not used.

    Returns:
        ``versions`` by package, and the ``layers`` of the reward process.

    Raises:
        SandboxUnavailable: it cannot be locked as `data` demands.
    """
    sandbox = SandboxSettings.model_validate(data["sandbox"])
    with RewardProcess(TransitionLayout((), 1, 1), sandbox) as process:
        layers = process.layers
    return {"versions": everything(), "layers": list(layers)}
