"""The reference page of documents about robots, made of their schema; and one of them, shown."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from planet_ros.config import Section
from planet_ros.interface import document
from planet_ros.interface.reading import PartReader
from planet_ros.interface.signature import signature_of
from planet_ros.interface.writing import ActionWriter
from planet_ros.messages.fields import Make

_SECTIONS: tuple[type[Section], ...] = (
    document.Interface,
    document.ObservedPart,
    document.ObservedField,
    document.ImageSource,
    document.CommandedPart,
    document.CommandedField,
    document.SafeCommand,
    document.Reward,
    document.RewardTerm,
    document.End,
    document.Goal,
)

_BEGIN = """\
# The interface of a robot

One YAML document says what a robot is to a model: how often it is commanded, what is observed, what
is commanded, and what is wanted. `planet-ros interface FILE` checks one and shows what it gives;
`planet-ros interface pendulum` shows one of those that come with the package (config/interfaces/).
This page is made by `planet-ros interface --markdown`.

```yaml
period_s: 0.05
observation:
  - name: joint
    topic: joint_states
    type: sensor_msgs/msg/JointState
    fields:
      - {path: 'position[hinge]', encoding: angle, unit: rad}
      - {path: 'velocity[hinge]', unit: rad/s}
action:
  - topic: effort_controller/commands
    type: std_msgs/msg/Float64MultiArray
    fields:
      - {path: 'data[0]', name: torque, low: -2, high: 2, unit: N m}
reward:
  kind: quadratic
  observation:
    - {field: 'position[hinge]', weight: 1.0}
    - {field: 'velocity[hinge]', weight: 0.1}
  action:
    - {field: torque, weight: 0.001}
```

The YAML is read as ROS reads parameter files: `y`, `n`, `on` and `off` without quotes are true and
false, and a name that is given twice is refused. Where a field needs nothing but its path, the path
alone stands for it: `fields: [pose.pose.position.x]`.

## Paths

| path | what it gives |
| --- | --- |
| `pose.pose.position.x` | one number; true and false are 1 and 0, texts are refused |
| `twist.twist.linear` | all numbers of a message in the message, in the order of its definition |
| `data` | a whole array; `size` says how many numbers it has |
| `data[3]`, `data[0, 2]` | elements, counted from 0 |
| `data[0:3]`, `ranges[::8]` | start:stop:step, as in Python, but none of them negative |
| `position[shoulder, elbow]` | elements by name, in whatever order the message has them |
| `points[0].positions` | through an array of messages, by number or by name |

Names are looked up in the field `joint_names` or `name` of the innermost message that has one. A
field that is missing, a name that is not in a message, an index behind the end, a number that is
not finite and an array that changes its length are errors; the message is passed over and counted.
In a command, arrays become as long as they need to be, and names that are not there are added.

## Encodings

| encoding | numbers in | numbers that the model sees |
| --- | --- | --- |
| `none` | k | the same |
| `angle` | k, in radians | 2 k: cosine and sine of each, one after the other |
| `quaternion` | 4: x, y, z, w | 6: the first column of the rotation matrix, then the second |
| `yaw` | 4: x, y, z, w | 2: cosine and sine of the rotation about z |
| `rate` | k | k: the change per second since the message before, by stamp, else by arrival |

`scale` comes first, then `clip`, then the encoding; of a rate, `clip` is that of the rate. A rate
is not known at the first message, after a jump back in time, and after a gap (the age from which
the part is stale, else one second); until it is, the part has not arrived. Messages with the same
stamp have the same rate.

## Conditions

The end of an episode can be a condition on the observation, such as
`abs(position[pole]) > 0.4 or pose.pose.position.z < 0.2`: numbers, names of observed fields,
`+ - * /`, `< <= > >= == !=`, `and`, `or`, `not`, brackets, and the functions `abs`, `sqrt`, `sin`,
`cos`, `min` and `max`. Names stand for numbers as they were measured, scaled, before encoding; of a
rate that is the rate, of a yaw the angle in radians. A name with blanks stands in quotes. Of a
field with several numbers, name one (`position[pole]` of `position[cart, pole]`), or take `max(…)`
or `min(…)`. A comparison with what is no number, such as the root of a negative one, does not hold.
"""


def interface_markdown() -> str:
    """The reference page, as ``docs/interface.md`` holds it."""
    lines = [_BEGIN]
    for section in _SECTIONS:
        lines += [f"## {section.__name__}", "", inspect.cleandoc(section.__doc__ or ""), ""]
        lines += [
            "| name | type | default | allowed | meaning |",
            "| --- | --- | --- | --- | --- |",
        ]
        for name, field in section.model_fields.items():
            cells = (
                f"`{name}`",
                _type_text(field.annotation),
                _default_text(field),
                _allowed_text(field),
                field.description or _first_line(field.annotation),
            )
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _type_text(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_text(arguments[0])
    if origin is Literal:
        return "one of the words"
    if origin is list:
        if get_origin(arguments[0]) is Annotated and get_args(arguments[0])[0] is float:
            return "numbers"
        return f"list of {_type_text(arguments[0])}"
    if origin is dict:
        return "mapping"
    if arguments:
        return _type_text(next(one for one in arguments if one is not type(None)))
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    names = {bool: "true or false", int: "integer", float: "number", str: "text"}
    return names[annotation]


def _default_text(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.default
    if default is PydanticUndefined or default is None:
        return ""
    if isinstance(default, Section):
        default = default.model_dump(exclude_defaults=True) or ""
        return f"`{json.dumps(default)}`" if default else ""
    return f"`{json.dumps(default)}`"


def _allowed_text(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{one}`" for one in get_args(field.annotation))
    least = greatest = None
    for item in field.metadata:
        least = getattr(item, "ge", least)
        greatest = getattr(item, "le", greatest)
    if least is None or greatest is None or greatest > 1e37:
        return ""
    return f"{least} ≤ value ≤ {greatest}"


def _first_line(annotation: Any) -> str:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, Section):
            return inspect.cleandoc(kind.__doc__ or "").split("\n")[0]
    return ""


def summary(interface: document.Interface, make: Make) -> str:
    """What a document gives, for a person: parts, sizes, and ranges of the action.

    Raises:
        UserError: It does not fit the types of messages that are installed.
    """
    signature = signature_of(interface, make)
    lines = [f"period: {interface.period_s:g} s, delay: {interface.delay_periods} periods"]
    for source in interface.sources:
        lines += _part_lines(source, PartReader(source, make))
    writer = ActionWriter(interface.action, make)
    holds = {index: hold.field for hold in writer.safe.holds for index in hold.indices}
    rows = [("action", "low", "high", "per second", "safe", "unit")]
    for index, part in enumerate(signature.action):
        safe = f"hold {holds[index]}" if index in holds else f"{writer.safe.constant[index]:g}"
        rows.append(
            (
                part.name,
                f"{part.low:g}",
                f"{part.high:g}",
                "any" if part.max_rate is None else f"{part.max_rate:g}",
                safe,
                part.unit,
            )
        )
    for topic in writer.topics:
        lines.append(f"command: {topic} ({writer.types[topic]})")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += [
        "    "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.append(f"reward: {interface.reward.kind}; end: {_end_text(interface.end)}")
    return "\n".join(lines)


def _part_lines(source: document.ObservedPart | document.Goal, reader: PartReader) -> Iterator[str]:
    part = reader.signature_part
    size = " × ".join(map(str, part.shape))
    yield f"{part.name}: {part.role} of {size}, from {source.topic} ({source.type})"
    for index in range(len(part.numbers)):
        yield f"    {part.label(index)}"


def _end_text(end: document.End) -> str:
    found = [one for one in (end.condition, end.topic, end.function) if one]
    if end.after_steps:
        found.append(f"after {end.after_steps} steps")
    return ", ".join(found) or "none"
