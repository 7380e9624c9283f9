"""Simulated robots, without ROS: their physics, and how they look from outside.

``pendulum``, ``base`` and ``arm`` hold a robot each. `simulation` gives them a clock, delays and
new beginnings; `topics` says what they publish and which commands they take, through a function
that makes empty messages. The node `sim_bridge.robot_node` runs them.
"""
