"""Learn a world model, plan in it every tick, publish commands: PlaNet for ROS 2."""

__version__ = "0.1.0"
