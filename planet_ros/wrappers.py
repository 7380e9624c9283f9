"""The wrappers under the name by which parameter files and manifests call them."""

from planet_ros.environments.action_wrappers import BoundedAction, NormalizedAction, SelectAction
from planet_ros.environments.wrappers import (
    ActionRepeat,
    AngleEncoding,
    ArrangeImage,
    RenderedImage,
    SelectObservation,
)

__all__ = [
    "ActionRepeat",
    "AngleEncoding",
    "ArrangeImage",
    "BoundedAction",
    "NormalizedAction",
    "RenderedImage",
    "SelectAction",
    "SelectObservation",
]
