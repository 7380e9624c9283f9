"""Run a Gymnasium environment behind ROS topics: the node gym_bridge.

An argument that is left empty leaves its parameter to the parameter file.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from planet_ros.ros.launch_arguments import argument, common_arguments, node_arguments

# Launch argument: the parameter that it overrides, and its type.
OVERRIDES = {
    "env_id": ("env_id", str),
    "mode": ("bridge.mode", str),
    "wait_for_learner": ("bridge.wait_for_learner", bool),
}


def nodes(context: LaunchContext) -> list[Node]:
    """Describe the node, now that the values of the arguments are known."""
    return [Node(**node_arguments("gym_bridge", OVERRIDES, context))]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start the node."""
    return LaunchDescription(
        [
            *common_arguments(
                "the node", "true: the node's own clock follows /clock, which it publishes."
            ),
            argument("env_id", "Gymnasium id, such as Pendulum-v1."),
            argument(
                "mode",
                "lock_step: one command for each observation, as fast as they come. "
                "real_time: at the environment's own rate.",
                choices=("lock_step", "real_time"),
            ),
            argument("wait_for_learner", "true: pause whenever the learner fits its model."),
            OpaqueFunction(function=nodes),
        ]
    )
