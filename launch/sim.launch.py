"""Run a Gymnasium environment behind ROS topics: the node gym_bridge.

An argument that is left empty leaves its parameter to the parameter file.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

# Launch argument: the parameter that it overrides, and its type.
OVERRIDES = {
    "use_sim_time": ("use_sim_time", bool),
    "env_id": ("env_id", str),
    "seed": ("seed", int),
    "mode": ("bridge.mode", str),
    "wait_for_learner": ("bridge.wait_for_learner", bool),
}


def nodes(context: LaunchContext) -> list[Node]:
    """Describe the node, now that the values of the arguments are known."""
    overrides = {
        parameter: ParameterValue(LaunchConfiguration(argument), value_type=value_type)
        for argument, (parameter, value_type) in OVERRIDES.items()
        if context.launch_configurations[argument]
    }
    return [
        Node(
            package="planet_ros",
            executable="gym_bridge",
            name="gym_bridge",
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration("params_file"), overrides],
            ros_arguments=["--log-level", LaunchConfiguration("log_level")],
            output="screen",
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start the node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "params_file",
                default_value=PathJoinSubstitution(
                    [FindPackageShare("planet_ros"), "config", "pendulum.yaml"]
                ),
                description="Full path to the ROS parameter file of the node.",
            ),
            DeclareLaunchArgument(
                "namespace", default_value="", description="Namespace of the node."
            ),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="",
                description="true: the node's own clock follows /clock, which it publishes.",
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
                "mode",
                default_value="",
                description="lock_step: one command for each observation, as fast as they come. "
                "real_time: at the environment's own rate.",
            ),
            DeclareLaunchArgument(
                "wait_for_learner",
                default_value="",
                description="true: pause whenever the learner fits its model.",
            ),
            OpaqueFunction(function=nodes),
        ]
    )
