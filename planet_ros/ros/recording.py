"""A bag of what a robot says and is told, where ``ros2 bag`` is not at hand."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from planet_ros.datasets.types import define
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.namespaces import in_namespace
from planet_ros.interface.timeline import Timeline
from planet_ros.ros.learned_robot import qualities
from planet_ros.ros.topics import LOCK_STEP_QOS, QOS
from planet_ros.ros.types import make, message_class

SPIN_S = 0.1
REPORT_S = 10.0


def record(
    interface: Interface,
    output: Path,
    *,
    namespace: str = "",
    lock_step: bool = False,
    seconds: float = 0.0,
    say: Callable[[str], None],
) -> Counter[str]:
    """Write all messages of an interface's topics into a new bag, in MCAP with zstd.

    It ends after some time, or with a KeyboardInterrupt; the bag is whole then. Of a bag whose
    process is killed all but the last MB can be read.

    Args:
        interface: Says which topics.
        output: Folder of the bag; must not exist.
        namespace: In which the robot has its topics.
        lock_step: It is a simulation that waits for each command.
        seconds: After which to end; 0: never.
        say: Takes a line for a person.

    Returns:
        How many messages there are, by topic.

    Raises:
        UserError: The folder exists, or a message type is not installed.
    """
    if output.exists():
        raise UserError(f"{output}: already exists; choose another folder with --output")
    document = in_namespace(interface, namespace)
    topics = Timeline(document, make, together=lock_step).topics
    profiles, quality = (LOCK_STEP_QOS if lock_step else QOS), qualities(document)
    counts: Counter[str] = Counter(dict.fromkeys(topics, 0))
    writer = Writer(output, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        node, executor = rclpy.create_node("recorder"), SingleThreadedExecutor()
        executor.add_node(node)
        with writer:
            for topic, type_name in topics.items():
                connection = writer.add_connection(
                    node.resolve_topic_name(topic),
                    type_name,
                    typestore=define(type_name, message_class),
                )

                def take(data: bytes, name: str = topic, one: Connection = connection) -> None:
                    writer.write(one, time.time_ns(), data)
                    counts[name] += 1

                node.create_subscription(
                    message_class(type_name),
                    topic,
                    take,
                    profiles[quality.get(topic, "sensor_data")],
                    raw=True,
                )
            say(f"recording {', '.join(topics)} to {output}; Ctrl-C ends it")
            _spin(executor, seconds, lambda: say(_summary(counts)))
    finally:
        rclpy.try_shutdown()
    return counts


def _spin(executor: SingleThreadedExecutor, seconds: float, report: Callable[[], None]) -> None:
    until_s = time.monotonic() + seconds if seconds else float("inf")
    report_s = time.monotonic() + REPORT_S
    try:
        while (now_s := time.monotonic()) < until_s:
            executor.spin_once(timeout_sec=min(SPIN_S, until_s - now_s))
            if now_s > report_s:
                report_s = now_s + REPORT_S
                report()
    except KeyboardInterrupt:
        pass  # which is how a recording ends


def _summary(counts: Counter[str]) -> str:
    return ", ".join(f"{topic} {count}" for topic, count in counts.items())
