"""Steps of a simulation, from its topic ``step`` and those of its images.

While there is no model, observations are answered with random actions.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray

from planet_ros.config import TrainerNodeSettings
from planet_ros.data import Step
from planet_ros.data.images import fit_image
from planet_ros.data.joining import StepJoiner
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.messages.images import IMAGE_TYPE, image_stamp_ns, read_image
from planet_ros.messages.steps import read_step
from planet_ros.messages.vectors import VECTOR_TYPE, Label, read_label, vector_message, vector_of
from planet_ros.models import Task
from planet_ros.ros.listening import WARNING_PERIOD_S, Listener
from planet_ros.ros.step_source import Take
from planet_ros.ros.subscriptions import Source
from planet_ros.ros.topics import (
    COMMAND_TOPIC,
    EVERY_IMAGE,
    EVERY_STEP,
    NEWEST,
    OBSERVATION_TOPIC,
    STEP_TOPIC,
    check_topics,
)
from planet_ros.ros.types import make
from planet_ros.training.session import Session

IMAGE_WAIT_S = 0.5
IMAGE_CHECKS = 5


class StepTopic:
    """Steps of the environment that the settings name, wherever it runs; see `StepSource`."""

    interface: Interface | None = None
    task: Task | None = None
    catches_up = False

    def __init__(self, node: Node, listener: Listener, settings: TrainerNodeSettings) -> None:
        """Make the environment, only for its signature.

        Raises:
            UserError: It cannot be made, or its observation has no topics.
        """
        self._node = node
        self._listener = listener
        environment = Environment(
            EnvironmentSpec.of(settings), episode_steps=settings.training.episode_steps
        )
        environment.close()
        for note in environment.notes(
            period_given=settings.training.command_period_s > 0,
            fits_within_episodes=settings.training.update_every_steps > 0,
        ):
            node.get_logger().warn(note)
        check_topics(environment.signature)
        self.signature = environment.signature
        self.environment: EnvironmentSpec | None = environment.spec
        self._image_shapes = environment.signature.images
        self._joiner = StepJoiner(self._image_shapes, checks=IMAGE_CHECKS)
        self._sources: list[Source] = []
        self._images: list[Source] = []
        self._heard_s = time.monotonic()

    @property
    def complete(self) -> bool:
        """Whether all images come from somewhere."""
        return all(one.subscription.get_publisher_count() > 0 for one in self._images)

    def listen(self, session: Session, take: Take) -> None:
        """Subscribe; answer observations where the session explores."""
        self._session = session
        self._take = take
        self._heard_s = time.monotonic()
        self._commands = self._node.create_publisher(Float64MultiArray, COMMAND_TOPIC, EVERY_STEP)
        # Before the steps': a bridge that sees a reader of those then sees readers of these too.
        self._images = [
            self._listener.listen(
                IMAGE_TYPE,
                name,
                EVERY_IMAGE,
                read=partial(self._read_image, name),
                take=partial(self._on_image, name),
                what=f"a frame on '{name}'",
            )
            for name in self._image_shapes
        ]
        if self._images:
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            self._node.create_timer(IMAGE_WAIT_S / IMAGE_CHECKS, self._check_images, clock=steady)
        steps = self._listener.listen(
            VECTOR_TYPE,
            STEP_TOPIC,
            EVERY_STEP,
            read=self._read_step,
            take=self._on_step,
            what="a step",
        )
        self._sources = [steps, *self._images]
        self._listener.listen(
            VECTOR_TYPE,
            OBSERVATION_TOPIC,
            NEWEST,
            read=read_label,
            take=self._on_observation,
            what="an observation",
        )

    def is_lost(self, step: Step) -> bool:
        """Whether the images of a step never came."""
        return self._joiner.is_lost(step)

    def idle_s(self, stream: int) -> float:
        """Seconds without a step; there is one stream."""
        return time.monotonic() - self._heard_s

    def silence(self, stream: int, limit_s: float) -> str:
        """Which topics are silent, and why."""
        if self.idle_s(stream) <= limit_s:
            return ""
        return ", ".join(source.text(self._node) for source in self._sources)

    def close(self) -> None:
        """A simulation waits for commands: there is none to be sent last."""

    def _on_observation(self, label: Label) -> None:
        if not self._session.explores:
            return
        episode, index = label.count("episode"), label.count("index")
        if episode is None or index is None:  # a source that does not count its episodes
            episode, index = self._session.learner.episodes, self._session.steps
        action = self._session.random_action(episode, index)
        self._commands.publish(vector_message(make, "action", action, label.stamp_ns or 0))

    def _read_step(self, message: Any) -> Step:
        """A step of this environment's sizes: one of others is a damaged or a strange message."""
        step = read_step(message)
        found = len(vector_of(step.observation)), len(step.action)
        expected = self.signature.vector_size, self.signature.actions
        if found != expected:
            raise UserError(
                f"step: found {found[0]} numbers of observation and {found[1]} of action, "
                f"expected {expected[0]} and {expected[1]}, as in the environment of the settings"
            )
        return step

    def _on_step(self, step: Step) -> None:
        self._heard_s = time.monotonic()
        self._give(self._joiner.add_step(step))

    def _read_image(self, name: str, message: Any) -> tuple[int, NDArray[np.uint8]]:
        image = fit_image(read_image(message), self._image_shapes[name])
        return image_stamp_ns(message) or 0, image

    def _on_image(self, name: str, stamped: tuple[int, NDArray[np.uint8]]) -> None:
        self._give(self._joiner.add_image(name, *stamped))

    def _check_images(self) -> None:
        self._give(self._joiner.check())

    def _give(self, steps: list[Step]) -> None:
        if any(self._joiner.is_lost(step) for step in steps):
            self._node.get_logger().warn(
                f"missing images: {self._joiner.lost} steps so far; the episodes are cut there",
                throttle_duration_sec=WARNING_PERIOD_S,
            )
        self._take(steps)
