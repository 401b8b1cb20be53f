"""The Fetch tasks under the ids that people know: ``FetchReach-v3`` and its three siblings.

Current gymnasium-robotics has no v3 ids. As released, v3 never restored its start pose after a
reset (https://github.com/Farama-Foundation/Gymnasium-Robotics/issues/251): the gripper starts at
(1.435, 0.264, 0.786) m instead of (1.342, 0.749, 0.535) m, and most goals cannot be reached.
v4 differs from v3 in exactly that restoration. So the same id comes in two start states:

- ``documented`` (default): what v3's documentation promises and v4 delivers.
- ``as_released``: the original v3.

Both step faster than the stock classes, with the same results (`rewardsmith.tasks.fast_fetch`).

Importing this module registers the ids. Use ``rewardsmith.tasks.fetch:FetchReach-v3`` where another
process makes the environment.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any, ClassVar

import gymnasium

from rewardsmith.tasks.fast_fetch import FastStep

with contextlib.redirect_stderr(io.StringIO()):  # a notice on hands that nobody asked for
    import gymnasium_robotics  # noqa: F401 - registers the v4 ids
    from gymnasium_robotics.envs.fetch.pick_and_place import MujocoFetchPickAndPlaceEnv
    from gymnasium_robotics.envs.fetch.push import MujocoFetchPushEnv
    from gymnasium_robotics.envs.fetch.reach import MujocoFetchReachEnv
    from gymnasium_robotics.envs.fetch.slide import MujocoFetchSlideEnv

EPISODE_STEPS = 50
START_STATES = ("documented", "as_released")
CAMERA = {"distance": 1.9, "azimuth": 132.0, "elevation": -18.0, "lookat": [1.2, 0.75, 0.55]}
"""Nearer than the stock one, so that a goal of 2 cm can be seen in a small video."""


class _StartState:
    """Mixin over a v4 environment that can forget the start pose, as v3 did."""

    camera: ClassVar[dict[str, Any]] = {"default_camera_config": CAMERA}

    def __init__(self, start_state: str = "documented", **kwargs: Any) -> None:
        """Build the v4 environment.

        Args:
            start_state: ``documented`` or ``as_released``.
            kwargs: of the v4 environment.
        """
        if start_state not in START_STATES:
            raise ValueError(
                f"start_state is {start_state!r}, but it must be {' or '.join(START_STATES)}"
            )
        super().__init__(**{**self.camera, **kwargs})
        if start_state == "as_released":
            # v3 left the simulation as mj_resetData makes it; restoring these values does nothing.
            self.initial_time = 0.0
            self.initial_qpos = self.model.qpos0.copy()  # type: ignore[attr-defined]
            self.initial_qvel = 0.0 * self.initial_qvel  # type: ignore[has-type]


class FetchReachEnv(_StartState, FastStep, MujocoFetchReachEnv):
    """Move the gripper to a target."""


class FetchPushEnv(_StartState, FastStep, MujocoFetchPushEnv):
    """Push a block to a target on the table."""


class FetchSlideEnv(_StartState, FastStep, MujocoFetchSlideEnv):
    """Hit a puck so that it slides to a target out of reach."""

    camera: ClassVar[dict[str, Any]] = {}  # its table is long: the stock camera shows all of it


class FetchPickAndPlaceEnv(_StartState, FastStep, MujocoFetchPickAndPlaceEnv):
    """Grasp a block and carry it to a target on or above the table."""


for _class in (FetchReachEnv, FetchPushEnv, FetchSlideEnv, FetchPickAndPlaceEnv):
    for _suffix, _reward_type in (("", "sparse"), ("Dense", "dense")):
        gymnasium.register(
            id=f"{_class.__name__.removesuffix('Env')}{_suffix}-v3",
            entry_point=f"{__name__}:{_class.__name__}",
            kwargs={"reward_type": _reward_type},
            max_episode_steps=EPISODE_STEPS,
        )
