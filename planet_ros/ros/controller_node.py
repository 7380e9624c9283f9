"""The node ``controller``: state topics in, commands out.

It holds no logic: `planet_ros.control.loop.ControlLoop` decides, `planet_ros.ros.controller`
connects it to topics and timers, and this node says from when to when. Its process never imports
torch.
"""

from __future__ import annotations

import sys

from rclpy.lifecycle import LifecycleState

from planet_ros.config import ControllerNodeSettings
from planet_ros.ros.controller import Controller
from planet_ros.ros.lifecycle import RobustLifecycleNode, logged
from planet_ros.ros.middleware import give_large_blocks_back
from planet_ros.ros.parameters import NodeSettings
from planet_ros.ros.run import run_node

SWITCH_INTERVAL_S = 0.00005

CHANGEABLE = (
    "seed",
    "model",
    "training.exploration_noise",
    "controller.trigger",
    "controller.rate_hz",
    "controller.stale_timeout_s",
    "controller.max_missed",
    "controller.explore",
    "controller.safe_command",
)
"""Parameters that may change while the node runs.

What the robot allows is not among them (its interface, where models may come from, how much room
they may take): it is for the person who starts the node to say, not for whoever can set parameters.
"""


class ControllerNode(RobustLifecycleNode):
    """Plans in a bundle's world model and publishes commands while it is active."""

    def __init__(self) -> None:
        """Declare parameters; all else waits for the transition configure."""
        super().__init__("controller")
        self.exit_code: int | None = None
        self._settings = NodeSettings(
            self, ControllerNodeSettings, changeable=CHANGEABLE, effect="at the next configure"
        )
        self._controller: Controller | None = None

    @logged
    def on_configure(self, state: LifecycleState) -> None:
        """Read parameters, load the bundle if one is named, make publishers and subscriptions."""
        self._controller = Controller(self, self._settings.read(), self._settings.unused)

    @logged
    def on_activate(self, state: LifecycleState) -> None:
        """Begin to act."""
        assert self._controller is not None
        self._controller.begin()

    @logged
    def on_deactivate(self, state: LifecycleState) -> None:
        """Send the safe command and be silent."""
        assert self._controller is not None
        self._controller.end("deactivated")

    @logged
    def on_cleanup(self, state: LifecycleState) -> None:
        """Undo configure."""
        self._end("cleaned up")

    @logged
    def on_shutdown(self, state: LifecycleState) -> None:
        """Send the safe command if active, and undo configure."""
        self._end("shut down")

    @logged
    def on_error(self, state: LifecycleState) -> None:
        """Send the safe command if active, and undo what was done."""
        self._end("error")

    def close(self) -> None:
        """Send the safe command if active: the process is about to end."""
        self._end("the controller ends")

    def _end(self, reason: str) -> None:
        controller, self._controller = self._controller, None
        if controller is not None:
            controller.end(reason)
            controller.close()


def main(arguments: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    # The planning thread and the executor's take turns in Python. With the default of 5 ms either
    # can make the other wait for a quarter of a period at 50 Hz (docs/performance.md).
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    give_large_blocks_back()
    return run_node(ControllerNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
