"""The ten tasks of Meta-World's MT10 (Yu et al. 2019), each as an ordinary Gymnasium environment.

Meta-World draws fifty goals when a benchmark is made, and picks among them with a generator that
``reset(seed=...)`` does not reach. Here every reset draws object and goal anew, from the ranges
that MT1 draws its fifty from, and the same seed gives the same episode. The goal is part of the
observation, as in MT1 and MT10.

Importing this module registers the ids, ``Meta-World/reach-v3`` and so on. It needs the extra
``metaworld`` only when one is made.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from rewardsmith.errors import TaskError

EPISODE_STEPS = 500
OBSERVATION = 39
CAMERA = {"lookat": [0.0, 0.6, 0.2], "distance": 1.75, "azimuth": 225.0, "elevation": -25.0}
"""From the front: the stock one looks over the robot's shoulder, which hides what it does."""
MT10 = (
    "reach-v3",
    "push-v3",
    "pick-place-v3",
    "door-open-v3",
    "drawer-open-v3",
    "drawer-close-v3",
    "button-press-topdown-v3",
    "peg-insert-side-v3",
    "window-open-v3",
    "window-close-v3",
)


def make(task: str, render_mode: str | None = None) -> gymnasium.Env:
    """Make one of the environments.

    Args:
        task: as Meta-World names it, e.g. ``reach-v3``.
        render_mode: of the environment.

    Raises:
        TaskError: Meta-World is not installed.
    """
    try:
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    except ImportError:
        raise TaskError(
            f"Meta-World/{task} needs Meta-World: pip install 'rewardsmith[metaworld]'."
        ) from None
    classes: Any = ALL_V3_ENVIRONMENTS
    env = classes[task](render_mode=render_mode)
    # what metaworld's set_task does, but with goals of the environment's own seeded generator
    env._set_task_called = True
    env._partially_observable = False
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    # CRUCIAL: it is computed once, with the goal hidden, and clips every goal to zero
    vars(env).pop("sawyer_observation_space", None)
    env.mujoco_renderer.default_cam_config = CAMERA
    # without a graphics card, fine shadows and smooth edges take most of a second per picture
    env.model.vis.quality.shadowsize, env.model.vis.quality.offsamples = 1024, 0
    return _SeededGoals(env)


class _SeededGoals(gymnasium.Wrapper):
    """Makes ``reset(seed=...)`` mean what it means elsewhere; Meta-World ignores it.

    The observation space has no bounds: Meta-World's own do not hold right after a reset.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVATION,), np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self.unwrapped.seed(seed)  # type: ignore[attr-defined]
        return self.env.reset(options=options)


for _task in MT10:
    gymnasium.register(
        id=f"Meta-World/{_task}",
        entry_point=f"{__name__}:make",
        kwargs={"task": _task},
        max_episode_steps=EPISODE_STEPS,
    )
