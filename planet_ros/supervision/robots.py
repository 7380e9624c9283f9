"""A simulated robot and a controller in processes of their own, judged by the robot's topics."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from std_srvs.srv import SetBool

from planet_ros.errors import UserError
from planet_ros.ros.topics import EVERY_STEP
from planet_ros.ros.types import message_class
from planet_ros.supervision.evaluation import acting
from planet_ros.supervision.judges import Judge
from planet_ros.supervision.supervisor import Supervisor, planning_report, tick_ms

PAUSE_SERVICE = "robot/pause"
PROGRESS_LIMIT_S = 120.0
CHECK_PERIOD_S = 0.1


def evaluate_robot(
    supervisor: Supervisor,
    model: Path,
    judge: Judge,
    *,
    config: Path,
    seed: int,
    logs: Path,
) -> dict[str, Any]:
    """Let a simulated robot and a controller run; this process only listens.

    Args:
        supervisor: Of the same ROS domain.
        model: Folder of the bundle.
        judge: What is heard, and made of it.
        config: Parameter file of both nodes.
        seed: Of the robot and of the controller.
        logs: Folder for what the two print.

    Returns:
        What the judge says, and ``tick_ms`` of the controller.

    Raises:
        UserError: A node ends, refuses or does not answer in time, or nothing can be made of what
            the robot says.
    """
    simulate: Mapping[str, Any] = {
        "seed": seed,
        "robot.mode": "lock_step",
        "robot.start_paused": True,
        "robot.pause_every_steps": 0,
        **judge.simulation,
    }
    act = {"model": str(model.resolve()), "seed": seed, "controller.trigger": "observation"}
    with acting(
        supervisor, simulate, act, config=config, logs=logs, doing="evaluation", simulator="robot"
    ) as check_alive:
        listener = _Listener(supervisor, judge)
        try:
            resume = SetBool.Request(data=False)
            supervisor.call(SetBool, PAUSE_SERVICE, resume, PROGRESS_LIMIT_S, check_alive)
            while not listener.done:
                supervisor.spin_until(listener.news, PROGRESS_LIMIT_S, check_alive)
        except TimeoutError:
            raise UserError(
                f"nothing came of the robot's messages within {PROGRESS_LIMIT_S:g} s: {judge.text}"
            ) from None
        finally:
            listener.close()
    return {**judge.result(), "tick_ms": listener.tick_ms}


class _Listener:
    """Hands a robot's messages to a judge, and keeps what the controller says of its plans."""

    def __init__(self, supervisor: Supervisor, judge: Judge) -> None:
        self.tick_ms: dict[str, float] = {}
        self._node = supervisor.node
        self._judge = judge
        self._checked_s = time.monotonic()
        self._told = ""
        self._subscriptions = [
            self._node.create_subscription(
                message_class(type_name), topic, partial(self._on_message, topic), EVERY_STEP
            )
            for topic, type_name in judge.topics.items()
        ]
        self._subscriptions.append(
            self._node.create_subscription(
                DiagnosticArray, "/diagnostics", self._on_diagnostics, 10
            )
        )

    @property
    def done(self) -> bool:
        """Whether all is known."""
        return self._judge.done and bool(self.tick_ms)

    def news(self) -> bool | None:
        """True once there is more to tell, or all is known; None till then."""
        now_s = time.monotonic()
        if now_s - self._checked_s > CHECK_PERIOD_S:
            self._checked_s = now_s
            self._judge.check()
        told, self._told = self._told, self._judge.text
        return True if self._told != told or self.done else None

    def close(self) -> None:
        """Listen no more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _on_message(self, topic: str, message: Any) -> None:
        self._judge.take(topic, message, time.monotonic_ns())

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        report = planning_report(message)
        if report is not None:
            self.tick_ms = tick_ms(report)
