"""The controller's subscriptions: messages in, joined observations out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from rclpy.node import Node

from planet_ros.control.assembly import Assembly
from planet_ros.control.loop import Observation
from planet_ros.data.images import fit_image
from planet_ros.data.signature import Signature
from planet_ros.errors import UserError
from planet_ros.messages.fields import shortened
from planet_ros.messages.images import IMAGE_TYPE, image_stamp_ns, read_image
from planet_ros.messages.vectors import VECTOR_TYPE, read_label, read_vector
from planet_ros.ros.subscriptions import Source, subscribe
from planet_ros.ros.topics import NEWEST, OBSERVATION_TOPIC

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
        clock: Callable[[], float],
        take: Callable[[Observation], None],
    ) -> None:
        """Subscribe to the vector; images follow with `follow`.

        Args:
            node: Whose subscriptions they are.
            together: Whether parts belong together by their stamps; see `Assembly`.
            limit_s: Age from which on a part is lacking.
            clock: Seconds, of the clock that ages are of.
            take: Called with each observation between `begin` and `end`.
        """
        self._node = node
        self._together = together
        self._limit_s = limit_s
        self._clock = clock
        self._take = take
        self._signature: Signature | None = None
        self._assembly: Assembly | None = None
        self._active = False
        self.dropped = 0
        self._sources: dict[str, Source] = {}
        self._listen(
            OBSERVATION_TOPIC,
            VECTOR_TYPE,
            "an observation",
            self._on_vector,
            numbers=lambda: None if self._signature is None else self._signature.vector_size,
        )

    def follow(self, signature: Signature) -> None:
        """Take in the observations of a bundle.

        The first one says which images there are: what a controller allows has those of the first.
        What has arrived of the parts stays.
        """
        first, self._signature = self._signature is None, signature
        if first:
            for name in signature.images:
                what = f"a frame on '{name}'"
                self._listen(name, IMAGE_TYPE, what, partial(self._on_image, name))
            self._assemble()

    def begin(self) -> None:
        """Join what arrives from now on."""
        self._active, self.dropped = True, 0
        for source in self._sources.values():
            source.dropped, source.reason = 0, ""
        self._assemble()

    def end(self) -> None:
        """Pass over what arrives from now on."""
        self._active, self._assembly = False, None

    def close(self) -> None:
        """Unsubscribe."""
        self.end()
        for source in self._sources.values():
            self._node.destroy_subscription(source.subscription)

    def topics(self) -> Iterable[str]:
        """The topics that are listened to, with the names that they really have."""
        return [source.subscription.topic_name for source in self._sources.values()]

    def lacking(self) -> str:
        """The parts of the observation that do not come, for a person; empty if all do."""
        if self._assembly is None:
            return ""
        names = self._assembly.lacking(self._clock(), self._limit_s)
        return ", ".join(self._sources[name].text(self._node) for name in names)

    def drop(self, what: str, reason: UserError) -> None:
        """Count a message that is not used, and say so."""
        self.dropped += 1
        self._node.get_logger().warn(
            f"dropped {what}: {reason}", throttle_duration_sec=WARNING_PERIOD_S
        )

    def _listen(
        self,
        topic: str,
        type_name: str,
        what: str,
        take: Callable[[Any], None],
        numbers: Callable[[], int | None] = lambda: None,
    ) -> None:
        def taken(message: Any) -> None:
            try:
                take(message)
            except UserError as error:
                dropped(error)

        def dropped(reason: UserError) -> None:
            source = self._sources[topic]
            source.dropped += 1
            source.reason = shortened(str(reason))
            self.drop(what, reason)

        subscription = subscribe(
            self._node,
            type_name,
            topic,
            NEWEST,
            take=taken,
            drop=dropped,
            wanted=lambda: self._assembly is not None,
            numbers=numbers,
        )
        self._sources[topic] = Source(subscription, type_name)

    def _assemble(self) -> None:
        if self._active and self._signature is not None:
            self._assembly = Assembly(self._signature, together=self._together)

    def _on_vector(self, message: Any) -> None:
        if self._signature is None or self._assembly is None:
            return
        size = self._signature.vector_size
        # Without numbers in the observation it is the label alone that counts.
        vector = read_vector(message, size) if size else None
        label = read_label(message) if vector is None else vector.label
        observation = self._assembly.take_vector(
            None if vector is None else vector.values,
            label.stamp_ns,
            self._clock(),
            first=label.count("index") == 0,
            episode=label.count("episode"),
        )
        self._pass_on(OBSERVATION_TOPIC, observation)

    def _on_image(self, name: str, message: Any) -> None:
        if self._signature is None or self._assembly is None:
            return
        # The message is checked now, but scaled and converted only for a plan.
        decode = partial(fit_image, read_image(message), self._signature.images[name])
        observation = self._assembly.take_image(
            name, decode, image_stamp_ns(message), self._clock()
        )
        self._pass_on(name, observation)

    def _pass_on(self, name: str, observation: Observation | None) -> None:
        self._sources[name].dropped = 0
        if observation is not None:
            self._take(observation)
