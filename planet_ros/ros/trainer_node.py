"""The node ``trainer``: environment steps in, bundles out.

While there is no model it answers observations with random actions. Then the controller acts, and
the trainer fits the model between two episodes (or every so many steps), exports it, announces it
on ``model``, waits until the controller says on ``model_in_use`` that it has taken over, and lets
a waiting simulation go on. `planet_ros.training.session.Session` does the work.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import SetBool

from planet_ros.bundle.runtime import Bundle
from planet_ros.config import TrainerNodeSettings
from planet_ros.data import Step
from planet_ros.data.images import fit_image
from planet_ros.data.joining import StepJoiner
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.messages.announcements import Announcement
from planet_ros.messages.fields import shortened
from planet_ros.messages.images import IMAGE_TYPE, image_stamp_ns, read_image
from planet_ros.messages.sizes import TEXT_TYPE
from planet_ros.messages.steps import read_step
from planet_ros.messages.vectors import (
    VECTOR_TYPE,
    Label,
    read_label,
    vector_message,
    vector_of,
)
from planet_ros.report.attempt import attempt
from planet_ros.report.curves import plot_learning_curves
from planet_ros.ros.parameters import NodeSettings
from planet_ros.ros.run import run_node
from planet_ros.ros.subscriptions import Source, subscribe
from planet_ros.ros.topics import (
    COMMAND_TOPIC,
    EVERY_IMAGE,
    EVERY_STEP,
    LATCHED,
    MODEL_IN_USE_TOPIC,
    MODEL_TOPIC,
    NEWEST,
    NEWEST_RELIABLE,
    OBSERVATION_TOPIC,
    STEP_TOPIC,
    check_topics,
)
from planet_ros.ros.types import make
from planet_ros.training.progress import Progress
from planet_ros.training.session import Session

PAUSE_SERVICE = "gym_bridge/pause"
CHECK_PERIOD_S = 0.2
SILENCE_S = 2.0
WARNING_PERIOD_S = 2.0
IMAGE_WAIT_S = 0.5
IMAGE_CHECKS = 5


T = TypeVar("T")


class _Stopped(Exception):
    """Raised inside a fit when the node is to end."""


class TrainerNode(Node):
    """Learns a world model from the steps of a simulation or a robot."""

    def __init__(self) -> None:
        """Open the run and subscribe.

        Raises:
            UserError: A parameter is wrong, or the output folder holds a run.
        """
        super().__init__("trainer")
        self.exit_code: int | None = None
        settings = NodeSettings(self, TrainerNodeSettings, changeable=()).read()
        self._settings = settings.training
        self._progress = Progress(settings.training.steps, "steps", write=self.get_logger().info)
        # Only for its signature: the steps come from the topic.
        environment = Environment(
            EnvironmentSpec.of(settings), episode_steps=settings.training.episode_steps
        )
        environment.close()
        for note in environment.notes(
            period_given=settings.training.command_period_s > 0,
            fits_within_episodes=settings.training.update_every_steps > 0,
        ):
            self.get_logger().warn(note)
        check_topics(environment.signature)
        self._signature = environment.signature
        self._image_shapes = environment.signature.images
        self._joiner = StepJoiner(self._image_shapes, checks=IMAGE_CHECKS)
        self._session = Session(
            settings,
            environment.signature,
            environment=environment.spec,
            say=self._progress.line,
        )
        self._progress.start_at(self._session.steps)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="learner")
        self._work: Future[Bundle] | None = None
        self._work_done = self.create_guard_condition(self._on_work_done)
        self._waiting_steps: deque[Step] = deque()
        self._stopping = False
        self._awaited: tuple[str, float] | None = None
        self._digest_in_use = ""
        self._dropped = 0
        self._heard_s = time.monotonic()

        self._commands = self.create_publisher(Float64MultiArray, COMMAND_TOPIC, NEWEST_RELIABLE)
        self._models = self.create_publisher(String, MODEL_TOPIC, LATCHED)
        self._pause = self.create_client(SetBool, PAUSE_SERVICE)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        # Before the steps': a bridge that sees a reader of those then sees readers of these too.
        self._images = [
            self._subscribe(
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
            self.create_timer(IMAGE_WAIT_S / IMAGE_CHECKS, self._check_images, clock=steady)
        self._steps = self._subscribe(
            VECTOR_TYPE,
            STEP_TOPIC,
            EVERY_STEP,
            read=self._read_step,
            take=self._on_step,
            what="a step",
        )
        self._subscribe(
            VECTOR_TYPE,
            OBSERVATION_TOPIC,
            NEWEST,
            read=read_label,
            take=self._on_observation,
            what="an observation",
        )
        self._subscribe(
            TEXT_TYPE,
            MODEL_IN_USE_TOPIC,
            LATCHED,
            read=lambda message: Announcement.read(message.data),
            take=self._on_model_in_use,
            what=f"a message on '{MODEL_IN_USE_TOPIC}'",
        )
        self.create_timer(CHECK_PERIOD_S, self._go_on_if_due, clock=steady)
        if not self._session.random:
            self._announce(self._session.learner.export())
        else:
            self._let_simulation_go_on()

    def close(self) -> None:
        """Save everything: the process is about to end."""
        self._stopping = True
        self._worker.shutdown(wait=True, cancel_futures=True)
        if self.exit_code == 0:
            return
        self._session.finish()
        self._draw()
        self.get_logger().info(
            f"stopped after {self._session.steps} environment steps; all is saved in "
            f"{self._session.run.path}; resume:=true (training.resume) continues"
        )

    def _subscribe(
        self,
        type_name: str,
        topic: str,
        qos: QoSProfile,
        *,
        read: Callable[[Any], T],
        take: Callable[[T], None],
        what: str,
    ) -> Source:
        """Listen to a topic; a message that cannot be read, `what` to a person, is dropped."""

        def on_message(message: Any) -> None:
            try:
                value = read(message)
            except UserError as error:
                on_dropped(error)
                return
            source.dropped = 0
            take(value)

        def on_dropped(reason: UserError) -> None:
            source.dropped, source.reason = source.dropped + 1, shortened(str(reason))
            self._drop(what, reason)

        subscription = subscribe(self, type_name, topic, qos, take=on_message, drop=on_dropped)
        source = Source(subscription, type_name)
        return source

    # ── steps ────────────────────────────────────────────────────────────────────────────────

    def _on_observation(self, label: Label) -> None:
        if not self._session.random or self._session.finished:
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
        expected = self._signature.vector_size, self._signature.actions
        if found != expected:
            raise UserError(
                f"step: found {found[0]} numbers of observation and {found[1]} of action, "
                f"expected {expected[0]} and {expected[1]}, as in the environment of the settings"
            )
        return step

    def _on_step(self, step: Step) -> None:
        self._heard_s = time.monotonic()
        self._take(self._joiner.add_step(step))

    def _read_image(self, name: str, message: Any) -> tuple[int, NDArray[np.uint8]]:
        image = fit_image(read_image(message), self._image_shapes[name])
        return image_stamp_ns(message) or 0, image

    def _on_image(self, name: str, stamped: tuple[int, NDArray[np.uint8]]) -> None:
        self._take(self._joiner.add_image(name, *stamped))

    def _drop(self, what: str, reason: UserError) -> None:
        self._dropped += 1
        self.get_logger().warn(
            f"dropped {what}: {reason} ({self._dropped} dropped so far)",
            throttle_duration_sec=WARNING_PERIOD_S,
        )

    def _check_images(self) -> None:
        self._take(self._joiner.check())

    def _take(self, steps: list[Step]) -> None:
        """Learn from joined steps, now or when the fit under way is done."""
        if any(self._joiner.is_lost(step) for step in steps):
            self.get_logger().warn(
                f"missing images: {self._joiner.lost} steps so far; the episodes are cut there",
                throttle_duration_sec=WARNING_PERIOD_S,
            )
        self._waiting_steps.extend(steps)
        while self._waiting_steps and self._work is None:
            self._add(self._waiting_steps.popleft())

    def _add(self, step: Step) -> None:
        if self._session.finished:
            return
        missing = self._session.missing_steps
        if self._joiner.is_lost(step):
            fits, newest = self._session.lose(step), 0
        else:
            fits, newest = self._session.add(step), step.environment_steps
            if step.index > 0:
                self._progress.advance(newest)
        if fits:
            self._work = self._worker.submit(self._fit)
            self._work.add_done_callback(lambda _: self._work_done.trigger())
        elif step.index > 0 and self._settings.pauses_at(self._session.steps, newest, step.last):
            self._let_simulation_go_on()
        if self._session.missing_steps > missing:
            self.get_logger().warn(
                f"{self._session.missing_steps} steps never arrived; the episodes are cut there"
            )

    def _fit(self) -> Bundle:
        bundle = self._session.fit(self._may_go_on)
        if self._session.finished:
            bundle = self._session.finish(self._session.recent_evaluation()) or bundle
            self._draw()
        return bundle

    def _may_go_on(self, done: int, total: int) -> None:
        if self._stopping:
            raise _Stopped

    def _draw(self) -> None:
        run = self._session.run
        attempt(run.curves_file, lambda: plot_learning_curves(run), self.get_logger().warn)

    # ── models ───────────────────────────────────────────────────────────────────────────────

    def _on_work_done(self) -> None:
        if self._work is None or not self._work.done():
            return
        work, self._work = self._work, None
        self._announce(work.result())
        self._take([])

    def _announce(self, bundle: Bundle) -> None:
        announcement = Announcement(bundle.path.resolve(), bundle.digest)
        self._models.publish(String(data=announcement.to_text()))
        self._awaited = (bundle.digest, time.monotonic() + self._settings.controller_timeout_s)
        self._go_on_if_due()

    def _on_model_in_use(self, announcement: Announcement) -> None:
        self._digest_in_use = announcement.digest
        self._go_on_if_due()

    def _go_on_if_due(self) -> None:
        """See whether what is awaited has come, or will not."""
        now_s = time.monotonic()
        if self._awaited is not None:
            digest, until_s = self._awaited
            if digest != self._digest_in_use and now_s < until_s:
                return
            if digest != self._digest_in_use:
                self.get_logger().warn(
                    f"no controller has taken over the new model within "
                    f"{self._settings.controller_timeout_s:g} s; going on without"
                )
            self._awaited = None
            if self._session.finished:
                self._end()
            else:
                self._let_simulation_go_on()
        elif self._work is None and now_s - self._heard_s > SILENCE_S:
            # The first call may have come before the simulation, or a message was lost.
            self._heard_s = now_s
            self._let_simulation_go_on()
            topics = ", ".join(source.text(self) for source in (self._steps, *self._images))
            self.get_logger().info(
                f"no steps for {SILENCE_S:g} s: {topics}", throttle_duration_sec=10.0
            )

    def _let_simulation_go_on(self) -> None:
        # Where images come from somewhere, they must come here, or the first ones would be lost.
        matched = all(one.subscription.get_publisher_count() > 0 for one in self._images)
        if matched and self._pause.service_is_ready():
            self._pause.call_async(SetBool.Request(data=False))

    def _end(self) -> None:
        self._models.wait_for_all_acked(Duration(seconds=1.0))
        self._worker.shutdown(wait=True)
        self.get_logger().info(
            f"learned from {self._session.steps} environment steps; the bundle is "
            f"{self._session.run.bundle}"
        )
        self.exit_code = 0


def main(arguments: list[str] | None = None) -> int:
    """Run the node until it has learned, or SIGINT or SIGTERM."""
    return run_node(TrainerNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
