"""Bundles that are announced, or come themselves, while the controller runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.node import Node
from std_msgs.msg import UInt8MultiArray

from planet_ros.bundle.archive import BundleStore
from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.config import ControllerSettings, PlannerSettings
from planet_ros.errors import UserError
from planet_ros.messages.announcements import Announcement
from planet_ros.messages.fields import shortened
from planet_ros.messages.sizes import BYTES_TYPE, TEXT_TYPE, bytes_in, check_bytes
from planet_ros.ros.priority import stay_ordinary
from planet_ros.ros.subscriptions import subscribe
from planet_ros.ros.topics import LATCHED, MODEL_BUNDLE_TOPIC, MODEL_TOPIC, check_topics

MAX_REFUSAL = 1000


class BundleWatch:
    """Loads bundles that are announced, or sent, on a thread of its own; of several the newest.

    Attributes:
        topic: Where they come from.
        refusal: Why the newest bundle is not used; empty if it is.
    """

    def __init__(
        self,
        node: Node,
        settings: ControllerSettings,
        *,
        in_use: Bundle | None,
        take: Callable[[Bundle], None],
        drop: Callable[[str, UserError], None],
    ) -> None:
        """Listen to announcements, or to bundles themselves.

        Args:
            node: Whose subscription it is.
            settings: Which of the two, and what is allowed.
            in_use: The bundle that there is already; it is not removed when others come.
            take: Called with each bundle that was loaded, on the executor's thread; may raise to
                refuse it.
            drop: Called with what was no announcement, and the reason.
        """
        self._node = node
        self._take = take
        self._drop = drop
        self.refusal = ""
        self._folders = settings.model_folders
        self._store = BundleStore(_bundle_folder(node, settings), most=settings.max_bundles)
        self._max_bytes = round(settings.max_bundle_mb * 1e6)
        self._in_use = in_use
        self._loading: Future[Bundle] | None = None
        self._newest: Callable[[], Bundle] | None = None
        self._thread = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="loader", initializer=stay_ordinary
        )
        self._loaded = node.create_guard_condition(self._on_loaded)
        self._subscription = (
            node.create_subscription(
                UInt8MultiArray, MODEL_BUNDLE_TOPIC, self._on_bundle, LATCHED, raw=True
            )
            if settings.accept_bundles
            else subscribe(
                node, TEXT_TYPE, MODEL_TOPIC, LATCHED, take=self._on_announcement, drop=self._refuse
            )
        )
        self.topic = MODEL_BUNDLE_TOPIC if settings.accept_bundles else MODEL_TOPIC

    def close(self) -> None:
        """Unsubscribe; wait for the bundle that is being loaded, and forget it."""
        self._node.destroy_subscription(self._subscription)
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._node.destroy_guard_condition(self._loaded)

    def _on_announcement(self, message: Any) -> None:
        try:
            announced = Announcement.read(message.data)
        except UserError as error:
            self._refuse(error)
            return
        self._load(partial(load_announced, announced, self._folders))

    def _on_bundle(self, data: bytes) -> None:
        try:
            check_bytes(BYTES_TYPE, data, self._max_bytes)
        except UserError as error:
            self._refuse(error)
            self.refusal = f"{error}; controller.max_bundle_mb bounds it"
            return
        # Even to look at so many bytes takes a while: the thread of the ticks does not.
        self._load(partial(self._stored, data))

    def _stored(self, data: bytes) -> Bundle:
        in_use = None if self._in_use is None else _resolved(self._in_use.path)
        return load(*self._store.put(bytes_in(data), in_use))

    def _refuse(self, reason: UserError) -> None:
        self._drop(f"a message on '{self._subscription.topic_name}'", reason)

    def _load(self, newest: Callable[[], Bundle] | None) -> None:
        self._newest = newest
        if newest is None or self._loading is not None:
            return
        self._newest = None
        self._loading = self._thread.submit(newest)
        self._loading.add_done_callback(lambda _: self._loaded.trigger())

    def _on_loaded(self) -> None:
        if self._loading is None or not self._loading.done():
            return
        loading, self._loading = self._loading, None
        try:
            bundle = loading.result()
            self._take(bundle)
            self._in_use, self.refusal = bundle, ""
        except Exception as error:  # whatever it is, the old model goes on
            self.refusal = shortened(str(error), MAX_REFUSAL)
            self._node.get_logger().error(f"the announced model is refused: {self.refusal}")
        self._load(self._newest)


def load_announced(announced: Announcement, folders: Sequence[str]) -> Bundle:
    """Load a bundle that someone announced by its path.

    Args:
        announced: What was said.
        folders: Those that are allowed; empty: any.

    Raises:
        UserError: It is outside of them, of which nothing else is said: not even whether there is
            anything; or it cannot be loaded.
    """
    return load(allowed(announced.path, folders), announced.digest)


def allowed(path: Path, folders: Sequence[str]) -> Path:
    """A path where it really leads, if it is within one of some folders; as it is, if none is said.

    Raises:
        UserError: It is outside of them, of which nothing else is said.
    """
    if not folders:
        return path
    real = _resolved(path)
    if not any(real.is_relative_to(_resolved(Path(folder).expanduser())) for folder in folders):
        raise UserError(
            f"{shortened(str(path))}: outside the folders that controller.model_folders allows"
        )
    return real


def _resolved(path: Path) -> Path:
    """Where a path leads to, without ``..`` and links, but for those that go round in circles."""
    return Path(os.path.realpath(path))  # which never raises, as Path.resolve does


def _bundle_folder(node: Node, settings: ControllerSettings) -> Path:
    if settings.bundle_folder:
        return _resolved(Path(settings.bundle_folder).expanduser())
    home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros")
    name = str(node.get_fully_qualified_name()).strip("/").replace("/", ".")
    return _resolved(home / "planet_ros" / "bundles" / name)


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
