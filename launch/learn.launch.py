"""Learn in simulation, over topics: simulator, controller and trainer, until the trainer is done.

The three run in lock-step: the simulator waits for one command for each observation, and for the
trainer whenever it fits its model. An argument that is left empty leaves its parameter to the
parameter file.
"""

from launch import LaunchContext, LaunchDescription, SomeSubstitutionsType
from launch.actions import IncludeLaunchDescription, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.actions import Node

from planet_ros.ros.launch_arguments import (
    COMMON,
    SIGTERM_TIMEOUT_S,
    argument,
    common_arguments,
    node_arguments,
)

# Launch argument: the parameter that it overrides, and its type.
OVERRIDES = {
    "env_id": ("env_id", str),
    "output": ("training.output", str),
    "resume": ("training.resume", bool),
    "steps": ("training.steps", int),
}


def nodes(context: LaunchContext) -> list[Node]:
    """Describe the trainer, now that the values of the arguments are known."""
    return [
        Node(
            **node_arguments("trainer", OVERRIDES, context),
            sigterm_timeout=LaunchConfiguration("sigterm_timeout", default=str(SIGTERM_TIMEOUT_S)),
        )
    ]


def include(launch_file: str, **arguments: SomeSubstitutionsType) -> IncludeLaunchDescription:
    """Include another launch file of this folder, with the arguments that all have."""
    return IncludeLaunchDescription(
        PathJoinSubstitution([ThisLaunchFileDir(), launch_file]),
        launch_arguments=[
            *((name, LaunchConfiguration(name)) for name in COMMON),
            *arguments.items(),
        ],
    )


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start the three nodes."""
    return LaunchDescription(
        [
            *common_arguments("the three nodes", "true: the nodes' clocks follow /clock."),
            argument("env_id", "Gymnasium id, such as Pendulum-v1."),
            argument(
                "output", "Folder of the run: bundle, checkpoint, episodes, metrics and plots."
            ),
            argument("resume", "true: go on with the run in the folder output."),
            argument("steps", "Environment steps to collect in all."),
            include(
                "sim.launch.py",
                env_id=LaunchConfiguration("env_id"),
                mode="lock_step",
                wait_for_learner="true",
            ),
            include(
                "control.launch.py",
                autostart="true",
                trigger="observation",
                explore="true",
                model_folder=LaunchConfiguration("output"),
            ),
            OpaqueFunction(function=nodes),
        ]
    )
