"""Learn in simulation, over topics: simulator, controller and trainer, until the trainer is done.

The three run in lock-step: the simulator waits for one command for each observation, and for the
trainer whenever it fits its model. An argument that is left empty leaves its parameter to the
parameter file.
"""

from launch import LaunchContext, LaunchDescription, SomeSubstitutionsType
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    Shutdown,
)
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

# Launch argument: the parameter that it overrides, and its type.
OVERRIDES = {
    "use_sim_time": ("use_sim_time", bool),
    "env_id": ("env_id", str),
    "seed": ("seed", int),
    "output": ("training.output", str),
    "steps": ("training.steps", int),
}


def nodes(context: LaunchContext) -> list[Node]:
    """Describe the trainer, now that the values of the arguments are known."""
    overrides = {
        parameter: ParameterValue(LaunchConfiguration(argument), value_type=value_type)
        for argument, (parameter, value_type) in OVERRIDES.items()
        if context.launch_configurations[argument]
    }
    return [
        Node(
            package="planet_ros",
            executable="trainer",
            name="trainer",
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration("params_file"), overrides],
            ros_arguments=["--log-level", LaunchConfiguration("log_level")],
            output="screen",
            on_exit=Shutdown(reason="the trainer has exited"),
        )
    ]


def include(launch_file: str, **arguments: SomeSubstitutionsType) -> IncludeLaunchDescription:
    """Include another launch file of this folder, with the arguments that they share."""
    shared = ("params_file", "namespace", "use_sim_time", "log_level", "seed")
    return IncludeLaunchDescription(
        PathJoinSubstitution([ThisLaunchFileDir(), launch_file]),
        launch_arguments=[
            *((name, LaunchConfiguration(name)) for name in shared),
            *arguments.items(),
        ],
    )


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start the three nodes."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "params_file",
                default_value=PathJoinSubstitution(
                    [FindPackageShare("planet_ros"), "config", "pendulum.yaml"]
                ),
                description="Full path to the ROS parameter file of the three nodes.",
            ),
            DeclareLaunchArgument(
                "namespace", default_value="", description="Namespace of the three nodes."
            ),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="",
                description="true: the nodes' clocks follow /clock.",
            ),
            DeclareLaunchArgument(
                "log_level", default_value="info", description="Least severity that is logged."
            ),
            DeclareLaunchArgument(
                "env_id", default_value="", description="Gymnasium id, such as Pendulum-v1."
            ),
            DeclareLaunchArgument(
                "seed", default_value="", description="Seed of everything random."
            ),
            DeclareLaunchArgument(
                "output",
                default_value="",
                description="Folder of the run: bundle, checkpoint, episodes, metrics and plots.",
            ),
            DeclareLaunchArgument(
                "steps", default_value="", description="Environment steps to collect in all."
            ),
            include(
                "sim.launch.py",
                env_id=LaunchConfiguration("env_id"),
                mode="lock_step",
                wait_for_learner="true",
            ),
            include("control.launch.py", autostart="true", trigger="observation", explore="true"),
            OpaqueFunction(function=nodes),
        ]
    )
