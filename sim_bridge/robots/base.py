"""A mobile base with two driven wheels, as diff_drive_controller moves one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim_bridge.robots.goals import Goals

_TICK_S = 0.01
"""How often the wheels' controller looks at its limits."""


@dataclass(frozen=True)
class BaseLimits:
    """What the base's own controller allows.

    Attributes:
        backward: Greatest speed backwards, m/s.
        forward: Greatest speed forwards, m/s.
        turn: Greatest turn rate either way, rad/s.
        acceleration: m/s², for braking too.
        turn_acceleration: rad/s².
    """

    backward: float = 0.5
    forward: float = 1.0
    turn: float = 1.5
    acceleration: float = 1.0
    turn_acceleration: float = 3.0


@dataclass(frozen=True)
class BaseState:
    """Pose in the frame odom, and movement in the frame base_link.

    Attributes:
        x: m.
        y: m.
        yaw: rad, not wrapped.
        speed: m/s, forwards.
        turn_rate: rad/s, counter-clockwise.
        acceleration: Mean over the last step, m/s², forwards.
    """

    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    speed: float = 0.0
    turn_rate: float = 0.0
    acceleration: float = 0.0


class Base:
    """Moves on exact arcs, its speeds on straight lines towards what is commanded.

    Attributes:
        goals: Where it is sent, which is none of its business.
    """

    delay_periods = 1

    def __init__(self, limits: BaseLimits | None = None, goals: Goals | None = None) -> None:
        self.goals = goals or Goals(0.0)
        self.limits = limits or BaseLimits()
        self.low = np.array([-self.limits.backward, -self.limits.turn])
        self.high = np.array([self.limits.forward, self.limits.turn])
        self.state = BaseState()

    def reset(self, rng: np.random.Generator) -> None:
        """Stand within a metre of the origin along x and y, and look anywhere."""
        x, y = rng.uniform(-1.0, 1.0, 2)
        self.state = BaseState(float(x), float(y), float(rng.uniform(-math.pi, math.pi)))
        self.goals.reset(rng, self.state.x, self.state.y)

    def step(self, command: NDArray[np.float64], dt: float) -> None:
        """Drive under a command (2,): speed in m/s, turn rate in rad/s."""
        wanted, wanted_turn = np.clip(command, self.low, self.high).tolist()
        before = self.state.speed
        ticks = max(1, round(dt / _TICK_S))
        for _ in range(ticks):
            self._tick(wanted, wanted_turn, dt / ticks)
        end = self.state
        acceleration = (end.speed - before) / dt
        self.state = BaseState(end.x, end.y, end.yaw, end.speed, end.turn_rate, acceleration)
        self.goals.step(dt, end.x, end.y)

    def _tick(self, wanted: float, wanted_turn: float, dt: float) -> None:
        state, limits = self.state, self.limits
        speed = _towards(wanted, state.speed, limits.acceleration * dt)
        turn_rate = _towards(wanted_turn, state.turn_rate, limits.turn_acceleration * dt)
        length = (state.speed + speed) / 2 * dt
        turn = (state.turn_rate + turn_rate) / 2 * dt
        # The chord of an arc of this length, in the direction of the arc's middle.
        chord = length * float(np.sinc(turn / 2 / math.pi))
        middle = state.yaw + turn / 2
        self.state = BaseState(
            state.x + chord * math.cos(middle),
            state.y + chord * math.sin(middle),
            state.yaw + turn,
            speed,
            turn_rate,
        )

    def hold(self) -> NDArray[np.float64]:
        """Stand still."""
        return np.zeros(2)


def _towards(wanted: float, now: float, most: float) -> float:
    """What `now` becomes when it may change by `most`."""
    return now + min(max(wanted - now, -most), most)
