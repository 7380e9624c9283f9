"""Run the controller: the lifecycle node that plans in a learned model at every tick.

With autostart it is configured and activated by itself; otherwise by `ros2 lifecycle set` or a
lifecycle manager. An argument that is left empty leaves its parameter to the parameter file.
"""

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.conditions import IfCondition
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare
from lifecycle_msgs.msg import Transition

# Launch argument: the parameter that it overrides, and its type.
OVERRIDES = {
    "use_sim_time": ("use_sim_time", bool),
    "seed": ("seed", int),
    "model": ("model", str),
    "trigger": ("controller.trigger", str),
    "explore": ("controller.explore", bool),
}


def nodes(context: LaunchContext) -> list[Action]:
    """Describe the node and its way to active, now that the values of the arguments are known."""
    overrides = {
        parameter: ParameterValue(LaunchConfiguration(argument), value_type=value_type)
        for argument, (parameter, value_type) in OVERRIDES.items()
        if context.launch_configurations[argument]
    }
    controller = LifecycleNode(
        package="planet_ros",
        executable="controller",
        name="controller",
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file"), overrides],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
    autostart = IfCondition(LaunchConfiguration("autostart"))
    configure = EmitEvent(
        event=ChangeState(
            lifecycle_node_matcher=matches_action(controller),
            transition_id=Transition.TRANSITION_CONFIGURE,
        ),
        condition=autostart,
    )
    # Only after configuring: a controller that someone deactivates later stays inactive.
    activate = RegisterEventHandler(
        OnStateTransition(
            target_lifecycle_node=controller,
            start_state="configuring",
            goal_state="inactive",
            entities=[
                EmitEvent(
                    event=ChangeState(
                        lifecycle_node_matcher=matches_action(controller),
                        transition_id=Transition.TRANSITION_ACTIVATE,
                    )
                )
            ],
        ),
        condition=autostart,
    )
    return [activate, controller, configure]


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
                description="true: the node's clock follows /clock.",
            ),
            DeclareLaunchArgument(
                "log_level", default_value="info", description="Least severity that is logged."
            ),
            DeclareLaunchArgument(
                "autostart",
                default_value="true",
                description="true: configure and activate the controller at once.",
            ),
            DeclareLaunchArgument(
                "seed", default_value="", description="Seed of everything random."
            ),
            DeclareLaunchArgument(
                "model",
                default_value="",
                description="Folder of the bundle to control with; where the parameter file names "
                "none either, the controller waits for one on the topic model.",
            ),
            DeclareLaunchArgument(
                "explore",
                default_value="",
                description="true: add exploration noise to the commands, for learning.",
            ),
            DeclareLaunchArgument(
                "trigger",
                default_value="",
                description="timer: commands at a constant rate (robots). "
                "observation: one command for each observation (lock-step simulation).",
            ),
            OpaqueFunction(function=nodes),
        ]
    )
