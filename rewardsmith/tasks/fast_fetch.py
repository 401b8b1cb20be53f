"""The Python around the physics of a Fetch step, with names looked up once and not at every step.

In gymnasium-robotics a third and more of a step is spent outside MuJoCo: on joints, sites and
welds found by name, and on code for batches that is given single rows. `FastStep` does the same
arithmetic in the same order, so everything that a step returns or leaves in the simulation is the
same to the last bit; ``tests/tasks/test_fast_fetch.py`` compares them. The physics is untouched,
and so are resets and rendering.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

_NOTHING = np.zeros(0)
_EPSILON = 4.0 * float(np.finfo(np.float64).eps)  # of gymnasium_robotics.utils.rotations
_TURN = np.array([1.0, 0.0, 1.0, 0.0])  # what the stock action adds to the gripper's quaternion
_REACH = 0.05  # m that the gripper's target moves at an action of 1


@dataclass(frozen=True)
class _Addresses:
    """Where the parts of a Fetch model are; they do not change while the model lives.

    Attributes:
        grip: site of the gripper.
        block: site of the object, -1 if there is none.
        locked: of both fingers in qpos, in the order in which they are set to zero.
        finger_positions: of the last two robot joints in qpos, in the order of the observation.
        finger_velocities: of the same joints in qvel.
        welds: pairs of a mocap body (its mocap id) and the body that follows it (its body id).
        actuators: pairs of an actuator and, if it is driven relative to its joint, the joint's
            address in qpos.
    """

    grip: int
    block: int
    locked: np.ndarray
    finger_positions: np.ndarray
    finger_velocities: np.ndarray
    welds: tuple[tuple[int, int], ...]
    actuators: tuple[tuple[int, int | None], ...]


def _look_up(model: mujoco.MjModel, joint_names: tuple[str, ...], has_object: bool) -> _Addresses:
    assert model.nmocap == 1, f"a Fetch model has one mocap body, but this has {model.nmocap}"
    fingers = [model.joint(name).id for name in joint_names if name.startswith("robot")][-2:]
    locked = [model.joint(f"robot0:{side}_gripper_finger_joint").id for side in "lr"]
    return _Addresses(
        grip=model.site("robot0:grip").id,
        block=model.site("object0").id if has_object else -1,
        locked=model.jnt_qposadr[locked],
        finger_positions=model.jnt_qposadr[fingers],
        finger_velocities=model.jnt_dofadr[fingers],
        welds=tuple(_weld(model, row) for row in range(model.neq) if _is_weld(model, row)),
        actuators=tuple(_actuator(model, index) for index in range(model.nu)),
    )


def _is_weld(model: mujoco.MjModel, row: int) -> bool:
    return bool(model.eq_type[row] == int(mujoco.mjtEq.mjEQ_WELD))


def _weld(model: mujoco.MjModel, row: int) -> tuple[int, int]:
    first, second = int(model.eq_obj1id[row]), int(model.eq_obj2id[row])
    if model.body_mocapid[first] == -1:
        first, second = second, first
    mocap = int(model.body_mocapid[first])
    assert mocap != -1, f"weld {row} has no mocap body"
    return mocap, second


def _actuator(model: mujoco.MjModel, index: int) -> tuple[int, int | None]:
    if model.actuator_biastype[index] == int(mujoco.mjtBias.mjBIAS_NONE):
        return index, None
    return index, int(model.jnt_qposadr[model.actuator_trnid[index, 0]])


def _euler(matrix: list[float]) -> np.ndarray:
    """Euler angles (3,) in rad of a rotation matrix, given row by row.

    Square root and products of Python numbers are rounded as numpy's are. The arctangent must stay
    numpy's: on some processors it has one of its own, which differs from ``math.atan2``.
    """
    m00, m01, m02, m10, m11, m12, _, _, m22 = matrix
    cosine = math.sqrt(m22 * m22 + m12 * m12)
    middle = -np.arctan2(-m02, cosine)
    if cosine > _EPSILON:
        return np.array([-np.arctan2(m12, m22), middle, -np.arctan2(m01, m00)])
    return np.array([0.0, middle, -np.arctan2(-m10, m11)])


def _distance(one: np.ndarray, other: np.ndarray) -> Any:
    """Distance along the last axis, as ``numpy.linalg.norm`` has it, without its case analysis."""
    assert one.shape == other.shape
    gap = one - other
    if gap.dtype.kind != "f":
        gap = gap.astype(np.float64)
    return np.sqrt(np.add.reduce(gap * gap, axis=-1))


class FastStep:
    """Mixin before a MuJoCo Fetch environment of gymnasium-robotics: same results, less time.

    A change made to the model after construction (another weld, say) is not seen, but for the time
    step; changes to attributes of the environment are.
    """

    model: mujoco.MjModel
    data: mujoco.MjData
    goal: np.ndarray
    has_object: bool
    block_gripper: bool
    n_substeps: int
    distance_threshold: float
    reward_type: str
    _model_names: Any

    def _initialize_simulation(self) -> None:
        super()._initialize_simulation()  # type: ignore[misc]
        self._addresses = _look_up(self.model, self._model_names.joint_names, self.has_object)
        self._jacp, self._jacr = np.zeros((3, self.model.nv)), np.zeros((3, self.model.nv))

    def _set_action(self, action: np.ndarray) -> None:
        assert action.shape == (4,)
        data, addresses = self.data, self._addresses
        if addresses.actuators:
            gripper = 0.0 if self.block_gripper else float(action[3])
            for index, joint in addresses.actuators:
                data.ctrl[index] = gripper if joint is None else data.qpos[joint] + gripper
        mocap_pos, mocap_quat = data.mocap_pos, data.mocap_quat
        for mocap, body in addresses.welds:
            mocap_pos[mocap] = data.xpos[body]
            mocap_quat[mocap] = data.xquat[body]
        mocap_pos += action[:3] * _REACH  # in the action's precision, as the stock class does
        mocap_quat += _TURN

    def _step_callback(self) -> None:
        if self.block_gripper:
            self.data.qpos[self._addresses.locked] = 0.0
            mujoco.mj_forward(self.model, self.data)

    def generate_mujoco_observations(self) -> tuple[np.ndarray, ...]:
        """Parts of the observation, some of which are views into the simulation.

        Returns:
            What the stock method returns, in its order: positions of gripper and object in m, of
            the object relative to the gripper, of the fingers, the object's Euler angles in rad,
            its velocities relative to the gripper and angular, of the gripper, of the fingers.
            Velocities are per step of the environment.
        """
        model, data, addresses = self.model, self.data, self._addresses
        jacp, jacr, qvel = self._jacp, self._jacr, data.qvel
        dt = self.n_substeps * model.opt.timestep
        grip_pos = data.site_xpos[addresses.grip]
        mujoco.mj_jacSite(model, data, jacp, None, addresses.grip)
        # CRUCIAL: one product for each Jacobian; a product of both at once is rounded differently
        grip_velp = jacp @ qvel * dt
        gripper_state = data.qpos[addresses.finger_positions]
        gripper_vel = qvel[addresses.finger_velocities] * dt
        if not self.has_object:
            nothing = (_NOTHING, _NOTHING)
            return grip_pos, *nothing, gripper_state, *nothing, _NOTHING, grip_velp, gripper_vel
        object_pos = data.site_xpos[addresses.block]
        mujoco.mj_jacSite(model, data, jacp, jacr, addresses.block)
        return (
            grip_pos,
            object_pos,
            object_pos - grip_pos,
            gripper_state,
            _euler(data.site_xmat[addresses.block].tolist()),
            jacp @ qvel * dt - grip_velp,
            jacr @ qvel * dt,
            grip_velp,
            gripper_vel,
        )

    def _get_obs(self) -> dict[str, np.ndarray]:
        parts = self.generate_mujoco_observations()
        achieved = parts[1].squeeze() if self.has_object else parts[0]
        return {
            "observation": np.concatenate(parts, axis=None),
            "achieved_goal": achieved.copy(),
            "desired_goal": self.goal.copy(),
        }

    def compute_reward(self, achieved_goal: np.ndarray, goal: np.ndarray, info: Any) -> Any:
        """Reward of one goal (3,) or of a batch (N, 3), sparse or dense."""
        distance = _distance(achieved_goal, goal)
        if self.reward_type == "sparse":
            return -(distance > self.distance_threshold).astype(np.float32)
        return -distance

    def _is_success(self, achieved_goal: np.ndarray, desired_goal: np.ndarray) -> Any:
        distance = _distance(achieved_goal, desired_goal)
        return (distance < self.distance_threshold).astype(np.float32)
