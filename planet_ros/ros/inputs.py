"""The controller's subscriptions: messages in, joined observations out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from planet_ros.control.assembly import Assembly
from planet_ros.control.events import Observation
from planet_ros.data.signature import VECTOR_PART, Signature
from planet_ros.errors import UserError
from planet_ros.interface.defaults import is_own
from planet_ros.interface.document import Goal, Interface, ObservedPart, Qos
from planet_ros.interface.reading import PartReader
from planet_ros.messages.fields import shortened
from planet_ros.messages.vectors import VECTOR_TYPE, Label, read_label
from planet_ros.ros.subscriptions import Source, subscribe
from planet_ros.ros.topics import NEWEST_QOS
from planet_ros.ros.types import make

WARNING_PERIOD_S = 2.0


class Inputs:
    """Listens to the topics of an interface, and joins what arrives to observations.

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
        """Begin without a subscription; `follow` makes them.

        Args:
            node: Whose subscriptions they are.
            together: Whether parts belong together by their stamps; see `Assembly`.
            limit_s: Age from which on a part is lacking, where its interface does not say.
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
        self._limits_s: dict[str, float] = {}
        self._measured: dict[str, NDArray[np.floating]] = {}
        self._active = False
        self.dropped = 0
        self._sources: dict[str, Source] = {}
        self._topic_of: dict[str, str] = {}

    def follow(self, interface: Interface, signature: Signature) -> None:
        """Take in the observations of a bundle.

        The first one says which topics there are: what a controller allows has those of the first.
        What has arrived of the parts stays.

        Raises:
            UserError: A message type is not installed, or has no such field.
        """
        first, self._signature = self._signature is None, signature
        if not first:
            return
        readers: dict[str, list[tuple[ObservedPart | Goal, PartReader]]] = {}
        for part in interface.sources:
            reader = PartReader(part, make)
            readers.setdefault(part.topic, []).append((part, reader))
            self._topic_of[reader.name] = part.topic
            if isinstance(part, ObservedPart):
                self._limits_s[part.name] = part.stale_after_s or self._limit_s
        # Of what is there at once, the goal is to be taken first: a state is planned for at once.
        goals_first = sorted(
            readers.items(), key=lambda item: isinstance(item[1][0][0], ObservedPart)
        )
        for topic, of_topic in goals_first:
            self._listen(topic, of_topic)
        if is_own(interface) and VECTOR_PART not in self._sources:
            # There are images alone; the label of an empty vector says where episodes begin.
            self._topic_of[VECTOR_PART] = VECTOR_PART
            self._listen_to_labels()
        self._assemble()

    def begin(self) -> None:
        """Join what arrives from now on."""
        self._active, self.dropped = True, 0
        for source in self._sources.values():
            source.dropped, source.reason = 0, ""
        self._measured.clear()
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

    def measured(self, field: str) -> NDArray[np.floating] | None:
        """The newest numbers of an observed field, as they were measured; None: never seen."""
        return self._measured.get(field)

    def lacking(self) -> str:
        """The parts of the observation that do not come, for a person; empty if all do."""
        if self._assembly is None:
            return ""
        names = self._assembly.lacking(self._clock(), self._limit_s)
        topics = dict.fromkeys(self._topic_of[name] for name in names)
        return ", ".join(self._sources[topic].text(self._node) for topic in topics)

    def drop(self, what: str, reason: UserError) -> None:
        """Count a message that is not used, and say so."""
        self.dropped += 1
        self._node.get_logger().warn(
            f"dropped {what}: {reason}", throttle_duration_sec=WARNING_PERIOD_S
        )

    def _listen(self, topic: str, readers: list[tuple[ObservedPart | Goal, PartReader]]) -> None:
        part, reader = readers[0]
        for other, _ in readers:
            if other.type != part.type:
                raise UserError(
                    f"{topic}: found the types {part.type} and {other.type}, expected one"
                )
        fields = [field.path for field in part.fields]
        numbers = reader.signature_part.shape[0] if fields == ["data"] else None
        image = isinstance(part, ObservedPart) and part.image is not None
        self._subscribe(
            topic,
            part.type,
            part.qos,
            what=f"a frame on '{topic}'" if image else f"a message on '{topic}'",
            take=partial(self._on_message, topic, readers),
            numbers=numbers if part.type == VECTOR_TYPE else None,
        )

    def _listen_to_labels(self) -> None:
        self._subscribe(
            VECTOR_PART,
            VECTOR_TYPE,
            "sensor_data",
            what=f"a message on '{VECTOR_PART}'",
            take=lambda message: self._on_vector(VECTOR_PART, None, read_label(message), None),
            numbers=0,
        )

    def _subscribe(
        self,
        topic: str,
        type_name: str,
        qos: Qos,
        *,
        what: str,
        take: Callable[[Any], None],
        numbers: int | None,
    ) -> None:
        def taken(message: Any) -> None:
            try:
                take(message)
            except UserError as error:
                dropped(error)
                return
            self._sources[topic].dropped = 0

        def dropped(reason: UserError) -> None:
            source = self._sources[topic]
            source.dropped += 1
            source.reason = shortened(str(reason))
            self.drop(what, reason)

        subscription = subscribe(
            self._node,
            type_name,
            topic,
            NEWEST_QOS[qos],
            take=taken,
            drop=dropped,
            wanted=lambda: self._assembly is not None,
            numbers=lambda: numbers,
        )
        self._sources[topic] = Source(subscription, type_name)

    def _assemble(self) -> None:
        if self._active and self._signature is not None:
            self._assembly = Assembly(
                self._signature, together=self._together, limits_s=self._limits_s
            )

    def _on_message(
        self, topic: str, readers: list[tuple[ObservedPart | Goal, PartReader]], message: Any
    ) -> None:
        now_s = self._clock()
        for part, reader in readers:
            reading = reader.read(message, round(now_s * 1e9))
            if reading is None or self._assembly is None:
                continue  # a rate is known from the second message on
            self._measured.update(reading.measured)
            if isinstance(part, Goal):
                self._assembly.take_goal(reader.name, reading.values, now_s)
            elif part.image is not None:
                self._pass_on(
                    self._assembly.take_image(
                        part.name, partial(getattr, reading, "values"), reading.stamp_ns, now_s
                    )
                )
            else:
                self._on_vector(part.name, reading.values, reading.label, reading.stamp_ns)

    def _on_vector(
        self,
        name: str,
        values: NDArray[np.float32] | None,
        label: Label,
        stamp_ns: int | None,
    ) -> None:
        if self._assembly is None:
            return
        self._pass_on(
            self._assembly.take_vector(
                values,
                label.stamp_ns if stamp_ns is None else stamp_ns,
                self._clock(),
                name=name,
                first=label.count("index") == 0,
                episode=label.count("episode"),
            )
        )

    def _pass_on(self, observation: Observation | None) -> None:
        if observation is not None:
            self._take(observation)
