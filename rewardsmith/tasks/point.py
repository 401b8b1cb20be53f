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
PIXELS = 480
VIEW = 1.32
"""Half of what a picture shows: the square, with room for what is drawn over the margin."""
PAPER, FLOOR, GOAL, POINT = (206, 211, 219), (247, 248, 250), (146, 214, 166), (35, 90, 190)


class PointReachEnv(gymnasium.Env):
    """A point in the square [-1, 1]²; an action (2,) moves it by up to 0.2 along each axis."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode: str | None = None) -> None:
        """Define the spaces.

        Args:
            render_mode: ``rgb_array`` or None.
        """
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

    def render(self) -> Any:
        """The square from above, (480, 480, 3) of bytes: the goal as a disc, the point on it."""
        if self.render_mode != "rgb_array":
            return None
        places = np.linspace(-VIEW, VIEW, PIXELS)
        grid = np.stack(np.meshgrid(places, -places), axis=-1)  # x to the right, y upwards
        to_goal, to_point = (
            np.linalg.norm(grid - place, axis=-1) for place in (self.goal, self.position)
        )
        picture = np.full((PIXELS, PIXELS, 3), PAPER, dtype=np.uint8)
        picture[np.abs(grid).max(axis=-1) <= 1.0] = FLOOR
        picture[to_goal <= RADIUS] = GOAL
        picture[to_goal <= RADIUS / 8] = PAPER
        picture[to_point <= RADIUS / 2.5] = POINT
        return picture

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
