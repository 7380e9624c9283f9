"""The node ``gym_bridge``: commands in, state, steps and clock out."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from rclpy.duration import Duration
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray

from planet_ros.config import BridgeNodeSettings
from planet_ros.data import Step
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.interface.safe import SafeCommand
from planet_ros.messages.fields import time_message
from planet_ros.messages.images import image_message
from planet_ros.messages.steps import step_message
from planet_ros.messages.vectors import VECTOR_TYPE, read_vector, vector_message, vector_of
from planet_ros.ros.parameters import NodeSettings
from planet_ros.ros.run import run_node
from planet_ros.ros.topics import (
    COMMAND_TOPIC,
    EVERY_STEP,
    JOINT_TOPIC,
    NEWEST,
    NEWEST_RELIABLE,
    OBSERVATION_TOPIC,
    STEP_TOPIC,
    check_topics,
)
from planet_ros.ros.types import make
from sim_bridge.joint_states import has_joints, read_joints
from sim_bridge.simulation import Simulation
from sim_bridge.simulator_node import SimulatorNode

PACE = "bridge.real_time_factor"
"""The one parameter that can change while the node runs."""


class GymBridge(SimulatorNode):
    """Runs a Gymnasium environment; an observation is the state that it shows.

    Images of the observation have topics of their own, and bear the stamp of the step.
    """

    def __init__(self) -> None:
        """Make the environment and start, unless a learner is to say when.

        Raises:
            UserError: A parameter is wrong or the environment does not fit.
        """
        super().__init__("gym_bridge")
        self._node_settings = NodeSettings(self, BridgeNodeSettings, changeable=(PACE,))
        settings = self._node_settings.read()
        self._settings = settings.bridge
        self._training = settings.training
        environment = Environment(
            EnvironmentSpec.of(settings),
            # A simulation that serves no learner has the environment's own episodes.
            episode_steps=settings.training.episode_steps
            if settings.bridge.wait_for_learner
            else 0,
        )
        signature = environment.signature
        check_topics(signature)
        self._safe_command = SafeCommand.at_once(
            signature.low, signature.high, self._settings.safe_command, "bridge.safe_command"
        ).constant
        self._simulation = Simulation(environment, settings.seed)
        self._paused = self._settings.wait_for_learner

        # Before the others, so that who has found those has found these: they are sent only once.
        self._images = {
            name: self.create_publisher(Image, name, NEWEST) for name in signature.images
        }
        self._observations = self.create_publisher(
            Float64MultiArray, OBSERVATION_TOPIC, NEWEST_RELIABLE
        )
        self._steps = self.create_publisher(Float64MultiArray, STEP_TOPIC, EVERY_STEP)
        self._joint_states = (
            self.create_publisher(JointState, JOINT_TOPIC, NEWEST_RELIABLE)
            if has_joints(environment.gym)
            else None
        )
        self._start(
            self._settings,
            PACE,
            lambda: self._node_settings.read().bridge.real_time_factor,
            environment.step_period_s,
            (COMMAND_TOPIC, VECTOR_TYPE),
            signature.actions,
        )
        self.get_logger().info(
            f"{settings.env_id} in {self._settings.mode} mode"
            + (", waiting for a learner" if self._paused else "")
        )
        if not self._paused:
            self._go_on()

    def close(self) -> None:
        """Release the environment."""
        self._simulation.environment.close()

    @property
    def _time_ns(self) -> int:
        return self._simulation.time_ns

    @property
    def _shown_ns(self) -> int | None:
        current = self._simulation.current
        return None if current is None or current.last else current.stamp_ns

    def _own_topics(self) -> Iterable[str]:
        return self._steps.topic_name, self._observations.topic_name

    def _read(self, message: Float64MultiArray) -> tuple[NDArray[np.float32], int | None]:
        vector = read_vector(message, len(self._safe_command))
        return vector.values, vector.label.stamp_ns

    def _safe(self) -> NDArray[np.float32]:
        return self._safe_command

    def _take(self, command: NDArray[np.floating]) -> None:
        """Take a step, and pause where a learner wants to think."""
        step = self._simulation.step(command)
        self._publish_step(step)
        if step.last:  # nobody acts on the last observation of an episode: only the time has come
            self._publish_clock()
        if self._settings.wait_for_learner and self._training.pauses_at(
            self._simulation.steps, step.environment_steps, step.last
        ):
            self._paused = True

    def _prepare(self) -> bool:
        """Begin a new episode where one has ended; no more than there should be."""
        if self._simulation.episode_ended:
            if 0 < self._settings.max_episodes <= self._simulation.episode + 1:
                self._steps.wait_for_all_acked(Duration(seconds=2.0))
                self.get_logger().info(f"{self._settings.max_episodes} episodes are done")
                self.exit_code = 0
                return False
            self._publish_step(self._simulation.reset())
        return True

    def _begin_anew(self) -> str:
        self._publish_step(self._simulation.reset())
        return f"episode {self._simulation.episode} begins"

    def _resume(self) -> None:
        """Go on with the next episode, or with the same observation once more."""
        shown = None if self._simulation.episode_ended else self._simulation.current
        if shown is not None:
            self._publish_images(shown)
        super()._resume()

    def _unread(self) -> str:
        """A topic that a learner needs and that nobody reads yet; empty if there is none."""
        if not self._settings.wait_for_learner:
            return ""
        publishers = {**self._images, STEP_TOPIC: self._steps}
        return next(
            (name for name, one in publishers.items() if one.get_subscription_count() == 0), ""
        )

    def _show_again(self) -> None:
        step = self._simulation.current
        assert step is not None
        self._publish_images(step)
        self._show()

    def _show(self) -> None:
        step = self._simulation.current
        assert step is not None
        self._observations.publish(
            vector_message(
                make,
                OBSERVATION_TOPIC,
                vector_of(step.observation),
                step.stamp_ns,
                episode=self._simulation.episode,
                index=step.index,
            )
        )
        self._publish_clock()

    def _publish_step(self, step: Step) -> None:
        if self._joint_states is not None:
            joints = read_joints(self._simulation.environment.gym)
            message = JointState()
            message.header.stamp = time_message(make, step.stamp_ns)
            message.name, message.position = joints.name, joints.position
            message.velocity, message.effort = joints.velocity, joints.effort
            self._joint_states.publish(message)
        # With every step and not only with what is shown: a learner needs the last one too.
        self._publish_images(step)
        self._steps.publish(step_message(make, step))

    def _publish_images(self, step: Step) -> None:
        for name, publisher in self._images.items():
            # The camera of this name is the frame: tools refuse images without one.
            image = image_message(make, step.observation[name], step.stamp_ns, frame_id=name)
            publisher.publish(image)


def main(arguments: list[str] | None = None) -> int:
    """Run the node until its last episode, or SIGINT or SIGTERM."""
    return run_node(GymBridge, arguments)


if __name__ == "__main__":
    sys.exit(main())
