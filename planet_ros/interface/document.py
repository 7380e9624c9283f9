"""The document that says what a robot is to a model: typed, bounded, and refused where it is wrong.

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
reward: {kind: quadratic, observation: [{field: 'position[hinge]', weight: 1}]}
```

Paths are those of `planet_ros.interface.paths`; docs/interface.md is the reference, made of this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from planet_ros.config.sections import MAX_NAME, Section
from planet_ros.data.signature import MAX_ACTIONS, MAX_DELAY, MAX_PARTS, PERIOD_RANGE_S
from planet_ros.errors import UserError
from planet_ros.interface.conditions import parse_condition
from planet_ros.interface.paths import parse_path

MAX_FIELDS = 256
"""Fields of one part at most."""

Encoding: TypeAlias = Literal["none", "angle", "quaternion", "yaw", "rate"]
Qos: TypeAlias = Literal["sensor_data", "reliable", "latched"]

_TYPE = r"^[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*$"
_TOPIC = r"^[A-Za-z_~/][A-Za-z0-9_/]*$"

Number: TypeAlias = Annotated[float, Field(ge=-3.0e38, le=3.0e38)]


def _alone(key: str) -> BeforeValidator:
    """Let a value stand for the mapping that has nothing but it."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


Numbers: TypeAlias = Annotated[
    list[Number], BeforeValidator(_listed), Field(max_length=MAX_ACTIONS)
]
"""One number for all that a field has, or one for each."""

Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]


def _readable(read: Callable[[str], str]) -> AfterValidator:
    """See, while it is known where it stands, that a text can be read."""

    def checked(text: str) -> str:
        try:
            return read(text)
        except UserError as error:
            raise ValueError(str(error)) from None

    return AfterValidator(checked)


Path: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=1000), _readable(lambda text: parse_path(text).text)
]
Topic: TypeAlias = Annotated[str, Field(pattern=_TOPIC, max_length=255)]
MessageType: TypeAlias = Annotated[str, Field(pattern=_TYPE, max_length=255)]


class ObservedField(Section):
    """Numbers of a message, and how the model sees them."""

    path: Path = Field(
        description="Where in the message: position[shoulder, elbow], pose.pose.position.x, "
        "data[0:3], ranges[::8]."
    )
    name: str = Field("", max_length=MAX_NAME, description="What it is called; empty: as its path.")
    encoding: Encoding = Field(
        "none",
        description="none: as it is. angle: cosine and sine of an angle in radians. quaternion: "
        "of x, y, z, w, the first two columns of the rotation matrix, six numbers. yaw: of x, y, "
        "z, w, cosine and sine of the rotation about z. rate: the difference to the message "
        "before, per second.",
    )
    wraps: bool = Field(
        False,
        description="With encoding rate: the number is an angle, whose difference is the short "
        "way round.",
    )
    scale: Number = Field(1.0, description="Factor on the numbers, before clip and encoding.")
    clip: list[Number] = Field(
        [],
        max_length=2,
        description="Least and greatest value that is seen, of a rate those of the rate; empty: "
        "any.",
    )
    size: int = Field(
        0,
        ge=0,
        le=2**20,
        description="How many numbers the path gives, where it does not say so itself, as "
        "ranges[::8]; 0: the path says.",
    )
    unit: str = Field("", max_length=MAX_NAME, description="SI unit, after scaling.")

    @property
    def label(self) -> str:
        """Its name, or its path."""
        return self.name or self.path

    @model_validator(mode="after")
    def _fits(self) -> ObservedField:
        if self.clip and not (len(self.clip) == 2 and self.clip[0] < self.clip[1]):
            raise ValueError(f"clip: found {self.clip}, expected least and greatest, low < high")
        if self.scale == 0:
            raise ValueError("scale: found 0, expected any other number")
        if self.wraps and self.encoding != "rate":
            raise ValueError("wraps: found without encoding rate, expected it beside that")
        return self


AnyField: TypeAlias = Annotated[ObservedField, _alone("path")]


class ImageSource(Section):
    """How a camera's picture is seen."""

    height: int = Field(ge=1, le=4096, description="Pixels; pictures of other sizes are scaled.")
    width: int = Field(ge=1, le=4096, description="Pixels.")
    channels: Literal[1, 3] = Field(3, description="1: grey, or depth. 3: RGB.")
    range: list[Number] = Field(
        [],
        max_length=2,
        description="Of depth (16UC1 in millimetres, 32FC1 in metres): nearest and farthest in "
        "metres, which become black and white; nothing measured becomes white.",
    )

    @model_validator(mode="after")
    def _range_fits(self) -> ImageSource:
        if self.range and not (len(self.range) == 2 and 0 <= self.range[0] < self.range[1]):
            raise ValueError(f"range: found {self.range}, expected [nearest, farthest] in metres")
        if self.range and self.channels != 1:
            raise ValueError("range: found with 3 channels, expected channels: 1")
        return self


class TopicSource(Section):
    """Something that is read from a topic."""

    topic: Topic = Field(description="Topic, relative so that a namespace and remaps work.")
    type: MessageType = Field(
        description="Type of its messages, any that is installed, such as "
        "sensor_msgs/msg/JointState."
    )
    qos: Qos = Field(
        "sensor_data",
        description="sensor_data: best effort, the newest; works with any publisher. reliable: "
        "every message is sent until it arrives. latched: a late subscriber gets the last one.",
    )


class ObservedPart(TopicSource):
    """A part of the observation: fields of one topic's messages, or a picture."""

    name: Name = Field(description="Unique among the parts.")
    fields: list[AnyField] = Field(
        [], max_length=MAX_FIELDS, description="Numbers that are seen, in this order."
    )
    image: ImageSource | None = Field(None, description="For pictures, in place of fields.")
    stale_after_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="Age from which on it is stale; 0: controller.stale_timeout_s.",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> ObservedPart:
        if bool(self.fields) == (self.image is not None):
            raise ValueError(f"observation {self.name!r}: expected either fields or image")
        return self


class SafeCommand(Section):
    """What is sent when nothing better is known: a constant, or what is measured."""

    constant: Numbers = Field([0.0], description="One number for all, or one for each.")
    within_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="Seconds in which the command moves to the constant on a straight line, from "
        "the one sent last; 0: at once.",
    )
    hold: str = Field(
        "",
        max_length=MAX_NAME,
        description="Name of the observed field whose newest measured value is the command, for "
        "position-controlled joints, which zero would move; empty: the constant.",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> SafeCommand:
        if self.hold and self.within_s:
            raise ValueError("safe: found hold and within_s, expected one of them")
        return self


class CommandedField(Section):
    """Numbers of a message that the model commands."""

    path: Path = Field(description="Where in the message: data[0], linear.x, effort[shoulder].")
    name: str = Field("", max_length=MAX_NAME, description="What it is called; empty: as its path.")
    low: Numbers = Field(description="Least, one number for all or one for each.")
    high: Numbers = Field(description="Greatest, likewise.")
    max_rate: Numbers = Field([], description="Largest change per second, likewise; empty: any.")
    safe: Annotated[
        SafeCommand,
        BeforeValidator(
            lambda value: value if isinstance(value, (dict, SafeCommand)) else {"constant": value}
        ),
    ] = Field(
        SafeCommand(),
        description="The command when nothing better is known: a number, or constant, within_s "
        "and hold.",
    )
    size: int = Field(
        0,
        ge=0,
        le=MAX_ACTIONS,
        description="How many numbers the path holds, where it does not say so itself, as data; "
        "0: the path says.",
    )
    unit: str = Field("", max_length=MAX_NAME, description="SI unit.")

    @property
    def label(self) -> str:
        """Its name, or its path."""
        return self.name or self.path


class CommandedPart(TopicSource):
    """A part of the action: fields of the messages on one topic."""

    name: str = Field("", max_length=MAX_NAME, description="Of the part; empty: its topic.")
    fields: list[CommandedField] = Field(
        min_length=1, max_length=MAX_FIELDS, description="Numbers of the action, in this order."
    )
    constants: dict[Path, bool | int | float | str | list[float] | list[str]] = Field(
        {},
        max_length=MAX_FIELDS,
        description="Other fields of the message, by path: header.frame_id, joint_names, "
        "points[0].time_from_start (seconds). A header's stamp is filled in by itself.",
    )
    qos: Qos = Field("reliable", description="As of the observation.")
    timeout_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="Age from which a command does not act on the robot any more, as "
        "diff_drive_controller's cmd_vel_timeout; what is done after it is not known. 0: a "
        "command holds until the next.",
    )


class RewardTerm(Section):
    """One term of a quadratic reward: minus the weight times the squared distance."""

    field: Name = Field(description="Name of an observed field, or of a commanded one.")
    weight: Numbers = Field(description="0 or more; one for all its numbers, or one for each.")
    setpoint: Numbers = Field(
        [0.0], description="Value that is best; of an encoded angle or yaw, in radians."
    )
    goal: str = Field(
        "",
        max_length=MAX_NAME,
        description="Name of the goal's field that is the set-point in place of a constant.",
    )

    @field_validator("weight")
    @classmethod
    def _positive(cls, value: list[float]) -> list[float]:
        if not value or any(weight < 0 for weight in value):
            raise ValueError("expected weights of 0 or more")
        return value


class Reward(Section):
    """What is to be achieved."""

    kind: Literal["topic", "function", "quadratic", "step"] = Field(
        "quadratic",
        description="topic: a number on a topic. function: of one's own, in torch. quadratic: the "
        "sum of the terms. step: the topic step of a simulation holds it.",
    )
    topic: str = Field("", max_length=255, description="kind topic: its name.")
    type: str = Field("std_msgs/msg/Float64", pattern=_TYPE, description="kind topic: its type.")
    path: Path = Field("data", description="kind topic: where in the message.")
    function: str = Field(
        "",
        max_length=255,
        description="kind function: module:function of (observation, action, next_observation, "
        "goal).",
    )
    observation: list[RewardTerm] = Field(
        [], max_length=MAX_FIELDS, description="kind quadratic: terms of what is observed."
    )
    action: list[RewardTerm] = Field(
        [], max_length=MAX_FIELDS, description="kind quadratic: terms of what is commanded."
    )

    @model_validator(mode="after")
    def _whole(self) -> Reward:
        wanted = {"topic": self.topic, "function": self.function, "quadratic": self.observation}
        if self.kind in wanted and not wanted[self.kind]:
            key = "observation" if self.kind == "quadratic" else self.kind
            raise ValueError(f"reward: found kind {self.kind} without {key}")
        return self


class End(Section):
    """When an episode ends; by default only where steps are missing, or recording stops."""

    condition: Annotated[
        str, _readable(lambda text: parse_condition(text).text if text else "")
    ] = Field(
        "",
        max_length=1000,
        description="It has terminated when this holds, such as abs(position[pole]) > 0.4, over "
        "the names of observed fields as they were measured, before their encoding; of a rate it "
        "is the rate, of a yaw the angle in radians.",
    )
    topic: str = Field("", max_length=255, description="It has terminated when this says true.")
    type: str = Field("std_msgs/msg/Bool", pattern=_TYPE, description="Of that topic.")
    path: Path = Field("data", description="Where in the message.")
    function: str = Field(
        "", max_length=255, description="module:function of (next_observation, goal)."
    )
    after_steps: int = Field(
        0, ge=0, le=10**6, description="An episode is cut after so many steps; 0: never."
    )


class Goal(TopicSource):
    """A vector that says what is wanted just now, read from a topic."""

    fields: list[AnyField] = Field(min_length=1, max_length=MAX_FIELDS, description="Its numbers.")
    qos: Qos = Field("reliable", description="As of the observation.")
    low: Numbers = Field(
        [], description="Least value of each encoded number that is imagined while learning."
    )
    high: Numbers = Field([], description="Greatest, likewise.")


class Interface(Section):
    """What a robot is to a model."""

    period_s: float = Field(
        ge=PERIOD_RANGE_S[0], le=PERIOD_RANGE_S[1], description="Seconds between two commands."
    )
    delay_periods: int = Field(
        0,
        ge=0,
        le=MAX_DELAY,
        description="Control periods until a command acts, beyond the one that it is sent in; "
        "planet-ros delay estimates them.",
    )
    observation: list[ObservedPart] = Field(min_length=1, max_length=MAX_PARTS)
    action: list[CommandedPart] = Field(min_length=1, max_length=MAX_PARTS)
    reward: Reward = Field(default_factory=lambda: Reward(kind="step"))
    end: End = Field(default_factory=End)
    goal: Goal | None = None

    @property
    def sources(self) -> list[ObservedPart | Goal]:
        """All that is seen: the parts of the observation, then the goal where there is one."""
        goals = [] if self.goal is None else [self.goal]
        return [*self.observation, *goals]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Interface:
        for what, names in {
            "observation": [part.name for part in self.observation],
            "fields of the observation": [
                field.label for part in self.observation for field in part.fields
            ],
            "fields of the action": [field.label for part in self.action for field in part.fields],
            "topics of the action": [part.topic for part in self.action],
        }.items():
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what}: found {', '.join(twice)} twice, expected other names")
        return self
