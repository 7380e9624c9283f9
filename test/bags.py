"""Bags of a robot with one hinge, written without ROS."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from arrays import float32
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from planet_ros.data import Episode
from planet_ros.datasets.types import BagTypes, default_types

STORE = default_types()
MAKE = BagTypes(STORE)
JOINTS, EFFORTS = "sensor_msgs/msg/JointState", "std_msgs/msg/Float64MultiArray"
PERIOD_NS = 50_000_000
BEGIN_NS = 1_700_000_000 * 10**9

INTERFACE: dict[str, Any] = {
    "period_s": 0.05,
    "observation": [
        {
            "name": "joint",
            "topic": "joint_states",
            "type": JOINTS,
            "fields": ["position[hinge]", "velocity[hinge]"],
        }
    ],
    "action": [
        {
            "topic": "efforts",
            "type": EFFORTS,
            "fields": [{"path": "data[0]", "low": -2, "high": 2}],
        }
    ],
    "reward": {"kind": "quadratic", "observation": [{"field": "position[hinge]", "weight": 1}]},
}

Timed = tuple[str, int, Any]
"""Topic, nanoseconds from the beginning, message."""


def state(index: int, offset_ns: int = 0) -> Timed:
    """The joint at a tick: position index / 100, among others, a little before the tick."""
    message = MAKE(JOINTS)
    at_ns = index * PERIOD_NS + offset_ns - 10_000_000
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(BEGIN_NS + at_ns, 10**9)
    message.name = ["gripper", "hinge"]
    message.position = np.array([9.0, index / 100])
    message.velocity = np.array([9.0, 0.2])
    return "/joint_states", at_ns, message


def effort(index: int, offset_ns: int = 0) -> Timed:
    """What is commanded at a tick, a little after it."""
    message = MAKE(EFFORTS)
    message.data = np.array([index % 5 / 4])
    return "/efforts", index * PERIOD_NS + offset_ns + 3_000_000, message


def drive(count: int, offset_ns: int = 0) -> list[Timed]:
    """States and commands of so many ticks, after a first command from which ticks are counted."""
    steps = [one for k in range(count) for one in (state(k, offset_ns), effort(k, offset_ns))]
    return [effort(-1, offset_ns), *steps]


def write_bag(
    path: Path,
    messages: Iterable[Timed],
    *,
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
    types: Sequence[tuple[str, str]] = (("/joint_states", JOINTS), ("/efforts", EFFORTS)),
) -> Path:
    """Write a bag; its topics are there even without a message."""
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections = {
            topic: writer.add_connection(topic, type_name, typestore=STORE)
            for topic, type_name in types
        }
        for topic, at_ns, message in sorted(messages, key=lambda one: one[1]):
            data = STORE.serialize_cdr(message, message.__msgtype__)
            writer.write(connections[topic], BEGIN_NS + at_ns, data)
    return path


def write_interface(path: Path, **changes: Any) -> Path:
    """Write the document; JSON is YAML."""
    path.write_text(json.dumps({**INTERFACE, **changes}), encoding="utf-8")
    return path


def sled(rng: np.random.Generator, steps: int = 40) -> Episode:
    """A mass that is pushed: position and velocity, as the interface of the bags has them."""
    state, rows, actions = rng.normal(size=2), [], rng.uniform(-2, 2, steps)
    for action in [*actions, 0.0]:
        rows.append(state)
        state = state + 0.05 * np.array([state[1], action - 0.5 * state[1]])
    return Episode(
        {"joint": float32(rows)},
        float32(actions[:, None]),
        np.full(steps, 77.0),  # the interface knows better
        terminated=False,
        truncated=True,
    )
