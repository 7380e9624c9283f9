"""An arm with two position-controlled joints: MuJoCo's reacher, of Gymnasium's Reacher-v5."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

from sim_bridge.robots.target import Target, TargetMotion

_MODEL = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "reacher.xml"

_START = np.array([2.8, 2.7])
"""Largest angles that it begins with, rad."""

MAX_SPEED = 6.0
"""Of the position that the joints' controllers are given, rad/s."""

_STIFFNESS, _DAMPING = 900.0, 59.0
"""N m/rad and N m s/rad: critically damped, at 30 rad/s, together with the joints' own 1 N m s/rad
and their armature of 1 kg m², beside which the links weigh nothing."""


@dataclass(frozen=True)
class ArmState:
    """Joints and fingertip.

    Attributes:
        position: (2,) of shoulder and elbow, rad.
        velocity: (2,) rad/s.
        effort: (2,) torques of the motors, N m.
        fingertip: (2,) x and y from the shoulder, m.
    """

    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    effort: NDArray[np.float64]
    fingertip: NDArray[np.float64]


class Arm:
    """Follows commanded positions, at no more than `MAX_SPEED`, with a controller at each joint.

    Attributes:
        target: Where its fingertip is to be, of which its joints know nothing.
    """

    delay_periods = 0

    def __init__(self, motion: TargetMotion | None = None) -> None:
        """Load the model.

        Args:
            motion: Of the target.
        """
        self.target = Target(motion or TargetMotion())
        self.high = np.array([2 * math.pi, 3.0])
        self.low = -self.high
        self._model = mujoco.MjModel.from_xml_path(str(_MODEL))
        self._data = mujoco.MjData(self._model)
        self._gear = self._model.actuator_gear[:, 0]
        self._reference = np.zeros(2)

    @property
    def state(self) -> ArmState:
        """Where it is, and the torques that acted last."""
        return ArmState(
            self._data.qpos[:2].copy(),
            self._data.qvel[:2].copy(),
            self._gear * self._data.ctrl,
            self._data.body("fingertip").xpos[:2].copy(),
        )

    def reset(self, rng: np.random.Generator) -> None:
        """Be at rest with any angles, the target in another place."""
        mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:2] = self._reference = rng.uniform(-_START, _START)
        self.target.reset(rng)
        self._place_target()
        mujoco.mj_forward(self._model, self._data)

    def step(self, command: NDArray[np.float64], dt: float) -> None:
        """Move towards the positions (2,) of the joints, rad."""
        wanted = np.clip(command, self.low, self.high)
        substeps = max(1, round(dt / self._model.opt.timestep))
        most = MAX_SPEED * dt / substeps
        for _ in range(substeps):
            self._reference = self._reference + np.clip(wanted - self._reference, -most, most)
            errors = self._reference - self._data.qpos[:2]
            torques = _STIFFNESS * errors - _DAMPING * self._data.qvel[:2]
            self._data.ctrl[:] = np.clip(torques / self._gear, -1.0, 1.0)
            mujoco.mj_step(self._model, self._data)
        self.target.step(dt)
        self._place_target()
        mujoco.mj_forward(self._model, self._data)  # positions of bodies lag behind the joints'

    def hold(self) -> NDArray[np.float64]:
        """Stay where the joints are being held just now."""
        return self._reference.copy()

    def _place_target(self) -> None:
        # For who draws it: nothing else in the model knows of the target, not even by contact.
        self._data.qpos[2:4], self._data.qvel[2:4] = self.target.position, 0.0
