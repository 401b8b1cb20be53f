"""Point the camera of a MuJoCo environment at what moves."""

from __future__ import annotations

from typing import Any

import gymnasium


def follow(env: gymnasium.Env) -> None:
    """Let the camera of a walking robot go with it.

    Gymnasium's models have a camera ``track`` on the robot, but since 1.3 a free one is used that
    stays at the start. This one keeps its distance and angles, and follows the body that ``track``
    is mounted on. Other environments are left as they are, and so is a camera that was chosen.
    """
    renderer: Any = getattr(env.unwrapped, "mujoco_renderer", None)
    if getattr(renderer, "camera_id", None) != -1:
        return
    import mujoco

    model = renderer.model
    camera = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, "track")
    if camera == -1:
        return
    aim = {"type": mujoco.mjtCamera.mjCAMERA_TRACKING, "trackbodyid": int(model.cam_bodyid[camera])}
    renderer.default_cam_config = {**(renderer.default_cam_config or {}), **aim}
    renderer.camera_id = None  # or every picture would be taken by the free camera again
