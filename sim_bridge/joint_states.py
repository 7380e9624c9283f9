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


def has_joints(env: Env) -> bool:
    """Whether `read_joints` knows the environment."""
    return isinstance(env.unwrapped, PendulumEnv)


def read_joints(env: Env) -> Joints:
    """The true state of an environment's joints, after a reset.

    Pendulum: one joint, its angle 0 upright and not wrapped, positive counter-clockwise.

    Raises:
        TypeError: It is not known how to read them.
    """
    inner = env.unwrapped
    if not isinstance(inner, PendulumEnv):
        raise TypeError(f"no joints are known of {inner}")
    angle, velocity = inner.state
    torque = 0.0 if inner.last_u is None else float(inner.last_u)
    return Joints(["pendulum_joint"], [float(angle)], [float(velocity)], [torque])
