"""How a node's process starts and ends."""

from __future__ import annotations

import faulthandler
import itertools
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from planet_ros.config.files import refuse_repetitions
from planet_ros.errors import EXIT_BAD_INPUT, UserError
from planet_ros.ros.middleware import prepare

TEARDOWN_LIMIT_S = 5.0


class Runnable(Protocol):
    """A node that can say when it is done, and that puts things in order at the end."""

    exit_code: int | None

    def close(self) -> None:
        """Send what must be sent last; publishers still work."""

    def destroy_node(self) -> None:
        """As rclpy's nodes have it."""

    def get_logger(self) -> Any:
        """As rclpy's nodes have it."""


def run_node(make: Callable[[], Runnable], arguments: list[str] | None = None) -> int:
    """Spin a node until it sets its `exit_code`, or SIGINT or SIGTERM arrives.

    rclpy's own signal handlers invalidate the context before anyone can publish a last command.
    Here a signal only ends the loop; then `close` runs with everything alive, and only then is
    rclpy shut down. A second signal changes nothing: what ends, ends in its own time.

    Returns:
        0, the node's exit code, or 2 after bad input.
    """
    # Several threads with Python callbacks wait for one another: its jitter is 40 times worse
    # than that of one (docs/performance.md).
    stop = _Stop()
    node: Runnable | None = None
    try:
        start_rclpy(arguments)
        executor = SingleThreadedExecutor()
        stop.wake = executor.wake
        with _refusals(_NO_NODE):
            node = make()
        executor.add_node(cast(Node, node))
        while not stop.requested and node.exit_code is None:
            executor.spin_once(timeout_sec=1.0)
        return node.exit_code or 0
    except UserError as error:
        _say(node, str(error))
        return EXIT_BAD_INPUT
    except Exception:
        _say(node, traceback.format_exc())
        return 1
    finally:
        if node is not None:
            try:
                node.close()
            except Exception:
                _say(node, traceback.format_exc())
        # Now nothing is left to be sent or saved. Should DDS lock up while it is taken down, which
        # no Python code could interrupt, the process says where and ends all the same.
        faulthandler.dump_traceback_later(TEARDOWN_LIMIT_S, exit=True)
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        faulthandler.cancel_dump_traceback_later()
        stop.ignore()


def start_rclpy(arguments: list[str] | None) -> None:
    """Initialise rclpy, with the process's own arguments where there are none.

    Raises:
        UserError: ROS cannot read the arguments, or a parameter file that they name.
    """
    check_parameter_files(sys.argv if arguments is None else arguments)
    prepare()
    with _refusals():
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)


def check_parameter_files(arguments: Sequence[str]) -> None:
    """See that the parameter files say each thing once; all else is for ROS to check.

    ROS merges a section that is given twice, and what stands where the person no longer looks is
    in force.

    Raises:
        UserError: A file gives something twice.
    """
    for flag, path in itertools.pairwise(arguments):
        if flag == "--params-file" and Path(path).is_file():
            refuse_repetitions(Path(path))


_REFUSALS = ("RCLError", "RCLInvalidROSArgsError", "UnknownROSArgsError")

_NO_NODE = "error creating node: "
"""How rcl begins where the middleware will not have a node, as for want of keys."""


@contextmanager
def _refusals(beginning: str = "") -> Iterator[None]:
    """Say why ROS refuses what it was given; all but what begins like this is passed on.

    Raises:
        UserError: It does.
    """
    try:
        yield
    except Exception as error:  # rclpy has no public name for what rcl raises
        if type(error).__name__ not in _REFUSALS or not str(error).startswith(beginning):
            raise
        # rcl names the places in its own sources too.
        reason = re.sub(r", at \S+\.c(pp)?:\d+", "", str(error))
        reason = reason.removeprefix("failed to initialize rcl: ").removeprefix(_NO_NODE)
        raise UserError(f"cannot start: {reason}") from None


class _Stop:
    """Turns a signal into a flag, and wakes the executor that waits for messages."""

    def __init__(self) -> None:
        self.requested = False
        self.wake: Callable[[], None] = lambda: None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._request)

    def ignore(self) -> None:
        """Ignore signals from now on: while Python is taken down they would end the process.

        Those that launch and the terminal send to a process that ends already are not a failure.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    def _request(self, number: int, frame: Any) -> None:
        self.requested = True
        self.wake()


def _say(node: Runnable | None, text: str) -> None:
    if node is None:
        print(f"error: {text}", file=sys.stderr)
    else:
        node.get_logger().fatal(text)
