"""Gymnasium environments and wrappers: the one room, with sim_bridge, that knows gymnasium."""

from planet_ros.environments.environment import Environment, EnvironmentSpec
from planet_ros.environments.faults import BrokenEnvironment

__all__ = ["BrokenEnvironment", "Environment", "EnvironmentSpec"]
