"""World models in torch: the contract and its implementations."""

from planet_ros.models.contract import Imagined, TorchBatch, WorldModel
from planet_ros.models.ensemble import Ensemble
from planet_ros.models.rssm import Rssm

__all__ = ["Ensemble", "Imagined", "Rssm", "TorchBatch", "WorldModel"]
