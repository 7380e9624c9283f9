"""The node ``robot``: a simulated robot that is nothing but topics to all others.

There is no observation, no step and no reward on any topic: what a model is to see, to do and to
achieve stands in the robot's interface file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.config import RobotNodeSettings, RobotSettings
from planet_ros.ros.parameters import NodeSettings
from planet_ros.ros.run import run_node
from planet_ros.ros.topics import EVERY_STEP
from planet_ros.ros.types import make, message_class
from sim_bridge.robots.joints import JointOptions
from sim_bridge.robots.simulation import PERIOD_S, RESTART_GAP_NS, RobotSimulation
from sim_bridge.robots.target import TargetMotion
from sim_bridge.robots.topics import ROBOTS, RobotOptions
from sim_bridge.simulator_node import SimulatorNode

PACE = "robot.real_time_factor"
"""The one parameter that can change while the node runs."""


def options_of(settings: RobotSettings) -> RobotOptions:
    """How a robot is seen, as its settings say."""
    return RobotOptions(
        joints=JointOptions(settings.scramble_joints, settings.joint_velocity),
        noise=settings.noise,
        target=TargetMotion(
            settings.target,
            settings.target_every_s,
            settings.target_speed_m_s,
            settings.target_radius_m,
        ),
        goal_every_s=settings.target_every_s,
    )


class RobotNode(SimulatorNode):
    """Runs a robot; the messages of its sensors are the state that it shows, all of one stamp."""

    def __init__(self) -> None:
        """Make the robot and start, unless it is to wait.

        Raises:
            UserError: A parameter is wrong.
        """
        super().__init__("robot")
        self._node_settings = NodeSettings(self, RobotNodeSettings, changeable=(PACE,))
        settings = self._node_settings.read()
        self._settings = settings.robot
        self._topics = ROBOTS[self._settings.name](make, options_of(self._settings))
        self._simulation = RobotSimulation(
            self._topics.robot,
            seed=settings.seed,
            extra_delay_periods=self._settings.extra_delay_periods,
            episode_s=self._settings.episode_s,
        )
        # Not that of the movement: what the sensors add does not change where the robot goes.
        self._sensors = np.random.default_rng([settings.seed, 1])
        self._readings: dict[str, Any] = {}
        self._paused = self._settings.start_paused
        # In lock-step the next state may come before the last one has arrived, and a learner wants
        # all of them; who wants the newest alone has a short queue of its own.
        self._states = {
            topic: self.create_publisher(message_class(kind), topic, EVERY_STEP)
            for topic, kind in self._topics.states.items()
        }
        self._start(
            self._settings,
            PACE,
            lambda: self._node_settings.read().robot.real_time_factor,
            PERIOD_S,
            self._topics.command,
            len(self._topics.robot.low),
        )
        self._measure()
        self.get_logger().info(
            f"{self._settings.name} in {self._settings.mode} mode"
            + (", paused" if self._paused else "")
        )
        if not self._paused:
            self._go_on()

    def close(self) -> None:
        """Do nothing: a robot that nobody simulates any more stands still."""

    @property
    def _time_ns(self) -> int:
        return self._simulation.time_ns

    @property
    def _shown_ns(self) -> int:
        return self._simulation.time_ns

    def _own_topics(self) -> Iterable[str]:
        return [publisher.topic_name for publisher in self._states.values()]

    def _timeout_s(self) -> float:
        """The robot counts its own seconds."""
        return self._settings.command_timeout_s / self._factor

    def _read(self, message: Any) -> tuple[NDArray[np.float64], int | None]:
        command = self._topics.read(message)
        return command.values, command.stamp_ns

    def _safe(self) -> NDArray[np.float64]:
        return self._topics.robot.hold()

    def _take(self, command: NDArray[np.floating]) -> None:
        """Move; or begin anew in place of that, so that the last state of a start is seen too."""
        if self._simulation.restart_is_due:
            self._begin_anew()
            return
        self._simulation.step(command)
        self._measure()
        every = self._settings.pause_every_steps
        if every and self._simulation.steps % every == 0:
            self._await()  # a learner has to see how the period ended
            self._paused = True

    def _prepare(self) -> bool:
        return True

    def _begin_anew(self) -> str:
        self._simulation.restart()
        self._safe_now = None  # where an arm was held before says nothing any more
        self._measure()
        return f"a new start; stamps have jumped by {RESTART_GAP_NS / 1e9:g} s"

    def _measure(self) -> None:
        """Read the sensors, once for each state: what is repeated is the same."""
        self._readings = self._topics.readings(self._simulation.time_ns, self._sensors)

    def _show(self) -> None:
        for topic, message in self._readings.items():
            self._states[topic].publish(message)
        self._publish_clock()

    def _show_again(self) -> None:
        self._show()


def main(arguments: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    return run_node(RobotNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
