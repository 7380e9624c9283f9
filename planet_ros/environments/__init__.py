"""Gymnasium environments and wrappers: the one room, with sim_bridge, that knows gymnasium."""

from planet_ros.environments.environment import Environment, EnvironmentSpec

__all__ = ["Environment", "EnvironmentSpec"]
