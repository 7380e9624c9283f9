"""A first document about a robot, from what a bag of it holds; for a person to edit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.config.ros_yaml import dump_yaml
from planet_ros.datasets.bags import Bag, BagTopic
from planet_ros.errors import UserError
from planet_ros.interface.paths import parse_path

MOST_MESSAGES = 5000
"""Of a topic that are looked at."""

LASER_BEAMS = 32
IMAGE_SIDE = 64

Fields = list[dict[str, Any]]


@dataclass
class Seen:
    """What was seen of a topic.

    Attributes:
        messages: The first of them.
        period_s: Median time between two; 0: not known.
    """

    messages: list[Any]
    period_s: float


def draft_interface(bag: Bag) -> str:
    """The document as YAML, with what is to be edited said in comments.

    States and commands are told apart by their types and names; ranges are those of the commands
    in the bag, and the period is that of the commands.

    Raises:
        UserError: There is no state or no command among the topics.
    """
    known = {topic.name: topic for topic in bag.topics.values() if topic.count}
    commands = [one for one in known.values() if _is_command(one)]
    states = [one for one in known.values() if one.type in _STATES and one not in commands]
    if not states or not commands:
        lacking = "no state" if not states else "no command"
        there = ", ".join(f"{one.name} ({one.type})" for one in known.values()) or "none"
        raise UserError(
            f"found {lacking} among the topics that are known by their types, which are {there}; "
            "write the document by hand: docs/interface.md begins with one"
        )
    seen = _look(bag, [*states, *commands])
    observation = [part for one in states if (part := _observed(one, seen[one.name])) is not None]
    action = [_commanded(one, seen[one.name]) for one in commands]
    periods = [seen[one.name].period_s for one in commands if seen[one.name].period_s > 0]
    first = next(
        (field.get("name", field["path"]) for part in observation for field in part["fields"]), None
    )
    document: dict[str, Any] = {
        "period_s": _rounded(min(periods, default=0.05)),
        "observation": observation,
        "action": action,
    }
    if first is not None:
        document["reward"] = {
            "kind": "quadratic",
            "observation": [{"field": first, "weight": 1.0, "setpoint": 0.0}],
        }
    left = [one for one in known.values() if one not in states and one not in commands]
    return "".join((_HEAD, dump_yaml(document), *_left_out(left)))


_HEAD = """\
# A first interface, made from a bag by `planet-ros interface`. See docs/interface.md, and edit:
#   - observation: leave out what the model need not see; an angle that turns all the way round
#     takes `encoding: angle`, a number that jumps `clip`
#   - action: low and high are what the bag has, and not what the robot may do; where it must not
#     change at once, `max_rate`; what is safe, `safe` (0 is not, for joints that take positions)
#   - reward: what you want, in place of what stands there
"""


def _left_out(topics: list[BagTopic]) -> Iterator[str]:
    if topics:
        yield "# Not taken:\n"
    for topic in topics:
        yield f"#   {topic.name} ({topic.type})\n"


def _is_command(topic: BagTopic) -> bool:
    if topic.type in _COMMANDS:
        return True
    words = ("cmd", "command", "effort", "torque", "action")
    return topic.type in _NUMBERS and any(word in topic.name.lower() for word in words)


def _look(bag: Bag, topics: list[BagTopic]) -> dict[str, Seen]:
    messages: dict[str, list[Any]] = {one.name: [] for one in topics}
    times: dict[str, list[int]] = {one.name: [] for one in topics}
    for name, time_ns, message in bag.messages(messages):
        if isinstance(message, UserError) or len(messages[name]) >= MOST_MESSAGES:
            continue
        messages[name].append(message)
        times[name].append(time_ns)
    periods = {
        name: float(np.median(np.diff(found))) / 1e9 if len(found) > 1 else 0.0
        for name, found in times.items()
    }
    return {name: Seen(found, periods[name]) for name, found in messages.items()}


def _observed(topic: BagTopic, seen: Seen) -> dict[str, Any] | None:
    part = {"name": topic.name.strip("/").replace("/", " "), "topic": topic.name.lstrip("/")}
    part["type"] = topic.type
    if topic.type in _IMAGES:
        image = {"height": IMAGE_SIDE, "width": IMAGE_SIDE, "channels": 3}
        return {**part, "fields": [], "image": image}
    fields = _STATES[topic.type](seen.messages)
    return {**part, "fields": fields} if fields else None


def _commanded(topic: BagTopic, seen: Seen) -> dict[str, Any]:
    fields: Fields = []
    for field in (_COMMANDS.get(topic.type) or _STATES[topic.type])(seen.messages):
        values = _values(field["path"], seen.messages)
        low, high = (values.min(axis=0), values.max(axis=0)) if len(values) else ([0.0], [0.0])
        fields.append(
            {
                "path": field["path"],
                "low": [_down(one) for one in low],
                "high": [-_down(-one) for one in high],
            }
        )
        if field.get("unit"):
            fields[-1]["unit"] = field["unit"]
    return {"topic": topic.name.lstrip("/"), "type": topic.type, "fields": fields}


def _values(path: str, messages: list[Any]) -> NDArray[np.float64]:
    """Numbers (m, k) of those messages that have them all, and finite ones."""
    parsed, rows = parse_path(path), []
    for message in messages:
        try:
            row = parsed.read(message)
        except UserError:
            continue
        if np.isfinite(row).all():
            rows.append(row)
    size = max((len(row) for row in rows), default=0)
    return np.array([row for row in rows if len(row) == size])


def _down(value: float) -> float:
    """Rounded down to two digits; what is commanded at most is seldom an odd number."""
    if not np.isfinite(value) or abs(value) < 1e-9:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{math.floor(value / unit + 1e-6) * unit:.6g}")


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


# ── fields by type ───────────────────────────────────────────────────────────────────────────


def _joints(messages: list[Any]) -> Fields:
    names = list(dict.fromkeys(name for message in messages[:100] for name in message.name))
    named = ", ".join(names)
    return [
        {"path": f"{what}[{named}]", "unit": unit}
        for what, unit in (("position", "rad"), ("velocity", "rad/s"))
        if names and any(len(getattr(message, what)) for message in messages[:100])
    ]


def _odometry(messages: list[Any]) -> Fields:
    return [
        {"path": "pose.pose.position.x", "unit": "m"},
        {"path": "pose.pose.position.y", "unit": "m"},
        {"path": "pose.pose.orientation", "encoding": "yaw"},
        {"path": "twist.twist.linear.x", "unit": "m/s"},
        {"path": "twist.twist.angular.z", "unit": "rad/s"},
    ]


def _imu(messages: list[Any]) -> Fields:
    return [
        {"path": "angular_velocity", "unit": "rad/s"},
        {"path": "linear_acceleration", "unit": "m/s^2"},
    ]


def _pose(messages: list[Any]) -> Fields:
    return [
        {"path": "pose.position", "unit": "m"},
        {"path": "pose.orientation", "encoding": "quaternion"},
    ]


def _laser(messages: list[Any]) -> Fields:
    if not messages:
        return []
    beams = len(messages[0].ranges)
    step = max(1, beams // LASER_BEAMS)
    return [
        {
            "path": f"ranges[::{step}]",
            "size": math.ceil(beams / step),
            "clip": [0.0, float(messages[0].range_max) or 10.0],
            "unit": "m",
        }
    ]


def _array(messages: list[Any]) -> Fields:
    return [{"path": f"data[0:{len(messages[0].data)}]"}] if messages else []


def _number(messages: list[Any]) -> Fields:
    return [{"path": "data"}]


def _twist(where: str) -> Callable[[list[Any]], Fields]:
    def fields(messages: list[Any]) -> Fields:
        found = []
        for kind, unit in (("linear", "m/s"), ("angular", "rad/s")):
            for axis in "xyz":
                path = f"{where}{kind}.{axis}"
                if _values(path, messages).any():
                    found.append({"path": path, "unit": unit})
        return found or [{"path": f"{where}linear.x", "unit": "m/s"}]

    return fields


def _trajectory(messages: list[Any]) -> Fields:
    return [{"path": f"points[0].positions[{', '.join(messages[0].joint_names)}]", "unit": "rad"}]


_IMAGES: dict[str, Callable[[list[Any]], Fields]] = {
    "sensor_msgs/msg/Image": lambda messages: [],
    "sensor_msgs/msg/CompressedImage": lambda messages: [],
}
_NUMBERS: dict[str, Callable[[list[Any]], Fields]] = {
    "std_msgs/msg/Float64MultiArray": _array,
    "std_msgs/msg/Float32MultiArray": _array,
    "std_msgs/msg/Float64": _number,
    "std_msgs/msg/Float32": _number,
}
_STATES: dict[str, Callable[[list[Any]], Fields]] = {
    "sensor_msgs/msg/JointState": _joints,
    "nav_msgs/msg/Odometry": _odometry,
    "sensor_msgs/msg/Imu": _imu,
    "geometry_msgs/msg/PoseStamped": _pose,
    "sensor_msgs/msg/LaserScan": _laser,
    **_IMAGES,
    **_NUMBERS,
}
_COMMANDS: dict[str, Callable[[list[Any]], Fields]] = {
    "geometry_msgs/msg/Twist": _twist(""),
    "geometry_msgs/msg/TwistStamped": _twist("twist."),
    "trajectory_msgs/msg/JointTrajectory": _trajectory,
}
