"""How well a simulated robot is driven, from nothing but the messages on its topics.

```
pendulum   returns of steps, as a learner would make them
base       the distance to each goal while it stands, and when it was within reach for good
arm        the distance of the fingertip to the target, once there was time to catch up with it
```
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from planet_ros.data import EpisodeBuilder
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.timeline import Timeline
from planet_ros.interface.writing import ActionWriter
from planet_ros.messages.fields import Make, header_stamp_ns

GOAL_S = 8.0
"""Simulated seconds for which the base has each goal."""

FOLLOW_S, CATCH_UP_S = 13.0, 3.0
"""Simulated seconds of each circle that the arm follows, and of those that do not count."""

WITHIN_M = 0.10
"""Distance from which on a goal is reached."""

ACCELERATION, SPEED = 1.0, 1.0
"""m/s² and m/s of the base on a straight line."""

LINKS_M = 0.10, 0.11
"""Of the arm, from the shoulder to the elbow and on to the fingertip."""

_RESTART_NS = 500_000_000
"""A jump of stamps from which on the simulation has begun anew."""

Tell = Callable[[str], None]


class Judge(Protocol):
    """Hears what goes to and from a robot, in lock-step, until it knows enough."""

    @property
    def topics(self) -> Mapping[str, str]:
        """Types of the messages that it wants, by topic."""

    @property
    def simulation(self) -> Mapping[str, Any]:
        """What the simulated robot is to do meanwhile: parameters of its node."""

    @property
    def done(self) -> bool:
        """Whether it knows enough."""

    @property
    def text(self) -> str:
        """How far it is, for a person."""

    def take(self, topic: str, message: Any, received_ns: int) -> None:
        """Hear a message.

        Raises:
            UserError: It cannot be read.
        """

    def check(self) -> None:
        """Notice that time passes; called several times a second."""

    def result(self) -> dict[str, Any]:
        """What came of it."""


class Returns:
    """Of episodes of a number of steps, whose reward the interface says."""

    def __init__(
        self, interface: Interface, make: Make, *, episodes: int, steps: int, tell: Tell
    ) -> None:
        """Hear nothing yet.

        Args:
            interface: Of the robot, with a reward that its topics are enough for.
            make: Gives empty messages.
            episodes: How many.
            steps: Of each.
            tell: Takes a line for each.
        """
        self._episodes, self._steps, self._tell = episodes, steps, tell
        self._period_s = interface.period_s
        # Every period of a start counts, those in which nothing that was sent acts yet as well.
        undelayed = interface.model_copy(update={"delay_periods": 0})
        self._timeline = Timeline(undelayed, make, together=True)
        self._builder = EpisodeBuilder()
        self.returns: list[float] = []

    @property
    def topics(self) -> Mapping[str, str]:
        """As `Judge.topics`."""
        return self._timeline.topics

    @property
    def simulation(self) -> Mapping[str, Any]:
        """As `Judge.simulation`."""
        return {"robot.episode_s": self._steps * self._period_s}

    @property
    def done(self) -> bool:
        """As `Judge.done`."""
        return len(self.returns) >= self._episodes

    @property
    def text(self) -> str:
        """As `Judge.text`."""
        counters = self._timeline.counters
        made = f"{counters.steps} steps of {counters.ticks} ticks, cuts {dict(counters.cuts)}"
        return f"{len(self.returns)} of {self._episodes} episodes ended, {made}"

    def take(self, topic: str, message: Any, received_ns: int) -> None:
        """As `Judge.take`."""
        self._timeline.take(topic, message, received_ns)
        self._build()

    def check(self) -> None:
        """As `Judge.check`."""
        self._timeline.check()
        self._build()

    def result(self) -> dict[str, Any]:
        """``mean_return``, ``worst_return``, ``returns``."""
        return {
            "mean_return": float(np.mean(self.returns)),
            "worst_return": min(self.returns),
            "returns": self.returns,
        }

    def _build(self) -> None:
        for step in self._timeline.steps():
            self._builder.add(step)
            if len(self._builder) < self._steps:
                continue
            episode = self._builder.take()
            if episode is not None and not self.done:
                self.returns.append(episode.total_reward)
                self._tell(
                    f"episode {len(self.returns)}/{self._episodes}: {episode.total_reward:.1f}"
                )


class _Stamped:
    """Numbers of two topics that belong together by their stamps."""

    def __init__(self) -> None:
        self._first: dict[int, NDArray[np.float64]] = {}
        self._second: dict[int, NDArray[np.float64]] = {}

    def add(
        self, message: Any, first: bool, numbers: list[float]
    ) -> tuple[int, NDArray[np.float64], NDArray[np.float64]] | None:
        """Take in one; give stamp and both once the other is there."""
        stamp_ns = header_stamp_ns(message)
        if stamp_ns is None:
            raise UserError("found a state without a stamp, expected one")
        mine, other = (self._first, self._second) if first else (self._second, self._first)
        mine[stamp_ns] = np.array(numbers, dtype=np.float64)
        if stamp_ns not in other:
            return None
        pair = stamp_ns, self._first[stamp_ns], self._second[stamp_ns]
        for kept in (self._first, self._second):
            for older in [at for at in kept if at <= stamp_ns]:
                del kept[older]
        return pair


class GoalsReached:
    """Of the base: how near it came to each goal, and how soon."""

    def __init__(self, interface: Interface, make: Make, *, goals: int, tell: Tell) -> None:
        """Hear nothing yet.

        Args:
            interface: Of the base.
            make: Gives empty messages.
            goals: How many.
            tell: Takes a line for each.
        """
        self._goals, self._tell = goals, tell
        self._writer = ActionWriter(interface.action, make)
        rates = [part.max_rate for part in self._writer.signature_parts]
        self._max_rate = np.array([np.inf if rate is None else rate for rate in rates])
        self._period_s = interface.period_s
        self._last: tuple[NDArray[np.float64], int] | None = None
        self._stamped = _Stamped()
        self._goal: NDArray[np.float64] | None = None
        self._began_ns = self._seen_ns = 0
        self._distances: list[tuple[float, float]] = []
        self._ratios: list[float] = []
        self._ends: list[float] = []
        self._too_fast = 0

    @property
    def topics(self) -> Mapping[str, str]:
        """As `Judge.topics`."""
        return {
            "goal_pose": "geometry_msgs/msg/PoseStamped",
            "odom": "nav_msgs/msg/Odometry",
            "cmd_vel": "geometry_msgs/msg/TwistStamped",
        }

    @property
    def simulation(self) -> Mapping[str, Any]:
        """As `Judge.simulation`."""
        return {"robot.target_every_s": GOAL_S, "robot.episode_s": 0.0}

    @property
    def done(self) -> bool:
        """As `Judge.done`."""
        return len(self._ends) >= self._goals

    @property
    def text(self) -> str:
        """As `Judge.text`."""
        return f"{len(self._ends)} of {self._goals} goals are over"

    def take(self, topic: str, message: Any, received_ns: int) -> None:
        """As `Judge.take`."""
        if topic == "cmd_vel":
            self._look_at_command(*self._writer.read(topic, message)[1:])
            return
        position = message.pose.position if topic == "goal_pose" else message.pose.pose.position
        pair = self._stamped.add(message, topic == "goal_pose", [position.x, position.y])
        if pair is not None and pair[0] > self._seen_ns:
            self._look(*pair)

    def check(self) -> None:
        """As `Judge.check`."""

    def result(self) -> dict[str, Any]:
        """``goals``, ``reached``, ``worst_distance_m``, ``time_ratio_p50`` and their likes.

        A goal is reached where the base is within `WITHIN_M` before the next one and stays there.
        The ratio is of the time until then and of the time of a bang-bang run, from rest to rest on
        a straight line; where the goal was not reached it is infinite, and None here.
        """
        finite = [ratio for ratio in self._ratios if math.isfinite(ratio)]
        p50 = float(np.median(self._ratios))
        return {
            "goals": len(self._ends),
            "reached": len(finite),
            "worst_distance_m": round(max(self._ends), 4),
            "time_ratio_p50": round(p50, 3) if math.isfinite(p50) else None,
            "time_ratio_max": round(max(finite), 3) if finite else None,
            "over_acceleration": self._too_fast,
        }

    def _look(self, stamp_ns: int, goal: NDArray[np.float64], place: NDArray[np.float64]) -> None:
        self._seen_ns = stamp_ns
        if self._goal is None or not np.array_equal(goal, self._goal):
            if self._goal is not None and not self.done:
                self._close()
            self._goal, self._began_ns, self._distances = goal, stamp_ns, []
        seconds = (stamp_ns - self._began_ns) / 1e9
        self._distances.append((seconds, float(np.linalg.norm(goal - place))))

    def _look_at_command(self, command: NDArray[np.float64], stamp_ns: int | None) -> None:
        """See whether it changed faster than is allowed since the one before."""
        if stamp_ns is None:
            raise UserError("cmd_vel: found no stamp, expected that of the state it answers")
        if self._last is not None and not self.done:
            before, before_ns = self._last
            if stamp_ns <= before_ns:
                return  # the robot has its command of that period, and takes no other
            periods = max(1.0, (stamp_ns - before_ns) / 1e9 / self._period_s)  # some may be missed
            change = np.abs(command - before)
            if (change > periods * self._period_s * self._max_rate + 1e-6).any():
                self._too_fast += 1
                self._tell(f"the command changed by {change.tolist()} within {periods:g} periods")
        self._last = command, stamp_ns

    def _close(self) -> None:
        far = [seconds for seconds, distance in self._distances if distance >= WITHIN_M]
        end_s, end_m = self._distances[-1]
        period_s = end_s / max(1, len(self._distances) - 1)
        reached_s = math.inf if end_m >= WITHIN_M else max(far, default=-period_s) + period_s
        ratio = reached_s / bang_bang_s(self._distances[0][1])
        self._ratios.append(ratio)
        self._ends.append(end_m)
        self._tell(
            f"goal {len(self._ends)}/{self._goals}: {self._distances[0][1]:.2f} m, ends "
            f"{100 * end_m:.1f} cm away"
            + (f", there after {reached_s:.2f} s" if end_m < WITHIN_M else "")
        )


def bang_bang_s(distance: float) -> float:
    """Least seconds of a straight run over a distance in metres, from rest to rest."""
    if distance < SPEED**2 / ACCELERATION:
        return 2 * math.sqrt(distance / ACCELERATION)
    return distance / SPEED + SPEED / ACCELERATION


class TargetFollowed:
    """Of the arm: how far its fingertip is from a target that runs on circles."""

    def __init__(self, *, circles: int, tell: Tell) -> None:
        """Hear nothing yet.

        Args:
            circles: How many, each with another start.
            tell: Takes a line for each.
        """
        self._circles, self._tell = circles, tell
        self._stamped = _Stamped()
        self._began_ns = self._seen_ns = 0
        self._now: list[float] = []
        self._all: list[list[float]] = []

    @property
    def topics(self) -> Mapping[str, str]:
        """As `Judge.topics`."""
        return {
            "target_pose": "geometry_msgs/msg/PoseStamped",
            "joint_states": "sensor_msgs/msg/JointState",
        }

    @property
    def simulation(self) -> Mapping[str, Any]:
        """As `Judge.simulation`."""
        return {"robot.target": "circle", "robot.episode_s": FOLLOW_S}

    @property
    def done(self) -> bool:
        """As `Judge.done`."""
        return len(self._all) >= self._circles

    @property
    def text(self) -> str:
        """As `Judge.text`."""
        return f"{len(self._all)} of {self._circles} circles are over"

    def take(self, topic: str, message: Any, received_ns: int) -> None:
        """As `Judge.take`."""
        if topic == "target_pose":
            numbers = [message.pose.position.x, message.pose.position.y]
        else:
            by_name = dict(zip(message.name, message.position, strict=True))
            numbers = _fingertip(by_name["shoulder"], by_name["elbow"])
        pair = self._stamped.add(message, topic == "target_pose", numbers)
        if pair is not None and pair[0] > self._seen_ns:
            self._look(*pair)

    def check(self) -> None:
        """As `Judge.check`."""

    def result(self) -> dict[str, Any]:
        """``mean_distance_m``, ``worst_distance_m`` and their likes."""
        means = [float(np.mean(distances)) for distances in self._all]
        return {
            "circles": len(self._all),
            "mean_distance_m": round(float(np.mean(means)), 5),
            "worst_distance_m": round(max(map(max, self._all)), 5),
            "worst_circle_mean_m": round(max(means), 5),
        }

    def _look(self, stamp_ns: int, target: NDArray[np.float64], tip: NDArray[np.float64]) -> None:
        if stamp_ns - self._seen_ns > _RESTART_NS:
            if self._now and not self.done:
                self._all.append(self._now)
                self._tell(
                    f"circle {len(self._all)}/{self._circles}: "
                    f"{100 * float(np.mean(self._now)):.2f} cm away in the mean"
                )
            self._now, self._began_ns = [], stamp_ns
        self._seen_ns = stamp_ns
        if stamp_ns - self._began_ns >= CATCH_UP_S * 1e9:
            self._now.append(float(np.linalg.norm(target - tip)))


def _fingertip(shoulder: float, elbow: float) -> list[float]:
    upper, lower = LINKS_M
    return [
        upper * math.cos(shoulder) + lower * math.cos(shoulder + elbow),
        upper * math.sin(shoulder) + lower * math.sin(shoulder + elbow),
    ]
