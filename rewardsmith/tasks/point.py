"""``PointReach-v0``: the smallest task with goals, for trying things out and for tests.

A point moves in a square and has to be at the goal when the episode ends. A step takes
microseconds, and a policy is learned in a thousand of them.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

STEP = 0.2
RADIUS = 0.15
EPISODE_STEPS = 20


class PointReachEnv(gymnasium.Env):
    """A point in the square [-1, 1]²; an action (2,) moves it by up to 0.2 along each axis."""

    metadata = {"render_modes": []}

    def __init__(self, render_mode: str | None = None) -> None:
        """Define the spaces; there is nothing to render."""
        box = gymnasium.spaces.Box
        place = box(-1.0, 1.0, (2,), dtype=np.float64)
        self.observation_space = gymnasium.spaces.Dict(
            {"observation": place, "achieved_goal": place, "desired_goal": place}
        )
        self.action_space = box(-1.0, 1.0, (2,), dtype=np.float32)
        self.render_mode = render_mode
        self.position = np.zeros(2)
        self.goal = np.zeros(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
        """Draw a start and a goal."""
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1.0, 1.0, 2)
        self.goal = self.np_random.uniform(-1.0, 1.0, 2)
        return self._observe(), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[dict[str, NDArray[np.float64]], float, bool, bool, dict[str, Any]]:
        """Move the point."""
        self.position = np.clip(self.position + STEP * np.clip(action, -1.0, 1.0), -1.0, 1.0)
        reward = float(self.compute_reward(self.position, self.goal, {}))
        return self._observe(), reward, False, False, {"is_success": reward == 0.0}

    def compute_reward(
        self, achieved_goal: NDArray[np.float64], desired_goal: NDArray[np.float64], info: Any
    ) -> Any:
        """The environment's own sparse reward: 0 within 0.15 of the goal, else -1."""
        distance = np.linalg.norm(achieved_goal - desired_goal, axis=-1)
        return -(distance > RADIUS).astype(np.float64)

    def _observe(self) -> dict[str, NDArray[np.float64]]:
        return {
            "observation": self.position.copy(),
            "achieved_goal": self.position.copy(),
            "desired_goal": self.goal.copy(),
        }


gymnasium.register(
    id="PointReach-v0",
    entry_point=f"{__name__}:PointReachEnv",
    max_episode_steps=EPISODE_STEPS,
)
