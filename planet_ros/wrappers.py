"""The wrappers under the name by which parameter files and manifests call them."""

from planet_ros.environments.wrappers import ActionRepeat, RenderedImage, SelectObservation

__all__ = ["ActionRepeat", "RenderedImage", "SelectObservation"]
