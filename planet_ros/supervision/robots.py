"""A simulated robot and a controller in processes of their own, judged by the robot's topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from std_srvs.srv import SetBool

from planet_ros.data import EpisodeBuilder
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.timeline import Timeline
from planet_ros.ros.topics import EVERY_STEP
from planet_ros.ros.types import make, message_class
from planet_ros.supervision.evaluation import acting
from planet_ros.supervision.supervisor import Record, Supervisor, planning_report, tick_ms

PAUSE_SERVICE = "robot/pause"
EPISODE_LIMIT_S = 120.0
CHECK_PERIOD_S = 0.1


def evaluate_robot(
    supervisor: Supervisor,
    model: Path,
    interface: Interface,
    *,
    config: Path,
    episodes: int,
    steps: int,
    seed: int,
    logs: Path,
    say: Callable[[str], None],
) -> Record:
    """Let a simulated robot and a controller run; this process only listens, as a learner would.

    Args:
        supervisor: Of the same ROS domain.
        model: Folder of the bundle.
        interface: Of the robot, with a reward that its topics are enough for.
        config: Parameter file of both nodes.
        episodes: How many; each begins from another state.
        steps: Of each.
        seed: Of the robot and of the controller.
        logs: Folder for what the two print.
        say: Takes a line for each episode.

    Raises:
        UserError: A node ends, refuses or does not answer in time, or no steps can be made of what
            the robot says.
    """
    simulate: Mapping[str, Any] = {
        "seed": seed,
        "robot.mode": "lock_step",
        "robot.start_paused": True,
        "robot.episode_s": steps * interface.period_s,
        "robot.pause_every_steps": 0,
    }
    act = {"model": str(model.resolve()), "seed": seed, "controller.trigger": "observation"}
    with acting(
        supervisor, simulate, act, config=config, logs=logs, doing="evaluation", simulator="robot"
    ) as check_alive:
        listener = _Listener(supervisor, interface, steps, episodes, say)
        try:
            resume = SetBool.Request(data=False)
            supervisor.call(SetBool, PAUSE_SERVICE, resume, EPISODE_LIMIT_S, check_alive)
            while not listener.done:
                supervisor.spin_until(listener.news, EPISODE_LIMIT_S, check_alive)
        except TimeoutError:
            raise UserError(
                f"{len(listener.record.returns)} of {episodes} episodes ended, the next did not "
                f"within {EPISODE_LIMIT_S:g} s; {listener.text}"
            ) from None
        finally:
            listener.close()
    return listener.record


class _Listener:
    """Makes steps of a robot's topics, and returns of steps."""

    def __init__(
        self,
        supervisor: Supervisor,
        interface: Interface,
        steps: int,
        episodes: int,
        say: Callable[[str], None],
    ) -> None:
        self.record = Record()
        self._node = supervisor.node
        self._steps, self._episodes, self._say = steps, episodes, say
        self._timeline = Timeline(interface, make, together=True)
        self._builder = EpisodeBuilder()
        self._checked_s = time.monotonic()
        self._told = 0
        self._subscriptions = [
            self._node.create_subscription(
                message_class(type_name), topic, partial(self._on_message, topic), EVERY_STEP
            )
            for topic, type_name in self._timeline.topics.items()
        ]
        self._subscriptions.append(
            self._node.create_subscription(
                DiagnosticArray, "/diagnostics", self._on_diagnostics, 10
            )
        )

    @property
    def done(self) -> bool:
        """Whether all is known."""
        return len(self.record.returns) >= self._episodes and bool(self.record.tick_ms)

    @property
    def text(self) -> str:
        """What came of the messages, for a person."""
        counters = self._timeline.counters
        cuts = dict(counters.cuts)
        return f"{counters.steps} steps of {counters.ticks} ticks, cuts {cuts}"

    def news(self) -> bool | None:
        """True once another episode has ended, or all is known; None till then."""
        now_s = time.monotonic()
        if now_s - self._checked_s > CHECK_PERIOD_S:
            self._checked_s = now_s
            self._timeline.check()
            self._take()
        told, self._told = self._told, len(self.record.returns)
        return True if self._told > told or self.done else None

    def close(self) -> None:
        """Listen no more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _on_message(self, topic: str, message: Any) -> None:
        self._timeline.take(topic, message, time.monotonic_ns())
        self._take()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        report = planning_report(message)
        if report is not None:
            self.record.tick_ms = tick_ms(report)

    def _take(self) -> None:
        for step in self._timeline.steps():
            self._builder.add(step)
            if len(self._builder) < self._steps:
                continue
            episode = self._builder.take()
            if episode is not None and len(self.record.returns) < self._episodes:
                self.record.returns.append(episode.total_reward)
                number = len(self.record.returns)
                self._say(f"episode {number}/{self._episodes}: {episode.total_reward:.1f}")
