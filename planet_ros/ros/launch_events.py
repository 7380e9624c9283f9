"""What the launch files do when something happens: a node ends, or is to start by itself.

Only launch files import it, where ROS has brought the package `launch`.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from launch import LaunchContext
from launch.actions import OpaqueFunction, Shutdown
from launch.logging import get_logger
from launch_ros.actions import LifecycleNode
from launch_ros.ros_adapters import get_ros_node
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState

LOOK_PERIOD_S = 0.2
ASK_AGAIN_S = 0.5
_ENDING = "planet_ros_ends"


def ended(name: str) -> Callable[[Any, LaunchContext], list[Shutdown] | None]:
    """Make the handler of a node's exit: the launch ends with the node, and as well as it.

    A second shutdown is an error to launch, so that only the first node to end is spoken of.

    Args:
        name: Of the node.
    """

    def handle(event: Any, context: LaunchContext) -> list[Shutdown] | None:
        if context.is_shutdown or hasattr(context.locals, _ENDING):
            return None
        context.extend_globals({_ENDING: True})
        if event.returncode == 0:
            return [Shutdown(reason=f"the {name} has ended")]
        # An exception is what makes the exit code of `ros2 launch` 1, and its text is logged.
        raise RuntimeError(f"the {name} {how_it_ended(event.returncode)}; see what it said above")

    return handle


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def configure_and_activate(
    change_state: Callable[[int], bool | None], say: Callable[[str], None]
) -> None:
    """Ask a lifecycle node for the two transitions, once; the second only after the first.

    What happens to the node afterwards is its users' affair: nothing waits here for another
    configure, which would then move a robot.

    Args:
        change_state: Makes a transition; False: it was refused, or failed. None: it was not tried,
            as everything ends.
        say: Where a failure is told.
    """
    for transition, word in (
        (Transition.TRANSITION_CONFIGURE, "configure"),
        (Transition.TRANSITION_ACTIVATE, "activate"),
    ):
        done = change_state(transition)
        if done is False:
            say(
                f"autostart: the transition {word} failed; from here on it is done by hand, with "
                "ros2 lifecycle set"
            )
        if not done:
            return


def autostart(node: LifecycleNode) -> OpaqueFunction:
    """Make the action that configures and activates a node as soon as it is there.

    The node's answers are what it goes by, and not the topic of its transitions: what is published
    there before the launch is matched would be lost, and who listens there still listens when a
    person configures the node.
    """

    def start(context: LaunchContext) -> None:
        ros = get_ros_node(context)
        change = ros.create_client(ChangeState, f"{node.node_name}/change_state")
        # Made last: whoever answers this client has discovered the other one too, and does not
        # drop its answers (ros2/rmw_fastrtps#842).
        look = ros.create_client(GetState, f"{node.node_name}/get_state")

        def change_state(transition: int) -> bool | None:
            request = ChangeState.Request(transition=Transition(id=transition))
            response = answer(context, change, request)
            return None if response is None else bool(response.success)

        def run() -> None:
            try:
                if answer(context, look, GetState.Request(), again_s=ASK_AGAIN_S) is not None:
                    configure_and_activate(change_state, get_logger(__name__).error)
            except Exception:
                if not context.is_shutdown:  # the clients die with launch's node
                    raise

        loop = context.asyncio_loop
        assert loop is not None
        context.add_completion_future(loop.run_in_executor(None, run))

    return OpaqueFunction(function=start)


def answer(
    context: LaunchContext, client: Any, request: Any, again_s: float = math.inf
) -> Any | None:
    """Call a service as soon as it is there, and wait for its answer; None: the launch ends.

    Args:
        context: Of the launch.
        client: Of the service; another thread spins its node.
        request: What to ask.
        again_s: After this time without an answer it is asked again.
    """
    while not client.wait_for_service(timeout_sec=LOOK_PERIOD_S):
        if context.is_shutdown:
            return None
    answered = threading.Event()
    asked: list[Any] = []
    asked_s = -math.inf
    while not context.is_shutdown:
        if not asked or time.monotonic() - asked_s > again_s:
            asked_s = time.monotonic()
            asked.append(client.call_async(request))
            asked[-1].add_done_callback(lambda _: answered.set())
        if answered.wait(LOOK_PERIOD_S):
            return next(future.result() for future in asked if future.done())
    return None
