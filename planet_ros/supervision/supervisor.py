"""What ROS's launch and a recorder would do: transitions, and counting returns."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import GetParameterTypes
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool

from planet_ros.data import EpisodeBuilder
from planet_ros.errors import UserError
from planet_ros.messages.steps import read_step
from planet_ros.ros.topics import EVERY_STEP, STEP_TOPIC

T = TypeVar("T")
PROBE_PERIOD_S = 0.5
"""A question that was not answered is asked again after this time."""


@dataclass
class Record:
    """What was seen of an evaluation."""

    returns: list[float] = field(default_factory=list)
    tick_ms: dict[str, float] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def worst(self) -> float:
        """Least return."""
        return min(self.returns)


def planning_report(message: DiagnosticArray) -> dict[str, str] | None:
    """What a controller that has planned says of itself in its diagnostics; None: another node."""
    for status in message.status:
        values = {item.key: item.value for item in status.values}
        if "planning_p50_ms" in values:
            return values
    return None


def tick_ms(report: dict[str, str]) -> dict[str, float]:
    """Milliseconds of the newest plans, from a controller's report: ``p50``, ``p99``, ``max``."""
    return {name: float(report[f"planning_{name}_ms"]) for name in ("p50", "p99", "max")}


class Supervisor:
    """A node of this process that drives and watches the others.

    Attributes:
        node: The node, for subscriptions of the caller.
    """

    def __enter__(self) -> Supervisor:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("supervisor")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def spin_until(
        self,
        ready: Callable[[], T | None],
        timeout_s: float | None = None,
        while_alive: Callable[[], None] = lambda: None,
    ) -> T:
        """Spin until `ready` gives something else than None, and give that.

        `while_alive` raises when there is nothing to wait for any more.

        Raises:
            TimeoutError: It takes longer than `timeout_s`.
        """
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while (result := ready()) is None:
            while_alive()
            if until_s is not None and time.monotonic() > until_s:
                raise TimeoutError
            self._executor.spin_once(timeout_sec=0.1)
        return result

    def call(
        self,
        service_type: Any,
        name: str,
        request: Any,
        timeout_s: float | None = None,
        while_alive: Callable[[], None] = lambda: None,
    ) -> Any:
        """Call the service `node/service` once, and give its response.

        Raises:
            TimeoutError: The node is not there, or does not answer, within `timeout_s`.
        """
        client = self.node.create_client(service_type, name)
        try:
            self.spin_until(lambda: client.service_is_ready() or None, timeout_s, while_alive)
            self.wait_until_known(name.rpartition("/")[0], timeout_s, while_alive)
            return self.spin_until(client.call_async(request).result, timeout_s, while_alive)
        finally:
            self.node.destroy_client(client)

    def wait_until_known(
        self,
        node_name: str,
        timeout_s: float | None = None,
        while_alive: Callable[[], None] = lambda: None,
    ) -> None:
        """Spin until another node has discovered all clients and publishers that are here now.

        Before that it drops its answers to a client (ros2/rmw_fastrtps#842), and does not get what
        is published. It discovers what is here in the order of creation: so once it has answered
        a client that is made last, whose question can be repeated, it knows the others.

        Raises:
            TimeoutError: It takes longer than `timeout_s`.
        """
        client = self.node.create_client(GetParameterTypes, f"{node_name}/get_parameter_types")
        answers: list[Any] = []

        def ask() -> None:
            client.call_async(GetParameterTypes.Request()).add_done_callback(answers.append)

        asking = self.node.create_timer(PROBE_PERIOD_S, ask)
        try:
            self.spin_until(lambda: client.service_is_ready() or None, timeout_s, while_alive)
            ask()
            self.spin_until(lambda: answers or None, timeout_s, while_alive)
        finally:
            self.node.destroy_timer(asking)
            self.node.destroy_client(client)

    def activate(
        self, name: str, *, while_alive: Callable[[], None] = lambda: None, timeout_s: float = 60.0
    ) -> None:
        """Configure and activate a lifecycle node.

        Raises:
            UserError: It refuses, or is not there in time.
        """
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            try:
                response = self.call(
                    ChangeState,
                    f"{name}/change_state",
                    ChangeState.Request(transition=Transition(id=transition)),
                    timeout_s,
                    while_alive,
                )
            except TimeoutError:
                raise UserError(f"{name} did not answer within {timeout_s:g} s") from None
            if not response.success:
                raise UserError(f"{name} refuses transition {transition}; its log says why")

    def record_episodes(
        self,
        episodes: int,
        *,
        say: Callable[[str], None],
        timeout_s: float = 120.0,
        while_alive: Callable[[], None] = lambda: None,
    ) -> Record:
        """Let a waiting bridge run whole episodes, and give their returns.

        Raises:
            UserError: An episode does not end in `timeout_s`, or `while_alive` raises it.
        """
        record, builder = Record(), EpisodeBuilder()

        def on_step(message: Float64MultiArray) -> None:
            episode = builder.add(read_step(message))
            if episode is not None:
                record.returns.append(episode.total_reward)
                say(f"episode {len(record.returns)}/{episodes}: {episode.total_reward:.1f}")

        def on_diagnostics(message: DiagnosticArray) -> None:
            report = planning_report(message)
            if report is not None:
                record.tick_ms = tick_ms(report)

        steps = self.node.create_subscription(Float64MultiArray, STEP_TOPIC, on_step, EVERY_STEP)
        diagnostics = self.node.create_subscription(
            DiagnosticArray, "/diagnostics", on_diagnostics, 10
        )
        try:
            for number in range(1, episodes + 1):
                self._resume(timeout_s, while_alive)
                self.spin_until(
                    lambda: len(record.returns) >= number or None,  # noqa: B023
                    timeout_s,
                    while_alive,
                )
            self.spin_until(lambda: record.tick_ms or None, timeout_s, while_alive)
        except TimeoutError:
            raise UserError(
                f"{len(record.returns)} of {episodes} episodes ended, the next did not within "
                f"{timeout_s:g} s"
            ) from None
        finally:
            self.node.destroy_subscription(steps)
            self.node.destroy_subscription(diagnostics)
        return record

    def _resume(self, timeout_s: float, while_alive: Callable[[], None]) -> None:
        """Call until the bridge says that it runs: it does not while its steps would be lost."""
        until_s = time.monotonic() + timeout_s
        run = SetBool.Request(data=False)
        while not self.call(SetBool, "gym_bridge/pause", run, timeout_s, while_alive).success:
            if time.monotonic() > until_s:
                raise TimeoutError
            self._executor.spin_once(timeout_sec=0.1)
