"""The controller's subscriptions: messages in, joined observations out."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription

from planet_ros.control.assembly import Assembly
from planet_ros.control.loop import Observation
from planet_ros.data.images import fit_image
from planet_ros.data.signature import Signature
from planet_ros.errors import UserError
from planet_ros.messages.images import IMAGE_TYPE, image_stamp_ns, read_image
from planet_ros.messages.vectors import VECTOR_TYPE, read_label, read_vector
from planet_ros.ros.topics import NEWEST, OBSERVATION_TOPIC
from planet_ros.ros.types import message_class

WARNING_PERIOD_S = 2.0


class Inputs:
    """Listens to the topics of a bundle's observation, and joins what arrives.

    Attributes:
        dropped: Messages that could not be read since `begin`.
    """

    def __init__(
        self,
        node: Node,
        *,
        together: bool,
        limit_s: float,
        take: Callable[[Observation], None],
    ) -> None:
        """Subscribe to the vector; images follow with `follow`.

        Args:
            node: Whose subscriptions they are.
            together: Whether parts belong together by their stamps; see `Assembly`.
            limit_s: Age from which on a part is lacking.
            take: Called with each observation between `begin` and `end`.
        """
        self._node = node
        self._together = together
        self._limit_s = limit_s
        self._take = take
        self._signature: Signature | None = None
        self._assembly: Assembly | None = None
        self._active = False
        self.dropped = 0
        self._vector = node.create_subscription(
            message_class(VECTOR_TYPE), OBSERVATION_TOPIC, self._on_vector, NEWEST
        )
        self._images: dict[str, Subscription] = {}

    def follow(self, signature: Signature) -> None:
        """Take in the observations of a bundle: its images, and no others.

        Where the parts stay the same, so does what has arrived of them.
        """
        before, self._signature = self._signature, signature
        if before is not None and before.layout.observation == signature.layout.observation:
            return
        for name in self._images.keys() - signature.images.keys():
            self._node.destroy_subscription(self._images.pop(name))
        for name in signature.images.keys() - self._images.keys():
            self._images[name] = self._node.create_subscription(
                message_class(IMAGE_TYPE), name, partial(self._on_image, name), NEWEST
            )
        self._assemble()

    def begin(self) -> None:
        """Join what arrives from now on."""
        self._active, self.dropped = True, 0
        self._assemble()

    def end(self) -> None:
        """Pass over what arrives from now on."""
        self._active, self._assembly = False, None

    def close(self) -> None:
        """Unsubscribe."""
        self.end()
        for subscription in (self._vector, *self._images.values()):
            self._node.destroy_subscription(subscription)

    def lacking(self) -> str:
        """The parts of the observation that do not come, for a person; empty if all do."""
        if self._assembly is None:
            return ""
        return ", ".join(
            f"nothing new on '{name}' ({self._node.count_publishers(name)} publishers)"
            for name in self._assembly.lacking(time.monotonic(), self._limit_s)
        )

    def drop(self, what: str, reason: UserError) -> None:
        """Count a message that is not used, and say so."""
        self.dropped += 1
        self._node.get_logger().warn(
            f"dropped {what}: {reason}", throttle_duration_sec=WARNING_PERIOD_S
        )

    def _assemble(self) -> None:
        if self._active and self._signature is not None:
            self._assembly = Assembly(self._signature, together=self._together)

    def _on_vector(self, message: Any) -> None:
        if self._signature is None or self._assembly is None:
            return
        received_s = time.monotonic()
        size = self._signature.vector_size
        try:
            # Without numbers in the observation it is the label alone that counts.
            vector = read_vector(message, size) if size else None
            label = read_label(message) if vector is None else vector.label
            observation = self._assembly.take_vector(
                None if vector is None else vector.values,
                label.stamp_ns,
                received_s,
                first=label.count("index") == 0,
                episode=label.count("episode"),
            )
        except UserError as error:
            self.drop("an observation", error)
            return
        self._pass_on(observation)

    def _on_image(self, name: str, message: Any) -> None:
        if self._signature is None or self._assembly is None:
            return
        received_s = time.monotonic()
        try:
            # The message is checked now, but scaled and converted only for a plan.
            decode = partial(fit_image, read_image(message), self._signature.images[name])
            observation = self._assembly.take_image(
                name, decode, image_stamp_ns(message), received_s
            )
        except UserError as error:
            self.drop(f"a frame on '{name}'", error)
            return
        self._pass_on(observation)

    def _pass_on(self, observation: Observation | None) -> None:
        if observation is not None:
            self._take(observation)
