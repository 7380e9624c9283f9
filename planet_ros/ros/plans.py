"""What the controller plans and expects, for people who watch: published while somebody does."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher

from planet_ros.bundle.runtime import Bundle
from planet_ros.control.events import MadePlan
from planet_ros.control.policy import FilteredPlan
from planet_ros.interface.ahead import ExpectationWriter, PlanWriter
from planet_ros.messages.fields import shortened
from planet_ros.messages.vectors import VECTOR_TYPE
from planet_ros.ros.priority import stay_ordinary
from planet_ros.ros.robot import Robot
from planet_ros.ros.topics import NEWEST_RELIABLE, PLAN_TOPIC, PREDICTED_TOPIC
from planet_ros.ros.types import make, message_class

SHORTEST_PERIOD_S = 1 / 30
"""Between two plans that are shown: no person sees more, and a simulation may run far faster."""


class PlanPublisher:
    """Shows plans, and what their model expects, on a thread of its own.

    Whoever offers a plan neither waits nor fails: a plan that comes while the one before is still
    being shown is passed over.
    """

    def __init__(self, node: Node, robot: Robot) -> None:
        """Announce the plans; what is expected is announced with a bundle that can tell.

        Args:
            node: Whose the publishers are.
            robot: Says what the actions are.
        """
        self._node = node
        self._robot = robot
        self._writer = PlanWriter(robot.interface, robot.signature, make)
        self._publishers = {PLAN_TOPIC: self._announced(PLAN_TOPIC, self._writer.type)}
        self._publishing = threading.Lock()  # while it is held, no publisher is taken away
        self._thread = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="plans", initializer=stay_ordinary
        )
        self._job: Future[None] | None = None
        self._shown_s = 0.0
        self._expectation: tuple[str, ExpectationWriter] | None = None
        self._failed = ""

    def use(self, bundle: Bundle) -> None:
        """Know the bundle in use: whether there is anything to be expected from it."""
        why = ""
        if not bundle.manifest.signature.vector_size:
            why = "it sees images alone"
        elif bundle.predict is None:
            why = "it has no graph predict; export it again: planet-ros export"
        if not why and PREDICTED_TOPIC not in self._publishers:
            self._publishers[PREDICTED_TOPIC] = self._announced(PREDICTED_TOPIC, VECTOR_TYPE)
        if why:
            self._withdraw(PREDICTED_TOPIC)
            self._node.get_logger().info(
                f"model {shortened(str(bundle.path))} does not say what it expects to be measured "
                f"({why}): nothing on '{PREDICTED_TOPIC}'"
            )

    def offer(self, made: MadePlan | None) -> None:
        """Show a plan, if somebody watches and it is not too soon."""
        now_s = time.monotonic()
        if made is None or now_s - self._shown_s < SHORTEST_PERIOD_S:
            return
        if self._job is not None and not self._job.done():
            return
        watched = {
            topic
            for topic, publisher in self._publishers.items()
            if publisher.get_subscription_count() > 0
        }
        if watched:
            self._shown_s = now_s
            self._job = self._thread.submit(self._show, made, watched)

    def close(self) -> None:
        """Take the publishers away; what is on its way to be shown no longer is."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        for topic in list(self._publishers):
            self._withdraw(topic)

    def _announced(self, topic: str, type_name: str) -> Publisher:
        return self._node.create_publisher(message_class(type_name), topic, NEWEST_RELIABLE)

    def _withdraw(self, topic: str) -> None:
        with self._publishing:
            publisher = self._publishers.pop(topic, None)
            if publisher is not None:
                self._node.destroy_publisher(publisher)

    # ── on the thread ────────────────────────────────────────────────────────────────────────

    def _publish(self, topic: str, message: Any) -> None:
        with self._publishing:
            publisher = self._publishers.get(topic)
            if publisher is not None:
                publisher.publish(message)

    def _show(self, made: MadePlan, watched: set[str]) -> None:
        try:
            if PLAN_TOPIC in watched:
                message = self._writer.message(made.plan.actions, made.stamp_ns)
                self._publish(PLAN_TOPIC, message)
            if PREDICTED_TOPIC in watched:
                self._show_expected(made)
        except Exception as error:  # nobody acts on it: the robot goes on
            if self._failed != made.bundle.digest:
                self._failed = made.bundle.digest
                self._node.get_logger().warn(f"the plan cannot be shown: {shortened(error)}")

    def _show_expected(self, made: MadePlan) -> None:
        bundle, plan = made.bundle, made.plan
        if (
            bundle.predict is None
            or bundle.digest == self._failed
            or not isinstance(plan, FilteredPlan)
        ):
            return
        vectors = bundle.predict(plan.belief, plan.acting)
        if self._expectation is None or self._expectation[0] != bundle.digest:
            signature = bundle.manifest.signature
            writer = ExpectationWriter(self._robot.interface, signature, make)
            self._expectation = bundle.digest, writer
        self._publish(PREDICTED_TOPIC, self._expectation[1].message(vectors, made.stamp_ns))
