"""The document of a simulation that speaks this package's own topics; docs/topics.md has them."""

from __future__ import annotations

import numpy as np

from planet_ros.data.signature import Signature
from planet_ros.interface.document import (
    CommandedField,
    CommandedPart,
    ImageSource,
    Interface,
    ObservedField,
    ObservedPart,
    Reward,
)
from planet_ros.messages.images import IMAGE_TYPE
from planet_ros.messages.vectors import VECTOR_TYPE

COMMAND_TOPIC = "commands"
STEP_TOPIC = "step"


def interface_of(signature: Signature) -> Interface:
    """What makes observations of the topics of a Gymnasium environment, and its commands.

    A vector has the topic of its name and an image likewise; all actions are one vector. Reward and
    end are on the topic of the steps.
    """
    parts = [
        ObservedPart(
            name=part.name,
            topic=part.name,
            type=VECTOR_TYPE,
            fields=[ObservedField(path="data", size=part.shape[0])],
        )
        for part in signature.parts("vector")
    ]
    parts += [
        ObservedPart(
            name=name,
            topic=name,
            type=IMAGE_TYPE,
            image=ImageSource(height=height, width=width, channels=3 if channels == 3 else 1),
        )
        for name, (height, width, channels) in signature.images.items()
    ]
    commands = CommandedPart(
        topic=COMMAND_TOPIC,
        type=VECTOR_TYPE,
        fields=[
            CommandedField(
                path="data",
                size=signature.actions,
                low=[float(low) for low in signature.low],
                high=[float(high) for high in signature.high],
                safe={
                    "constant": [float(safe) for safe in np.clip(0, signature.low, signature.high)]
                },
            )
        ],
    )
    return Interface(
        period_s=signature.period_s,
        observation=parts,
        action=[commands],
        reward=Reward(kind="step", topic=STEP_TOPIC, type=VECTOR_TYPE),
    )


def is_own(interface: Interface) -> bool:
    """Whether a document is one of those that `interface_of` gives."""
    return interface.reward.kind == "step"
