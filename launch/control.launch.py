"""Run the controller: the lifecycle node that plans in a learned model at every tick.

With autostart it is configured and activated by itself; otherwise by `ros2 lifecycle set` or a
lifecycle manager. An argument that is left empty leaves its parameter to the parameter file.
"""

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch_ros.actions import LifecycleNode

from planet_ros.ros.launch_arguments import (
    argument,
    common_arguments,
    converted,
    node_arguments,
)
from planet_ros.ros.launch_events import autostart

# Launch argument: the parameter that it overrides, and its type.
OVERRIDES = {
    "model": ("model", str),
    "model_folder": ("controller.model_folders", list[str]),
    "trigger": ("controller.trigger", str),
    "explore": ("controller.explore", bool),
}


def nodes(context: LaunchContext) -> list[Action]:
    """Describe the node and its way to active, now that the values of the arguments are known."""
    controller = LifecycleNode(**node_arguments("controller", OVERRIDES, context))
    starts = converted("autostart", context.launch_configurations["autostart"], bool)
    return [controller, autostart(controller)] if starts else [controller]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start the node."""
    return LaunchDescription(
        [
            *common_arguments("the node", "true: the node's clock follows /clock."),
            argument("autostart", "true: configure and activate the controller, once.", "true"),
            argument(
                "model",
                "Folder of the bundle to control with; where the parameter file names none "
                "either, the controller waits for one on the topic model.",
            ),
            argument(
                "model_folder",
                "Folder that announced bundles are loaded from, or from those within, alone.",
            ),
            argument("explore", "true: add exploration noise to the commands, for learning."),
            argument(
                "trigger",
                "timer: commands at a constant rate (robots). "
                "observation: one command for each observation (lock-step simulation).",
                choices=("timer", "observation"),
            ),
            OpaqueFunction(function=nodes),
        ]
    )
