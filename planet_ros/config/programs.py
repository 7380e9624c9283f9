"""Which settings each program reads.

A program that reads a section, or a part of one, that it does not declare here is wrong in its
types, and meets an AttributeError: no setting is passed over in silence.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TypeAlias

from pydantic import Field, model_validator

from .learning import (
    CollectionSettings,
    DataSettings,
    ExplorationSettings,
    OfflineSettings,
    RssmSettings,
    TrainingSettings,
    WorldModelSettings,
)
from .sections import (
    BridgeSettings,
    BundleSettings,
    ControllerSettings,
    EnvironmentSettings,
    InterfaceSettings,
    PlannerSettings,
    RobotSettings,
    RobotsSettings,
    Section,
    SeedSettings,
)

# pydantic lists the fields of the last base first.


class BridgeNodeSettings(SeedSettings, EnvironmentSettings):
    """Settings of the node gym_bridge."""

    bridge: BridgeSettings = Field(default_factory=BridgeSettings)
    training: CollectionSettings = Field(default_factory=CollectionSettings)


class ControllerNodeSettings(SeedSettings, BundleSettings, InterfaceSettings):
    """Settings of the node controller."""

    training: ExplorationSettings = Field(default_factory=ExplorationSettings)
    controller: ControllerSettings = Field(default_factory=ControllerSettings)


class RobotNodeSettings(SeedSettings):
    """Settings of the node robot."""

    robot: RobotSettings = Field(default_factory=RobotSettings)


class LearnerSettings(SeedSettings, EnvironmentSettings, RobotsSettings):
    """Settings of learning, wherever the steps come from."""

    data: DataSettings = Field(default_factory=DataSettings)
    world_model: WorldModelSettings = Field(default_factory=WorldModelSettings)
    rssm: RssmSettings = Field(default_factory=RssmSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    planner: PlannerSettings = Field(default_factory=PlannerSettings)

    @model_validator(mode="after")
    def _robots_have_no_copies(self) -> LearnerSettings:
        if self.interface and self.training.environments > 1:
            raise ValueError(
                f"training.environments: found {self.training.environments} with interface, "
                "expected 1: a robot has no copies; several of one kind are named in robots"
            )
        return self


TrainerNodeSettings: TypeAlias = LearnerSettings
"""Settings of the node trainer."""


class Settings(LearnerSettings, BundleSettings):
    """Settings of planet_ros."""

    offline: OfflineSettings = Field(default_factory=OfflineSettings)
    bridge: BridgeSettings = Field(default_factory=BridgeSettings)
    robot: RobotSettings = Field(default_factory=RobotSettings)
    controller: ControllerSettings = Field(default_factory=ControllerSettings)


NODES = MappingProxyType[str, type[Section]](
    {
        "gym_bridge": BridgeNodeSettings,
        "controller": ControllerNodeSettings,
        "trainer": TrainerNodeSettings,
        "robot": RobotNodeSettings,
    }
)
"""What each node reads, by the name of its executable."""
