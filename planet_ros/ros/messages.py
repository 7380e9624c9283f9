"""Vectors and steps as `std_msgs/Float64MultiArray`, images as `sensor_msgs/Image`, and back.

docs/topics.md is the description.

A label of the layout holds a name and, after it, ``key=value`` pairs::

    observation stamp=1.250000000 episode=3 index=24
    action stamp=1.250000000

The stamp of a command is that of the observation it answers. A consumer that knows nothing of
this, such as ros2_control's forward_command_controller, reads ``data`` alone.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.exceptions import InvalidTopicNameException
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.validate_topic_name import validate_topic_name
from sensor_msgs.msg import Image
from std_msgs.msg import Float64MultiArray, MultiArrayDimension

from planet_ros.data import Step
from planet_ros.errors import UserError

OBSERVATION_TOPIC = "observation"
COMMAND_TOPIC = "commands"
STEP_TOPIC = "step"
MODEL_TOPIC = "model"
MODEL_IN_USE_TOPIC = "model_in_use"
JOINT_TOPIC = "joint_states"

_TAKEN_TOPICS = {
    OBSERVATION_TOPIC,
    COMMAND_TOPIC,
    STEP_TOPIC,
    MODEL_TOPIC,
    MODEL_IN_USE_TOPIC,
    JOINT_TOPIC,
    # Where nodes have no namespace, these are the absolute ones of ROS.
    "clock",
    "diagnostics",
    "parameter_events",
    "rosout",
}

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

EVERY_IMAGE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.BEST_EFFORT
)
"""For images, of which a learner wants all: works with any publisher, and bridges a busy moment."""

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

# Bytes of a pixel, and which of them are grey or red, green and blue.
_ENCODINGS = {
    "mono8": (1, slice(0, 1)),
    "rgb8": (3, slice(0, 3)),
    "bgr8": (3, slice(None, None, -1)),
    "rgba8": (4, slice(0, 3)),
    "bgra8": (4, slice(2, None, -1)),
    # OpenCV's names, and its order of colours.
    "8UC1": (1, slice(0, 1)),
    "8UC3": (3, slice(None, None, -1)),
}


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

    def count(self, key: str) -> int | None:
        """The natural number of a pair; None where it is missing or is none."""
        text = self.tags.get(key, "")
        return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


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


def image_message(image: NDArray[np.uint8], stamp_ns: int) -> Image:
    """A message of an image (height, width, channels): ``mono8`` of 1 channel, ``rgb8`` of 3."""
    height, width, channels = image.shape
    message = Image(height=height, width=width, step=width * channels)
    message.header.stamp = time_message(stamp_ns)
    message.encoding = "mono8" if channels == 1 else "rgb8"
    # rclpy takes an array of bytes as it is; a list would be checked number by number.
    data = array("B")
    data.frombytes(np.ascontiguousarray(image).data)
    message.data = data
    return message


def read_image(message: Image) -> NDArray[np.uint8]:
    """The image (height, width, channels) of a message, grey or RGB: a view of its bytes.

    Raises:
        UserError: The encoding is another than those of 8 bits in grey, RGB or BGR, or the sizes
            do not add up.
    """
    if message.encoding not in _ENCODINGS:
        raise UserError(
            f"image: found the encoding {message.encoding!r}, expected one of {[*_ENCODINGS]}; "
            "set the camera's driver to one, or convert with image_proc"
        )
    pixel, colours = _ENCODINGS[message.encoding]
    height, width, step = message.height, message.width, message.step
    if height == 0 or width == 0:
        raise UserError(f"image: found {height} × {width} pixels, expected at least 1 × 1")
    if step < width * pixel:
        raise UserError(
            f"image: found rows of {step} bytes (step), expected at least {width * pixel} for "
            f"{width} pixels of {message.encoding}"
        )
    if len(message.data) < step * height:
        raise UserError(
            f"image: found {len(message.data)} bytes of data, expected {step * height} "
            f"(step × height): the frame was cut short"
        )
    rows = np.frombuffer(message.data, np.uint8, step * height).reshape(height, step)
    return rows[:, : width * pixel].reshape(height, width, pixel)[..., colours]


def image_stamp_ns(message: Image) -> int | None:
    """When an image was taken, in nanoseconds; None where its header does not say."""
    stamp = message.header.stamp
    return stamp.sec * 10**9 + stamp.nanosec or None


def check_image_topics(images: Mapping[str, tuple[int, int, int]]) -> None:
    """See that images (height, width, channels by name) can go over topics of their names.

    Raises:
        UserError: A name is that of another topic or none that ROS allows, or the image is neither
            grey nor RGB.
    """
    for name, shape in images.items():
        if name in _TAKEN_TOPICS:
            raise UserError(
                f"image {name!r}: is the name of another topic, expected none of "
                f"{sorted(_TAKEN_TOPICS)}; rename it in the environment's observation space"
            )
        try:
            validate_topic_name(name)
        except InvalidTopicNameException as error:
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"image {name!r}: cannot be the name of a topic: {reason}; rename it in the "
                "environment's observation space"
            ) from None
        if shape[2] not in (1, 3):
            raise UserError(
                f"image {name!r}: found {shape[2]} channels, expected 1 (grey) or 3 (RGB)"
            )


def time_message(stamp_ns: int) -> Time:
    """Nanoseconds as a ROS message."""
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    return Time(sec=seconds, nanosec=nanoseconds)


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
