"""Names and qualities of service of the topics; docs/topics.md describes them."""

from __future__ import annotations

from types import MappingProxyType

from rclpy.exceptions import InvalidTopicNameException
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.validate_topic_name import validate_topic_name

from planet_ros.data.signature import VECTOR_PART, Signature
from planet_ros.errors import UserError
from planet_ros.interface.document import Qos

OBSERVATION_TOPIC = VECTOR_PART
COMMAND_TOPIC = "commands"
STEP_TOPIC = "step"
MODEL_TOPIC = "model"
MODEL_BUNDLE_TOPIC = "model_bundle"
MODEL_IN_USE_TOPIC = "model_in_use"
JOINT_TOPIC = "joint_states"
PLAN_TOPIC = "~/plan"
PREDICTED_TOPIC = "~/predicted"

TRAINER = "trainer"
"""The node that commands beside a controller: while there is no model it acts at random."""

_TAKEN_TOPICS = {
    OBSERVATION_TOPIC,
    COMMAND_TOPIC,
    STEP_TOPIC,
    MODEL_TOPIC,
    MODEL_BUNDLE_TOPIC,
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

EACH = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.BEST_EFFORT
)
"""For a robot's state, of which a learner wants all: works with any publisher."""

EACH_RELIABLE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE
)
"""For a robot's commands, whoever sends them."""

QOS = MappingProxyType[Qos, QoSProfile](
    {"sensor_data": EACH, "reliable": EACH_RELIABLE, "latched": LATCHED}
)
"""By what a robot's interface calls them, for who learns from all."""

LOCK_STEP_QOS = MappingProxyType[Qos, QoSProfile](
    {"sensor_data": EVERY_IMAGE, "reliable": EVERY_STEP, "latched": LATCHED}
)
"""Likewise, of a simulation that goes on as soon as it is answered, whoever else is still busy."""

NEWEST_QOS = MappingProxyType[Qos, QoSProfile](
    {"sensor_data": NEWEST, "reliable": NEWEST_RELIABLE, "latched": LATCHED}
)
"""Likewise, for who acts on the newest alone."""


def check_topics(signature: Signature) -> None:
    """See that an observation can go over topics: one vector, and images on topics of their names.

    Raises:
        UserError: There is another vector or a goal, an image's name is that of another topic or
            none that ROS allows, or an image is neither grey nor RGB.
    """
    for part in (*signature.parts("vector"), *signature.parts("goal")):
        if part.name != OBSERVATION_TOPIC or part.role != "vector":
            raise UserError(
                f"{part.role} {part.name!r}: has no topic, expected one vector called "
                f"{OBSERVATION_TOPIC!r}, and images"
            )
    for name, shape in signature.images.items():
        if name in _TAKEN_TOPICS:
            raise UserError(
                f"image {name!r}: is the name of another topic, expected none of "
                f"{sorted(_TAKEN_TOPICS)}; rename it in the environment's observation space"
            )
        try:
            check_name(name)
        except UserError as error:
            raise UserError(
                f"image {name!r}: {error}; rename it in the environment's observation space"
            ) from None
        if shape[2] not in (1, 3):
            raise UserError(
                f"image {name!r}: found {shape[2]} channels, expected 1 (grey) or 3 (RGB)"
            )


def check_name(name: str) -> None:
    """See that ROS allows a name for a topic.

    Raises:
        UserError: It does not; the text says why.
    """
    try:
        validate_topic_name(name)
    except InvalidTopicNameException as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"cannot be the name of a topic: {reason}") from None
