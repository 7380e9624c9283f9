"""Learn to drive one of the simulated robots, or drive it with a model that was learned.

The robot is nothing but its own topics (docs/robots.md): the three nodes read `robot_NAME.yaml` and
the interface that it names. To learn they run in lock-step, unless `mode` says otherwise: the robot
waits for a command at each state, and for the trainer whenever it fits its model. An argument that
is left empty leaves its parameter to the parameter file.
"""

from collections.abc import Mapping
from typing import Any

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from planet_ros.config import load_settings
from planet_ros.ros.launch_arguments import (
    SIGTERM_TIMEOUT_S,
    Overrides,
    argument,
    common_arguments,
    node_arguments,
    robot_file,
)
from planet_ros.ros.launch_events import autostart

# Launch argument: the parameter that it overrides, and its type.
ROBOT = {"robot": ("robot.name", str)}
CONTROLLER = {"model": ("model", str)}
LEARNING_CONTROLLER = {"output": ("controller.model_folders", list[str])}
TRAINER = {
    "output": ("training.output", str),
    "resume": ("training.resume", bool),
    "steps": ("training.steps", int),
}


def parameters(mode: str, learns: bool, update_every_steps: int) -> dict[str, Mapping[str, Any]]:
    """What the nodes have to be told alike, by the node.

    Args:
        mode: ``lock_step`` or ``real_time``.
        learns: Whether there is a trainer.
        update_every_steps: Of the trainer, for which the robot waits then.
    """
    together = mode == "lock_step"
    waits = together and learns
    return {
        "robot": {
            "robot.mode": mode,
            "robot.start_paused": waits,
            "robot.pause_every_steps": update_every_steps if waits else 0,
        },
        "controller": {
            "controller.trigger": "observation" if together else "timer",
            "controller.explore": learns,
        },
        "trainer": {
            "training.lock_step": together,
            "training.pause_service": "robot/pause" if together else "",
        },
    }


def nodes(context: LaunchContext) -> list[Action]:
    """Describe the nodes, now that the values of the arguments are known."""
    values = context.launch_configurations
    learns = not values["model"]
    file = robot_file(values["robot"], values["params_file"], context)
    fixed = parameters(
        values["mode"] or ("lock_step" if learns else "real_time"),
        learns,
        load_settings(file).training.update_every_steps,
    )

    def described(name: str, overrides: Overrides) -> dict[str, Any]:
        return node_arguments(name, overrides, context, file=file, fixed=fixed[name])

    overrides = LEARNING_CONTROLLER if learns else CONTROLLER
    controller = LifecycleNode(**described("controller", overrides))
    started = [Node(**described("robot", ROBOT)), controller, autostart(controller)]
    if learns:
        timeout = LaunchConfiguration("sigterm_timeout", default=str(SIGTERM_TIMEOUT_S))
        started.append(Node(**described("trainer", TRAINER), sigterm_timeout=timeout))
    return started


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start the nodes."""
    return LaunchDescription(
        [
            *common_arguments(
                "the nodes",
                "true: the clocks of controller and trainer follow /clock.",
                params_file="",
            ),
            argument(
                "robot",
                "Which robot: NAME of a file robot_NAME.yaml in the folder config of this "
                "package, which is the parameter file where no other is given.",
            ),
            argument(
                "mode",
                "lock_step: one command for each state, as fast as they come, and nothing moves "
                "while the model is fitted. real_time: at the robot's own rate. Empty: lock_step "
                "to learn, real_time with a model.",
                choices=("lock_step", "real_time"),
            ),
            argument(
                "model",
                "Folder of a bundle to drive with: then there is no trainer, and nothing is "
                "tried out.",
            ),
            argument(
                "output", "Folder of the run: bundle, checkpoint, episodes, metrics and plots."
            ),
            argument("resume", "true: go on with the run in the folder output."),
            argument("steps", "Environment steps to collect in all."),
            OpaqueFunction(function=nodes),
        ]
    )
