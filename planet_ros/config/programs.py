"""Which settings each program reads.

A program that reads a section, or a part of one, that it does not declare here is wrong in its
types, and meets an AttributeError: no setting is passed over in silence.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TypeAlias

from .learning import (
    ExplorationSettings,
    FitSchedule,
    RssmSettings,
    TrainingSettings,
    WorldModelSettings,
)
from .sections import (
    BridgeSettings,
    BundleSettings,
    ControllerSettings,
    DataSettings,
    EnvironmentSettings,
    PlannerSettings,
    Section,
    SeedSettings,
)

# pydantic lists the fields of the last base first.


class BridgeNodeSettings(SeedSettings, EnvironmentSettings):
    """Settings of the node gym_bridge."""

    bridge: BridgeSettings = BridgeSettings()
    training: FitSchedule = FitSchedule()


class ControllerNodeSettings(SeedSettings, BundleSettings):
    """Settings of the node controller."""

    training: ExplorationSettings = ExplorationSettings()
    controller: ControllerSettings = ControllerSettings()


class LearnerSettings(SeedSettings, EnvironmentSettings):
    """Settings of learning, wherever the steps come from."""

    data: DataSettings = DataSettings()
    world_model: WorldModelSettings = WorldModelSettings()
    rssm: RssmSettings = RssmSettings()
    training: TrainingSettings = TrainingSettings()
    planner: PlannerSettings = PlannerSettings()


TrainerNodeSettings: TypeAlias = LearnerSettings
"""Settings of the node trainer."""


class Settings(LearnerSettings, BundleSettings):
    """Settings of planet_ros."""

    bridge: BridgeSettings = BridgeSettings()
    controller: ControllerSettings = ControllerSettings()


NODES = MappingProxyType[str, type[Section]](
    {
        "gym_bridge": BridgeNodeSettings,
        "controller": ControllerNodeSettings,
        "trainer": TrainerNodeSettings,
    }
)
"""What each node reads, by the name of its executable."""
