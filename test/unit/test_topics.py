"""Which observations have topics, and which message types there are."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from std_msgs.msg import String

from planet_ros.data import ActionPart, ObservationPart, Signature
from planet_ros.errors import UserError
from planet_ros.ros.topics import check_topics
from planet_ros.ros.types import make, message_class


def signature_of(*images: tuple[str, int], vector: str = "observation") -> Signature:
    parts = [ObservationPart(vector, (2,))]
    parts += [ObservationPart(name, (8, 8, n), "image", "uint8") for name, n in images]
    return Signature(tuple(parts), (ActionPart("torque", -1, 1),), 0.05)


@pytest.mark.parametrize(
    ("name", "channels", "found"),
    [
        ("step", 1, "image 'step': is the name of another topic"),
        ("model", 3, "image 'model': is the name of another topic"),
        ("joint_states", 3, "is the name of another topic"),
        ("my eye", 1, "image 'my eye': cannot be the name of a topic"),
        ("1st", 1, "cannot be the name of a topic"),
        ("image", 4, "image 'image': found 4 channels, expected 1 (grey) or 3 (RGB)"),
    ],
)
def test_image_that_cannot_have_a_topic_is_refused(name: str, channels: int, found: str) -> None:
    with pytest.raises(UserError) as caught:
        check_topics(signature_of(("fine", 1), (name, channels)))
    assert found in str(caught.value)


def test_images_may_be_called_as_topics_are() -> None:
    check_topics(signature_of(("image", 1), ("camera/front", 3)))


def test_vector_that_has_no_topic_is_refused() -> None:
    with pytest.raises(UserError, match="vector 'arm': has no topic, expected one vector called"):
        check_topics(signature_of(vector="arm"))


def test_type_that_is_not_installed_is_named() -> None:
    for name in ("std_msgs/msg/Strin", "nowhere_msgs/msg/String", "String", "", "../msg/x"):
        with pytest.raises(UserError, match=r"found the message type .*expected one"):
            make(name)
    assert message_class("std_msgs/msg/String") is String
