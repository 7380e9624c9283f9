"""What all simulators behind topics share: whose turn it is, time, pauses, and who is silent.

```
lock-step   show state ──► command that bears its stamp, or none ──► a period passes ──► show …
            (shown again while nobody answers)
real time   period ──► newest command, or the safe one if that is too old ──► show state ──► …
```
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock as RosClock
from rclpy.clock import ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool, Trigger

from planet_ros.config import PacingSettings
from planet_ros.errors import UserError
from planet_ros.messages.fields import shortened, time_message
from planet_ros.ros.subscriptions import Source, crowd, subscribe
from planet_ros.ros.topics import NEWEST_RELIABLE, TRAINER
from planet_ros.ros.types import make

CROWD_PERIOD_S = 2.0


class SimulatorNode(Node, ABC):
    """Runs a simulation in lock-step with its commander, or in real time.

    In lock-step it shows a state and waits for one command that bears its stamp, or no stamp at
    all; what comes while none is awaited is passed over. The state is shown again while no command
    comes, so that neither a late joiner nor a lost message stops the run.

    A node makes its publishers first, then calls `_start` and, if it is not to wait, `_go_on`.

    Attributes:
        exit_code: With which the process is to end; None: not yet.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.exit_code: int | None = None
        self._paused = False
        self._single_step = False
        self._awaiting = False
        self._awaited_since_s = 0.0
        self._held: NDArray[np.floating] | None = None
        self._command: tuple[NDArray[np.floating], float] | None = None
        self._safe_now: NDArray[np.floating] | None = None

    # ── what a simulator is ──────────────────────────────────────────────────────────────────

    @property
    @abstractmethod
    def _time_ns(self) -> int:
        """Simulated time."""

    @property
    @abstractmethod
    def _shown_ns(self) -> int | None:
        """The stamp of the state that a command answers; None where there is none to answer."""

    @abstractmethod
    def _read(self, message: Any) -> tuple[NDArray[np.floating], int | None]:
        """The command of a message, and the stamp that it answers, if it says one.

        Raises:
            UserError: It is no command.
        """

    @abstractmethod
    def _take(self, command: NDArray[np.floating]) -> None:
        """Let a period pass under a command; set `_paused` where someone wants to think.

        Where it is to be seen before that, and answered, the state is shown with `_await`; the
        answer is then held until the simulation goes on.
        """

    @abstractmethod
    def _safe(self) -> NDArray[np.floating]:
        """The command for when those that come are too old."""

    @abstractmethod
    def _prepare(self) -> bool:
        """Begin anew where that is due; whether there is a state to be shown now."""

    @abstractmethod
    def _show(self) -> None:
        """Publish the state that waits for a command, and the clock after it.

        So that whoever wakes by the clock finds the state there.
        """

    @abstractmethod
    def _show_again(self) -> None:
        """Repeat it, for who has missed a part of it."""

    @abstractmethod
    def _begin_anew(self) -> str:
        """Start the simulation once more, as the service asks; what was done, for a person."""

    def _timeout_s(self) -> float:
        """Age in seconds of the wall clock up to which a command is in force in real time."""
        return self._pacing.command_timeout_s

    def _unread(self) -> str:
        """A topic that somebody has to read before it goes on; empty if there is none."""
        return ""

    # ── start ────────────────────────────────────────────────────────────────────────────────

    def _start(
        self,
        pacing: PacingSettings,
        pace: str,
        read_pace: Callable[[], float],
        period_s: float,
        command: tuple[str, str],
        numbers: int,
    ) -> None:
        """Make clock, commands, services and timers.

        Args:
            pacing: How it runs.
            pace: Name of the parameter that can change while it runs.
            read_pace: Gives its value now.
            period_s: Simulated seconds of a period.
            command: Topic and type of the commands.
            numbers: In a command.
        """
        self._pacing = pacing
        self._pace, self._read_pace = pace, read_pace
        self._period_s = period_s
        self._lock_step = pacing.mode == "lock_step"
        self._factor = pacing.real_time_factor
        self._clock_publisher = self.create_publisher(Clock, "/clock", NEWEST_RELIABLE)
        topic, type_name = command
        self._commands = Source(
            subscribe(
                self,
                type_name,
                topic,
                NEWEST_RELIABLE,
                take=self._on_command,
                drop=self._drop,
                numbers=lambda: numbers,
            ),
            type_name,
        )
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetBool, "~/pause", self._on_pause)
        self.create_service(Trigger, "~/single_step", self._on_single_step)
        steady = RosClock(clock_type=ClockType.STEADY_TIME)
        if self._lock_step:
            self.create_timer(pacing.command_timeout_s, self._on_silence, clock=steady)
        else:
            self._periods = self.create_timer(
                period_s / self._factor, self._on_period, clock=steady
            )
        self.create_timer(CROWD_PERIOD_S, self._warn_of_crowds, clock=steady)
        self.add_post_set_parameters_callback(self._on_parameters)

    def _warn_of_crowds(self) -> None:
        """Say where another simulation, or a second controller, is on the same topics."""
        found = crowd(self, [self._commands.subscription.topic_name], may_share=[TRAINER])
        found = found or crowd(self, self._own_topics())
        if found:
            self.get_logger().warn(found, throttle_duration_sec=10.0)

    @abstractmethod
    def _own_topics(self) -> Iterable[str]:
        """Topics on which nobody else should publish, with the names that they really have."""

    def _publish_clock(self) -> None:
        self._clock_publisher.publish(Clock(clock=time_message(make, self._time_ns)))

    # ── lock-step ────────────────────────────────────────────────────────────────────────────

    def _on_command(self, message: Any) -> None:
        try:
            values, stamp_ns = self._read(message)
        except UserError as error:
            self._drop(error)
            return
        self._commands.dropped = 0
        if not self._lock_step:
            self._command, self._safe_now = (values, time.monotonic()), None
            return
        shown_ns = self._shown_ns
        if not self._awaiting or shown_ns is None:
            return
        if stamp_ns is not None and stamp_ns != shown_ns:
            return
        self._awaiting = False
        if self._paused:
            self._held = values
        else:
            self._take_turn(values)

    def _drop(self, reason: UserError) -> None:
        self._commands.dropped += 1
        self._commands.reason = shortened(str(reason))
        self.get_logger().error(f"dropped a command: {reason}", throttle_duration_sec=2.0)

    def _on_silence(self) -> None:
        """Repeat the state that nobody has answered."""
        waited_s = time.monotonic() - self._awaited_since_s
        if not self._awaiting or waited_s < self._pacing.command_timeout_s:
            return
        self._show_again()
        self.get_logger().warn(
            f"no command for the observation of {waited_s:.1f} s ago: {self._commands.text(self)}",
            throttle_duration_sec=5.0,
        )

    # ── real time ────────────────────────────────────────────────────────────────────────────

    def _on_period(self) -> None:
        if not self._paused and self._shown_ns is not None:
            self._take_turn(self._in_force())

    def _in_force(self) -> NDArray[np.floating]:
        """The newest command; the safe one where that is too old."""
        if self._command is not None:
            held, received_s = self._command
            if time.monotonic() - received_s <= self._timeout_s():
                return held
            self.get_logger().warn(
                f"no command for {self._timeout_s():g} s: applying the safe one; "
                f"{self._commands.text(self)}",
                throttle_duration_sec=5.0,
            )
        if self._safe_now is None:
            # Once: where it is the place of a joint, it would else drift with that joint.
            self._safe_now = self._safe()
        return self._safe_now

    def _on_parameters(self, parameters: list[Parameter]) -> None:
        """Take up another pace."""
        if not any(parameter.name == self._pace for parameter in parameters):
            return
        if self._lock_step:
            self.get_logger().warn(f"{self._pace}: means something in the mode real_time alone")
            return
        self._factor = self._read_pace()
        self._periods.timer_period_ns = round(self._period_s / self._factor * 1e9)
        self.get_logger().info(f"{self._factor:g} simulated seconds for each second")

    # ── both ─────────────────────────────────────────────────────────────────────────────────

    def _take_turn(self, command: NDArray[np.floating]) -> None:
        self._take(command)
        if self._single_step:
            self._paused, self._single_step = True, False
        if not self._paused:
            self._go_on()

    def _go_on(self) -> None:
        """Show the state to whoever commands."""
        if self._unread():
            # Not yet matched over DDS: what was published now would be lost.
            self._paused = True
            return
        if not self._prepare():
            return
        self._await()

    def _await(self) -> None:
        """Show the state, and in lock-step wait for the command that answers it."""
        self._show()
        self._awaiting = self._lock_step
        self._awaited_since_s = time.monotonic()

    # ── services, with the meaning of simulation_interfaces ─────────────────────────────────

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._awaiting, self._held = False, None
        response.message = self._begin_anew()
        if not self._paused:
            self._go_on()
        response.success = True
        return response

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._single_step = False
        if request.data:
            self._paused, self._awaiting, self._held = True, False, None
            response.success, response.message = True, "paused"
            return response
        if self._paused:
            self._resume()
        response.success = not self._paused
        response.message = "running" if response.success else self._nobody_reads()
        return response

    def _resume(self) -> None:
        """Go on with the state that was shown last once more, or with a new beginning.

        Where it was answered meanwhile, with that.
        """
        self._paused = False
        held, self._held = self._held, None
        if held is not None:
            self._take_turn(held)
        else:
            self._go_on()

    def _nobody_reads(self) -> str:
        return f"nobody reads '{self._unread()}' yet; try again"

    def _on_single_step(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        response.success = self._paused
        if not self._paused:
            response.message = "pause first"
            return response
        self._single_step = True
        self._resume()
        if self._paused and self._single_step:  # nobody reads what it has to say
            self._single_step = response.success = False
        response.message = (
            "one step, as soon as a command comes" if response.success else self._nobody_reads()
        )
        return response
