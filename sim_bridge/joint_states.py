"""The joints of environments that have some, as a robot would report them."""

from __future__ import annotations

from dataclasses import dataclass

from gymnasium import Env
from gymnasium.envs.classic_control import PendulumEnv


@dataclass(frozen=True)
class Joints:
    """One reading: names, positions in rad, velocities in rad/s, efforts in N m."""

    name: list[str]
    position: list[float]
    velocity: list[float]
    effort: list[float]


def read_joints(env: Env) -> Joints | None:
    """The true state of an environment's joints; None where it is not known how to read them.

    Pendulum: one joint, its angle 0 upright and not wrapped, positive counter-clockwise.
    """
    inner = env.unwrapped
    if isinstance(inner, PendulumEnv):
        angle, velocity = inner.state
        torque = 0.0 if inner.last_u is None else float(inner.last_u)
        return Joints(["pendulum_joint"], [float(angle)], [float(velocity)], [torque])
    return None
