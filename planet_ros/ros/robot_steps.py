"""Steps of robots, from their own topics: what they measure, and are commanded by whomever."""

from __future__ import annotations

import time

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from planet_ros.config import TrainerNodeSettings
from planet_ros.data import Step
from planet_ros.environments import EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.interface.signature import signature_of
from planet_ros.models import Task
from planet_ros.ros.learned_robot import LearnedRobot
from planet_ros.ros.listening import Listener
from planet_ros.ros.standstill import Standstill
from planet_ros.ros.step_source import Take
from planet_ros.ros.types import make
from planet_ros.training.session import Session
from planet_ros.training.tasks import task_of

CHECK_PERIOD_S = 0.1
REPORT_PERIOD_S = 10.0
ACKNOWLEDGED_WITHIN_S = 0.5


class RobotSteps:
    """Steps out of the messages that the settings' interface names; see `StepSource`."""

    environment: EnvironmentSpec | None = None
    complete = True

    def __init__(self, node: Node, listener: Listener, settings: TrainerNodeSettings) -> None:
        """Read the interface.

        Raises:
            UserError: There is none, it does not fit the types of the messages, no reward comes
                with them, or several robots would share a topic for commands.
        """
        self._node = node
        training = settings.training
        document = load_interface(settings.interface)
        self.interface: Interface | None = document
        self._period_s = document.period_s
        if document.reward.kind == "step":
            raise UserError(
                f"{settings.interface}: reward: found none, expected kind quadratic, function "
                "or topic: the robot's topics hold none by themselves"
            )
        if training.command_period_s > 0:
            raise UserError(
                f"training.command_period_s: found {training.command_period_s:g} beside an "
                f"interface, expected 0: its period_s is {document.period_s:g}"
            )
        shared = [part.topic for part in document.action if not _is_relative(part.topic)]
        if shared and len(settings.robots) > 1:
            raise UserError(
                f"{settings.interface}: action: found the topic {shared[0]!r}, which is the same "
                f"one for all of {', '.join(settings.robots)}; expected a relative one, so that "
                "each robot has its own"
            )
        self._lock_step = training.lock_step
        self.catches_up = not training.lock_step
        self._standstill: Standstill | None = None
        if node.get_parameter("use_sim_time").value and not training.lock_step:
            clock = node.get_clock()
            self._standstill = Standstill(lambda: clock.now().nanoseconds / 1e9, time.monotonic)
        try:
            self.signature = signature_of(document, make)
            self.task: Task | None = task_of(document, self.signature, make)
            self._robots = [
                LearnedRobot(
                    node,
                    listener,
                    document,
                    self.task,
                    namespace=namespace,
                    stream=stream,
                    lock_step=training.lock_step,
                )
                for stream, namespace in enumerate(settings.robots or [""])
            ]
        except UserError as error:
            raise UserError(f"{settings.interface}: {error}") from None
        if not (training.update_every_steps or document.end.after_steps):
            node.get_logger().warn(
                "the model is fitted where an episode ends, and nothing says that one does after "
                "some time: set training.update_every_steps, or end.after_steps in the interface"
            )

    def listen(self, session: Session, take: Take) -> None:
        """Subscribe to all topics of the interface; command where the session may explore."""
        for robot in self._robots:
            robot.listen(session, take)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        if self._lock_step:
            self._node.create_timer(CHECK_PERIOD_S, self._check, clock=steady)
        else:
            # By the clock that messages are received by, which may be a simulation's.
            self._node.create_timer(self._period_s / 2, self._advance)
            if session.settings.training.collect != "listen":
                self._node.create_timer(self._period_s, self._explore)
        self._node.create_timer(REPORT_PERIOD_S, self._report, clock=steady)

    def is_lost(self, step: Step) -> bool:
        """Never: where something is missing there is no step."""
        return False

    def idle_s(self, stream: int) -> float:
        """Seconds without a step of one robot."""
        return self._robots[stream].idle_s

    def silence(self, stream: int, limit_s: float) -> str:
        """Which topics of a robot are silent, and why; or that simulated time stands still."""
        stopped = self._standstill.text() if self._standstill is not None else ""
        if stopped and self.idle_s(stream) > limit_s:
            return stopped
        return self._robots[stream].silence(limit_s)

    def close(self) -> None:
        """Send the safe command, where a random one is in force; say what came of it all."""
        for robot in self._robots:
            robot.close()
        until_s = time.monotonic() + ACKNOWLEDGED_WITHIN_S
        for robot in self._robots:
            robot.flush(until_s)
        self._report()

    def _advance(self) -> None:
        for robot in self._robots:
            robot.advance()

    def _check(self) -> None:
        for robot in self._robots:
            robot.check()

    def _explore(self) -> None:
        for robot in self._robots:
            robot.explore()

    def _report(self) -> None:
        for robot in self._robots:
            robot.report()


def _is_relative(topic: str) -> bool:
    return not topic.startswith(("/", "~"))
