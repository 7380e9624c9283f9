"""What the trainer tells those who act for a robot, or for a simulation, and what they answer."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.task import Future
from std_msgs.msg import String, UInt8MultiArray
from std_srvs.srv import SetBool

from planet_ros.bundle.archive import pack
from planet_ros.bundle.runtime import Bundle
from planet_ros.interface.namespaces import under
from planet_ros.messages.announcements import Announcement
from planet_ros.messages.sizes import TEXT_TYPE
from planet_ros.ros.listening import Listener
from planet_ros.ros.topics import (
    LATCHED,
    MODEL_BUNDLE_TOPIC,
    MODEL_IN_USE_TOPIC,
    MODEL_TOPIC,
)


class RobotLink:
    """Announces models to the controller of one robot, and lets its simulation go on.

    Attributes:
        namespace: Of the robot; empty: the trainer's own.
        awaits: Whether it is not yet known that the newest model is in use.
        gave_up: Whether the last wait was in vain. Nobody waits for that controller again before it
            says which model it uses.
    """

    def __init__(
        self,
        node: Node,
        listener: Listener,
        namespace: str,
        *,
        pause_service: str,
        publish_bundle: bool,
        heard: Callable[[], None],
    ) -> None:
        """Announce nothing yet.

        Args:
            node: Whose publishers, subscriptions and clients they are.
            listener: Of the same node.
            namespace: Of the robot.
            pause_service: Lets a waiting simulation go on; empty: nobody waits.
            publish_bundle: Whether to publish models themselves beside their paths.
            heard: Called when the controller says which model it uses.
        """
        self.namespace = namespace
        self.awaits = self.gave_up = False
        self._heard = heard
        self._digest = self._digest_in_use = ""
        self._until_s = 0.0
        self._models = node.create_publisher(String, under(namespace, MODEL_TOPIC), LATCHED)
        self._bundles: Publisher | None = None
        if publish_bundle:
            topic = under(namespace, MODEL_BUNDLE_TOPIC)
            self._bundles = node.create_publisher(UInt8MultiArray, topic, LATCHED)
        in_use = under(namespace, MODEL_IN_USE_TOPIC)
        listener.listen(
            TEXT_TYPE,
            in_use,
            LATCHED,
            read=lambda message: Announcement.read(message.data),
            take=self._on_model_in_use,
            what=f"a message on '{in_use}'",
        )
        service = under(namespace, pause_service)
        self._pause = node.create_client(SetBool, service) if pause_service else None
        self._asked: Future | None = None

    def announce(self, bundle: Bundle, wait_s: float) -> None:
        """Say which model is the newest.

        Args:
            bundle: The model.
            wait_s: Seconds to wait for the controller; where one is awaited already, no longer than
                for the model before.

        Raises:
            UserError: The model is to be published, and is not there any more.
        """
        announcement = Announcement(bundle.path.resolve(), bundle.digest)
        self._models.publish(String(data=announcement.to_text()))
        if self._bundles is not None:
            content = array("B", pack(bundle.path, bundle.digest))
            self._bundles.publish(UInt8MultiArray(data=content))
        self._digest = bundle.digest
        if not self.awaits:
            self.awaits = True
            self._until_s = time.monotonic() + (0.0 if self.gave_up else wait_s)

    def settle(self) -> bool:
        """Whether what was awaited has just come, or will not."""
        taken_over = self._digest_in_use == self._digest
        if not self.awaits or not (taken_over or time.monotonic() >= self._until_s):
            return False
        self.awaits, self.gave_up = False, not taken_over
        return True

    def go_on(self) -> None:
        """Let a simulation that waits go on; one that runs does not mind."""
        if self._pause is None or not self._pause.service_is_ready():
            return
        if self._asked is not None and not self._asked.done():
            self._pause.remove_pending_request(self._asked)  # its answer was lost
        self._asked = self._pause.call_async(SetBool.Request(data=False))

    def flush(self, within_s: float) -> bool:
        """Wait until readers have what was announced, or a while: they may be gone.

        Returns:
            Whether they have.
        """
        until_s = time.monotonic() + within_s
        publishers = [self._models, *([self._bundles] if self._bundles is not None else [])]
        return all(
            publisher.wait_for_all_acked(Duration(seconds=max(0.0, until_s - time.monotonic())))
            for publisher in publishers
        )

    def _on_model_in_use(self, announcement: Announcement) -> None:
        self._digest_in_use, self.gave_up = announcement.digest, False
        self._heard()
