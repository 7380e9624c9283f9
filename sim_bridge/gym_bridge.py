"""The node ``gym_bridge``: commands in, state, steps and clock out."""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock as RosClock
from rclpy.clock import ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from planet_ros.config import BridgeNodeSettings
from planet_ros.control.limits import Limits
from planet_ros.data import Step
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.messages.fields import shortened, time_message
from planet_ros.messages.images import image_message
from planet_ros.messages.steps import step_message
from planet_ros.messages.vectors import (
    VECTOR_TYPE,
    read_vector,
    vector_message,
    vector_of,
)
from planet_ros.ros.parameters import NodeSettings
from planet_ros.ros.run import run_node
from planet_ros.ros.subscriptions import Source, crowd, subscribe
from planet_ros.ros.topics import (
    COMMAND_TOPIC,
    EVERY_STEP,
    JOINT_TOPIC,
    NEWEST,
    NEWEST_RELIABLE,
    OBSERVATION_TOPIC,
    STEP_TOPIC,
    TRAINER,
    check_topics,
)
from planet_ros.ros.types import make
from sim_bridge.joint_states import has_joints, read_joints
from sim_bridge.simulation import Simulation

CROWD_PERIOD_S = 2.0

PACE = "bridge.real_time_factor"
"""The one parameter that can change while the node runs."""


class GymBridge(Node):
    """Runs an environment in lock-step with its commander, or in real time.

    In lock-step it publishes an observation and waits for one command that bears its stamp, or no
    stamp at all; what comes while none is awaited is passed over. The observation is repeated
    while no command comes, so that neither a late joiner nor a lost message stops the run.

    Images of the observation have topics of their own, and bear the stamp of the step.
    """

    def __init__(self) -> None:
        """Make the environment and start, unless a learner is to say when.

        Raises:
            UserError: A parameter is wrong or the environment does not fit.
        """
        super().__init__("gym_bridge")
        self.exit_code: int | None = None
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
        self._limits = Limits(
            signature.low, signature.high, self._settings.safe_command, "bridge.safe_command"
        )
        self._simulation = Simulation(environment, settings.seed)
        self._lock_step = self._settings.mode == "lock_step"
        self._paused = self._settings.wait_for_learner
        self._single_step = False
        self._awaiting = False
        self._awaited_since_s = 0.0
        self._command: tuple[NDArray[np.float32], float] | None = None

        # Before the others, so that who has found those has found these: they are sent only once.
        self._images = {
            name: self.create_publisher(Image, name, NEWEST) for name in signature.images
        }
        self._observations = self.create_publisher(
            Float64MultiArray, OBSERVATION_TOPIC, NEWEST_RELIABLE
        )
        self._steps = self.create_publisher(Float64MultiArray, STEP_TOPIC, EVERY_STEP)
        self._clock_publisher = self.create_publisher(Clock, "/clock", NEWEST_RELIABLE)
        self._joint_states = (
            self.create_publisher(JointState, JOINT_TOPIC, NEWEST_RELIABLE)
            if has_joints(environment.gym)
            else None
        )
        self._commands = Source(
            subscribe(
                self,
                VECTOR_TYPE,
                COMMAND_TOPIC,
                NEWEST_RELIABLE,
                take=self._on_command,
                drop=self._drop,
                numbers=lambda: signature.actions,
            ),
            VECTOR_TYPE,
        )
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetBool, "~/pause", self._on_pause)
        self.create_service(Trigger, "~/single_step", self._on_single_step)
        steady = RosClock(clock_type=ClockType.STEADY_TIME)
        self._step_period_s = environment.step_period_s
        if self._lock_step:
            self.create_timer(self._settings.command_timeout_s, self._on_silence, clock=steady)
        else:
            period_s = self._step_period_s / self._settings.real_time_factor
            self._periods = self.create_timer(period_s, self._on_period, clock=steady)
        self.create_timer(CROWD_PERIOD_S, self._warn_of_crowds, clock=steady)
        self.add_post_set_parameters_callback(self._on_parameters)
        self.get_logger().info(
            f"{settings.env_id} in {self._settings.mode} mode"
            + (", waiting for a learner" if self._paused else "")
        )
        if not self._paused:
            self._go_on()

    def close(self) -> None:
        """Release the environment."""
        self._simulation.environment.close()

    def _warn_of_crowds(self) -> None:
        """Say where another simulation, or a second controller, is on the same topics."""
        found = crowd(self, [self._commands.subscription.topic_name], may_share=[TRAINER])
        found = found or crowd(self, [self._steps.topic_name, self._observations.topic_name])
        if found:
            self.get_logger().warn(found, throttle_duration_sec=10.0)

    # ── lock-step ────────────────────────────────────────────────────────────────────────────

    def _on_command(self, message: Float64MultiArray) -> None:
        try:
            vector = read_vector(message, len(self._limits.low))
        except UserError as error:
            self._drop(error)
            return
        self._commands.dropped = 0
        if not self._lock_step:
            self._command = (vector.values, time.monotonic())
            return
        current = self._simulation.current
        if not self._awaiting or current is None:
            return
        stamp_ns = vector.label.stamp_ns
        if stamp_ns is not None and stamp_ns != current.stamp_ns:
            return
        self._awaiting = False
        self._take(vector.values)
        if not self._paused:
            self._go_on()

    def _drop(self, reason: UserError) -> None:
        self._commands.dropped += 1
        self._commands.reason = shortened(str(reason))
        self.get_logger().error(f"dropped a command: {reason}", throttle_duration_sec=2.0)

    def _on_silence(self) -> None:
        """Repeat the observation that nobody has answered."""
        waited_s = time.monotonic() - self._awaited_since_s
        if not self._awaiting or waited_s < self._settings.command_timeout_s:
            return
        self._show_again()
        self.get_logger().warn(
            f"no command for the observation of {waited_s:.1f} s ago: {self._commands.text(self)}",
            throttle_duration_sec=5.0,
        )

    def _go_on(self) -> None:
        """Show the state to whoever commands; begin a new episode first where one has ended."""
        if self._settings.wait_for_learner and self._unread():
            # Not yet matched over DDS: what was published now would be lost to the learner.
            self._paused = True
            return
        if self._simulation.episode_ended:
            if 0 < self._settings.max_episodes <= self._simulation.episode + 1:
                self._steps.wait_for_all_acked(Duration(seconds=2.0))
                self.get_logger().info(f"{self._settings.max_episodes} episodes are done")
                self.exit_code = 0
                return
            self._publish_step(self._simulation.reset())
        self._publish_observation()
        self._awaiting = self._lock_step
        self._awaited_since_s = time.monotonic()

    def _show_again(self) -> None:
        """Repeat the observation, for who has missed a part of it."""
        step = self._simulation.current
        assert step is not None
        self._publish_images(step)
        self._publish_observation()

    def _unread(self) -> str:
        """A topic that a learner needs and that nobody reads yet; empty if there is none."""
        publishers = {**self._images, STEP_TOPIC: self._steps}
        return next(
            (name for name, one in publishers.items() if one.get_subscription_count() == 0), ""
        )

    # ── real time ────────────────────────────────────────────────────────────────────────────

    def _on_period(self) -> None:
        if self._paused or self._simulation.episode_ended:
            return
        action = self._limits.safe
        if self._command is not None:
            held, received_s = self._command
            if time.monotonic() - received_s <= self._settings.command_timeout_s:
                action = held
            else:
                self.get_logger().warn(
                    f"no command for {self._settings.command_timeout_s:g} s: applying the safe "
                    f"one; {self._commands.text(self)}",
                    throttle_duration_sec=5.0,
                )
        self._take(action)
        if not self._paused:
            self._go_on()

    def _on_parameters(self, parameters: list[Parameter]) -> None:
        """Take up another pace."""
        if not any(parameter.name == PACE for parameter in parameters):
            return
        if self._lock_step:
            self.get_logger().warn(f"{PACE}: means something in the mode real_time alone")
            return
        factor = self._node_settings.read().bridge.real_time_factor
        self._periods.timer_period_ns = round(self._step_period_s / factor * 1e9)
        self.get_logger().info(f"{factor:g} simulated seconds for each second")

    # ── both ─────────────────────────────────────────────────────────────────────────────────

    def _take(self, action: NDArray[np.floating]) -> None:
        """Take a step, and pause where someone wants to think."""
        step = self._simulation.step(action)
        self._publish_step(step)
        if step.last:  # nobody acts on the last observation of an episode: only the time has come
            self._publish_clock()
        learner_pauses = self._settings.wait_for_learner and self._training.pauses_at(
            self._simulation.steps, step.environment_steps, step.last
        )
        if learner_pauses or self._single_step:
            self._paused, self._single_step = True, False

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

    def _publish_observation(self) -> None:
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
        # After the state, so that whoever wakes by the clock finds the state there.
        self._publish_clock()

    def _publish_clock(self) -> None:
        self._clock_publisher.publish(Clock(clock=time_message(make, self._simulation.time_ns)))

    # ── services, with the meaning of simulation_interfaces ─────────────────────────────────

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._awaiting = False
        self._publish_step(self._simulation.reset())
        if not self._paused:
            self._go_on()
        response.success = True
        response.message = f"episode {self._simulation.episode} begins"
        return response

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._single_step = False
        if request.data:
            self._paused, self._awaiting = True, False
            response.success, response.message = True, "paused"
            return response
        if self._paused:
            self._resume()
        response.success = not self._paused
        response.message = "running" if response.success else self._nobody_reads()
        return response

    def _resume(self) -> None:
        """Go on with the next episode, or with the same observation once more."""
        shown = None if self._simulation.episode_ended else self._simulation.current
        if shown is not None:
            self._publish_images(shown)
        self._paused = False
        self._go_on()

    def _nobody_reads(self) -> str:
        return f"nobody reads '{self._unread()}' yet; try again"

    def _on_single_step(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        response.success = self._paused
        if not self._paused:
            response.message = "pause first"
            return response
        self._single_step = True
        self._resume()
        if self._paused:  # nobody reads the steps
            self._single_step = response.success = False
        response.message = (
            "one step, as soon as a command comes" if response.success else self._nobody_reads()
        )
        return response


def main(arguments: list[str] | None = None) -> int:
    """Run the node until its last episode, or SIGINT or SIGTERM."""
    return run_node(GymBridge, arguments)


if __name__ == "__main__":
    sys.exit(main())
