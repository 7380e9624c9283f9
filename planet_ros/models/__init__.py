"""World models in torch: the contract and its implementations."""

from planet_ros.models.contract import Shapes, WorldModel
from planet_ros.models.ensemble import Ensemble

__all__ = ["Ensemble", "Shapes", "WorldModel"]
