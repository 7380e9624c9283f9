"""Bundles that are announced while the controller runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rclpy.node import Node

from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.config import PlannerSettings
from planet_ros.errors import UserError
from planet_ros.messages.announcements import Announcement
from planet_ros.messages.fields import shortened
from planet_ros.messages.sizes import TEXT_TYPE
from planet_ros.ros.subscriptions import subscribe
from planet_ros.ros.topics import LATCHED, MODEL_TOPIC, check_topics

MAX_REFUSAL = 1000


class BundleWatch:
    """Loads announced bundles on a thread of its own, the newest if several arrive.

    Attributes:
        refusal: Why the newest bundle is not used; empty if it is.
    """

    def __init__(
        self,
        node: Node,
        *,
        take: Callable[[Bundle], None],
        drop: Callable[[str, UserError], None],
    ) -> None:
        """Listen to announcements.

        Args:
            node: Whose subscription it is.
            take: Called with each bundle that was loaded, on the executor's thread; may raise to
                refuse it.
            drop: Called with what was no announcement, and the reason.
        """
        self._node = node
        self._take = take
        self._drop = drop
        self.refusal = ""
        self._loading: Future[Bundle] | None = None
        self._newest: Announcement | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        self._loaded = node.create_guard_condition(self._on_loaded)
        self._announcements = subscribe(
            node, TEXT_TYPE, MODEL_TOPIC, LATCHED, take=self._on_announcement, drop=self._refuse
        )

    def close(self) -> None:
        """Unsubscribe; wait for the bundle that is being loaded, and forget it."""
        self._node.destroy_subscription(self._announcements)
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._node.destroy_guard_condition(self._loaded)

    def _on_announcement(self, message: Any) -> None:
        try:
            self._newest = Announcement.read(message.data)
        except UserError as error:
            self._refuse(error)
            return
        if self._loading is None:
            self._load()

    def _refuse(self, reason: UserError) -> None:
        self._drop(f"a message on '{self._announcements.topic_name}'", reason)

    def _load(self) -> None:
        if self._newest is None:
            return
        announced, self._newest = self._newest, None
        self._loading = self._thread.submit(load, announced.path, announced.digest)
        self._loading.add_done_callback(lambda _: self._loaded.trigger())

    def _on_loaded(self) -> None:
        if self._loading is None or not self._loading.done():
            return
        loading, self._loading = self._loading, None
        try:
            self._take(loading.result())
            self.refusal = ""
        except Exception as error:  # whatever it is, the old model goes on
            self.refusal = shortened(str(error), MAX_REFUSAL)
            self._node.get_logger().error(f"the announced model is refused: {self.refusal}")
        self._load()


def load(path: Path, digest: str | None = None) -> Bundle:
    """Load a bundle whose parts have topics.

    Args:
        path: Its folder.
        digest: The hash that it is to have; None: any.

    Raises:
        UserError: It cannot be loaded, or the topics cannot carry its observation.
    """
    bundle = load_bundle(path, digest)
    if bundle.manifest.interface is not None:
        return bundle  # which says the topics itself
    try:
        check_topics(bundle.manifest.signature)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return bundle


def other_planner(given: Mapping[str, Any], planner: PlannerSettings) -> str:
    """What settings called ``planner.…`` ask for and a bundle's planner does not have.

    Args:
        given: Settings by their names; others are passed over.
        planner: The bundle's.

    Returns:
        Each of them with both values, for a person; empty if there is none.
    """
    own = planner.model_dump()
    differing = []
    for name, value in given.items():
        section, _, field = name.partition(".")
        if section == "planner" and own.get(field) != value:
            differing.append(f"{name} is {value}, the bundle's {own.get(field)}")
    return "; ".join(differing)
