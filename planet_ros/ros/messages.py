"""Vectors and steps as `std_msgs/Float64MultiArray`, and back; docs/topics.md is the description.

A label of the layout holds a name and, after it, ``key=value`` pairs::

    observation stamp=1.250000000 episode=3 index=24
    action stamp=1.250000000

The stamp of a command is that of the observation it answers. A consumer that knows nothing of
this, such as ros2_control's forward_command_controller, reads ``data`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Float64MultiArray, MultiArrayDimension

from planet_ros.data import Step
from planet_ros.errors import UserError

OBSERVATION_TOPIC = "observation"
COMMAND_TOPIC = "commands"
STEP_TOPIC = "step"
MODEL_TOPIC = "model"
MODEL_IN_USE_TOPIC = "model_in_use"

NEWEST = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT
)
"""For a reader that wants the newest state and works with any publisher."""

NEWEST_RELIABLE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE
)
"""For commands, and for publishers of state."""

EVERY_STEP = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1000, reliability=ReliabilityPolicy.RELIABLE
)
"""For steps, of which a learner wants all."""

LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
"""For what a late joiner must know."""

_STEP_SIZES = {"stamp": 2, "index": 1, "reward": 1, "terminated": 1, "truncated": 1}
_OPTIONAL_PART = "environment_steps"
_STEP_PARTS = ("stamp", "index", "observation", "action", "reward", "terminated", "truncated")


@dataclass(frozen=True)
class Vector:
    """A vector with what its label says.

    Attributes:
        values: (n,) float32, not necessarily finite.
        stamp_ns: Nanoseconds; None where the label has no stamp.
        tags: The other pairs of the label.
    """

    values: NDArray[np.float32]
    stamp_ns: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def vector_message(
    name: str, values: NDArray[np.floating], stamp_ns: int, **tags: int
) -> Float64MultiArray:
    """A message of one labelled vector (n,)."""
    pairs = {"stamp": stamp_text(stamp_ns), **tags}
    label = " ".join([name, *(f"{key}={value}" for key, value in pairs.items())])
    return _message([(label, np.asarray(values, dtype=np.float64))])


def read_vector(message: Float64MultiArray) -> Vector:
    """Undo `vector_message`; a message without a label gives a vector without a stamp."""
    values = np.asarray(message.data, dtype=np.float32)
    label = message.layout.dim[0].label if message.layout.dim else ""
    tags = dict(part.split("=", 1) for part in label.split() if "=" in part)
    stamp = tags.pop("stamp", None)
    try:
        stamp_ns = None if stamp is None else _stamp_ns(stamp)
    except ValueError:
        stamp_ns = None
    return Vector(values, stamp_ns, tags)


def step_message(step: Step) -> Float64MultiArray:
    """A message of one environment step, whose labels name its parts."""
    seconds, nanoseconds = divmod(step.stamp_ns, 10**9)
    parts: dict[str, Any] = {
        # Two numbers: one float64 cannot hold today's nanoseconds.
        "stamp": [seconds, nanoseconds],
        "index": [step.index],
        "observation": step.observation,
        "action": step.action,
        "reward": [step.reward],
        "terminated": [float(step.terminated)],
        "truncated": [float(step.truncated)],
        _OPTIONAL_PART: [step.environment_steps],
    }
    return _message([(name, np.asarray(part, dtype=np.float64)) for name, part in parts.items()])


def read_step(message: Float64MultiArray) -> Step:
    """Undo `step_message`; parts may come in any order, unknown ones are passed over.

    Raises:
        UserError: A part is missing, the sizes do not add up, or a number is not finite.
    """
    sizes = [dimension.size for dimension in message.layout.dim]
    if sum(sizes) != len(message.data):
        raise UserError(
            f"step: the layout names {sum(sizes)} numbers, found {len(message.data)} in data"
        )
    data = np.asarray(message.data, dtype=np.float64)
    data[np.abs(data) > np.finfo(np.float32).max] = np.inf  # too large for the models' float32
    ends = np.cumsum(sizes)
    parts = {
        dimension.label: data[end - dimension.size : end]
        for dimension, end in zip(message.layout.dim, ends, strict=True)
    }
    missing = [name for name in _STEP_PARTS if name not in parts]
    if missing:
        raise UserError(f"step: no part {missing} in the layout, found {sorted(parts)}")
    for name in {*_STEP_PARTS, _OPTIONAL_PART} & set(parts):
        if not np.isfinite(parts[name]).all():
            raise UserError(f"step: found {name} {parts[name]}, expected finite numbers")
    for name, size in _STEP_SIZES.items():
        if len(parts[name]) != size:
            raise UserError(f"step: found {len(parts[name])} numbers of {name}, expected {size}")
    seconds, nanoseconds = parts["stamp"]
    return Step(
        index=int(parts["index"][0]),
        observation=parts["observation"].astype(np.float32),
        action=parts["action"].astype(np.float32),
        reward=float(parts["reward"][0]),
        terminated=bool(parts["terminated"][0]),
        truncated=bool(parts["truncated"][0]),
        stamp_ns=int(seconds) * 10**9 + int(nanoseconds),
        environment_steps=_environment_steps(parts),
    )


def _environment_steps(parts: Mapping[str, NDArray[np.float64]]) -> int:
    """The optional part; without it, one for each action."""
    if len(parts.get(_OPTIONAL_PART, ())) == 1:
        return int(parts[_OPTIONAL_PART][0])
    return int(parts["index"][0] > 0)


def stamp_text(stamp_ns: int) -> str:
    """Seconds with nine decimals, exactly."""
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    return f"{seconds}.{nanoseconds:09d}"


def _stamp_ns(text: str) -> int:
    seconds, _, decimals = text.partition(".")
    return int(seconds) * 10**9 + int(decimals.ljust(9, "0")[:9] or 0)


def _message(parts: list[tuple[str, NDArray[np.float64]]]) -> Float64MultiArray:
    message = Float64MultiArray()
    for label, values in parts:
        message.layout.dim.append(
            MultiArrayDimension(label=label, size=len(values), stride=len(values))
        )
    message.data = np.concatenate([values for _, values in parts]).tolist()
    return message
