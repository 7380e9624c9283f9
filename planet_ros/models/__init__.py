"""World models in torch: the contract and its implementations."""

from planet_ros.models.contract import Imagined, TorchBatch, WorldModel
from planet_ros.models.ensemble import Ensemble
from planet_ros.models.quadratic import ActionTerm, ObservationTerm, QuadraticReward
from planet_ros.models.relabel import relabel
from planet_ros.models.rssm import Rssm
from planet_ros.models.task import Task, function_of

__all__ = [
    "ActionTerm",
    "Ensemble",
    "Imagined",
    "ObservationTerm",
    "QuadraticReward",
    "Rssm",
    "Task",
    "TorchBatch",
    "WorldModel",
    "function_of",
    "relabel",
]
