"""What a robot is sent when a process ends at a random moment: the safe command, it should be.

A simulated robot in real time and, one after the other, a controller that acts by the robot's
interface and a trainer that explores it, all in processes of their own. One of them at a time is
ended by a signal at a random moment and started again, over and over; this process only listens to
the commands and to the robot's sensors. The last line is one JSON object.

    python benchmarks/robot_kills.py --model runs/base/model --robot base
    python benchmarks/robot_kills.py --model runs/pendulum/model --robot pendulum --kills 50

What is measured, and its limit:

- the robot ends: from its last message to the first safe command of the controller, within the
  limit of age and a period;
- the controller or the trainer ends: from the signal to its first safe command, within the same;
- they end by SIGKILL, so that nobody sends anything: from the last command until the robot is at
  rest, within its own command timeout, three periods and the time that it brakes.

With --udp nodes share no memory; without, a listener that is killed may hold up who publishes to it
for some seconds (docs/performance.md), and the robot stops as much later.

Where commands may change only so fast, the first safe command is the first of those that lead to
rest as fast as they may.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.config import ControllerSettings, RobotSettings
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.files import interface_text
from planet_ros.interface.paths import parse_path
from planet_ros.interface.writing import ActionWriter
from planet_ros.ros.topics import EACH
from planet_ros.ros.types import make, message_class
from planet_ros.supervision.processes import NodeProcess, own_domain
from planet_ros.supervision.supervisor import Supervisor

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STALE_S = ControllerSettings().stale_timeout_s
TIMEOUT_S = RobotSettings().command_timeout_s
ON_ITS_WAY_S = 0.02
"""For a message, and for who wakes up late on a machine that does other things: in every limit."""

PATIENCE_S, LATEST_S = 60.0, 5.0

MOVEMENT = {
    "pendulum": ("joint_states", ["effort[hinge]"]),
    "base": ("odom", ["twist.twist.linear.x", "twist.twist.angular.z"]),
}
"""Where a robot without noise says what it does: all zeros at rest."""


class Watch:
    """Listens to a robot's commands and to what it does."""

    def __init__(self, supervisor: Supervisor, interface: Interface, robot: str) -> None:
        self._supervisor = supervisor
        self._writer = ActionWriter(interface.action, make)
        parts = self._writer.signature_parts
        self._safe = np.array(self._writer.safe.constant, np.float64)
        rates = np.array([np.inf if one.max_rate is None else one.max_rate for one in parts])
        self._rates, self.period_s = rates, interface.period_s
        self._newest = np.full(len(parts), np.nan)
        self.commands: list[tuple[float, NDArray[np.float64]]] = []
        self.states: list[float] = []
        self.movements: list[tuple[float, bool]] = []
        node = supervisor.node
        for part in interface.action:
            take = partial(self._on_command, part.topic)
            node.create_subscription(message_class(part.type), part.topic, take, EACH)
        topic, texts = MOVEMENT[robot]
        self._paths = [parse_path(text) for text in texts]
        kinds = {part.topic: part.type for part in interface.observation}
        kind = message_class(kinds[topic])
        node.create_subscription(kind, topic, self._on_state, EACH)
        if interface.goal is not None:
            goal = message_class(interface.goal.type)
            goals = node.create_publisher(goal, interface.goal.topic, 1)
            node.create_timer(0.2, lambda: goals.publish(goal()))

    def spin(self, seconds: float) -> None:
        """Listen for so long."""
        until_s = time.monotonic() + seconds
        self._supervisor.spin_until(lambda: time.monotonic() > until_s or None)

    def came(self, when: Callable[[], float | None], seconds: float) -> float | None:
        """Listen for so long, and longer for what has not come yet; give when it came."""
        self.spin(seconds)
        try:
            return self._supervisor.spin_until(when, LATEST_S)
        except TimeoutError:
            return None

    def until_driven(self, check_alive: Callable[[], None]) -> None:
        """Listen until somebody commands something else than what is safe, and the robot is there.

        Raises:
            UserError: Nobody does.
        """
        began_s = time.monotonic()

        def driven() -> bool | None:
            if not self.commands or not self.states or self.states[-1] < began_s:
                return None
            return (self.commands[-1][0] > began_s and self.first_safe_s() is None) or None

        try:
            self._supervisor.spin_until(driven, PATIENCE_S, check_alive)
        except TimeoutError:
            raise UserError(f"nobody drove the robot within {PATIENCE_S:g} s") from None

    def first_safe_s(self) -> float | None:
        """When the safe command came that all others since have gone on with; None: not yet."""
        found = None
        for index in range(len(self.commands) - 1, 0, -1):
            at_s, command = self.commands[index]
            before = self.commands[index - 1][1]
            most = self._rates * self.period_s
            led = before + np.clip(self._safe - before, -most, most)
            if not any(np.allclose(command, one, atol=1e-5) for one in (led, self._safe)):
                break
            found = at_s
        return found

    def braking_s(self) -> float:
        """Seconds from the last command to the safe one at the greatest rate, in whole periods."""
        seconds = float(np.max(np.abs(self.commands[-1][1] - self._safe) / self._rates))
        return math.ceil(seconds / self.period_s - 1e-6) * self.period_s

    def rest_s(self) -> float | None:
        """Since when the robot has not moved by itself; None: it does."""
        moving = [at_s for at_s, moves in self.movements if moves]
        later = [at_s for at_s, _ in self.movements if not moving or at_s > moving[-1]]
        return later[0] if later else None

    def text(self) -> str:
        """The newest commands and movements, to find out why something came late."""
        last_s = self.commands[-1][0]
        commands = [(round(at_s - last_s, 3), one.tolist()) for at_s, one in self.commands[-30:]]
        movements = [(round(at_s - last_s, 3), moves) for at_s, moves in self.movements[-30:]]
        return f"commands {commands}; messages of the robot, and whether it moves {movements}"

    def _on_command(self, topic: str, message: Any) -> None:
        indices, values, _ = self._writer.read(topic, message)
        self._newest[indices] = values
        self.commands.append((time.monotonic(), self._newest.copy()))

    def _on_state(self, message: Any) -> None:
        now_s = time.monotonic()
        self.states.append(now_s)
        moves = any(abs(path.read(message)[0]) > 1e-9 for path in self._paths)
        self.movements.append((now_s, moves))


@dataclass
class Nodes:
    """How the processes are started."""

    robot: str
    model: Path
    interface: Path
    logs: Path
    runs: int = field(default=0)

    def start(self, name: str, supervisor: Supervisor) -> NodeProcess:
        """Start one; a controller is active then."""
        self.runs += 1
        parameters: dict[str, dict[str, Any]] = {
            "robot": {"robot.name": self.robot, "robot.mode": "real_time", "robot.noise": 0.0},
            "controller": {"model": str(self.model)},
            "trainer": {
                "interface": str(self.interface),
                "training.collect": "random",
                "training.steps": 1_000_000,
                "training.random_steps": 900_000,
                "training.update_every_steps": 1_000_000,
                "training.output": str(self.logs / f"run{self.runs}"),
            },
        }
        node = NodeProcess(name, parameters[name], log=self.logs / f"{name}.log")
        if name == "controller":
            try:
                supervisor.activate("controller", while_alive=node.check_alive)
            except BaseException:
                node.end(signal.SIGKILL)
                raise
        return node


@contextmanager
def running(nodes: Nodes, name: str, supervisor: Supervisor) -> Iterator[NodeProcess]:
    """A node that outlives the block by no more than its end."""
    with nodes.start(name, supervisor) as node:
        yield node


# ── who ends ─────────────────────────────────────────────────────────────────────────────────


def robot_ends(watch: Watch, process: NodeProcess, number: int) -> tuple[float | None, float]:
    """Seconds from the robot's last message to the first safe command, and the limit."""
    process.send(number)
    safe_s = watch.came(watch.first_safe_s, STALE_S + 0.3 + watch.braking_s())
    limit_s = STALE_S + watch.period_s
    return (None if safe_s is None else safe_s - watch.states[-1]), limit_s


def driver_ends(watch: Watch, process: NodeProcess, number: int) -> tuple[float | None, float]:
    """Likewise, from the signal; by SIGKILL, from the last command until the robot is at rest."""
    sent_s = time.monotonic()
    process.send(number)
    if number == signal.SIGKILL:
        braking_s = watch.braking_s()
        rest_s = watch.came(watch.rest_s, TIMEOUT_S + 0.5 + braking_s)
        # A command acts in the period after it came, and what that did is said at its end.
        limit_s = TIMEOUT_S + 3 * watch.period_s + braking_s
        return (None if rest_s is None else rest_s - watch.commands[-1][0]), limit_s
    safe_s = watch.came(watch.first_safe_s, 0.5)
    # By chance it may have been on its way there already.
    return (None if safe_s is None else max(0.0, safe_s - sent_s)), STALE_S + watch.period_s


@dataclass
class Row:
    """What came of one signal to one process: seconds, None where it never came."""

    seconds: list[float | None] = field(default_factory=list)
    late: int = 0
    limit_s: float = 0.0

    def add(self, seconds: float | None, limit_s: float) -> bool:
        """Count another one; give whether it came late."""
        self.seconds.append(seconds)
        self.limit_s = max(self.limit_s, limit_s)
        late = seconds is None or seconds > limit_s + ON_ITS_WAY_S
        self.late += late
        return late

    def values(self) -> dict[str, Any]:
        """For the table."""
        known = [one for one in self.seconds if one is not None]
        return {
            "kills": len(self.seconds),
            "p50_ms": round(1e3 * float(np.median(known)), 1) if known else None,
            "max_ms": round(1e3 * max(known), 1) if known else None,
            "limit_ms": round(1e3 * self.limit_s),
            "late": self.late,
        }


def measure(options: argparse.Namespace, bundle: Bundle, logs: Path) -> dict[str, Any]:
    interface = bundle.manifest.interface
    if interface is None:
        raise UserError(f"{options.model}: found no interface, expected a bundle of a robot")
    document = logs / "robot.yaml"
    document.write_text(interface_text(interface), encoding="utf-8")
    nodes = Nodes(options.robot, options.model.resolve(), document, logs)
    rng = np.random.default_rng(options.seed)
    rows: dict[str, Row] = {}
    with Supervisor() as supervisor:
        watch = Watch(supervisor, interface, options.robot)
        for victim, others in (
            ("robot", ["controller"]),
            ("controller", ["robot"]),
            ("trainer", ["robot"]),
        ):
            if options.only not in ("", victim):
                continue
            with ExitStack() as stack:
                stay = [stack.enter_context(running(nodes, one, supervisor)) for one in others]
                for number in [
                    one for one in SIGNALS[: options.signals] for _ in range(options.kills)
                ]:
                    process = nodes.start(victim, supervisor)
                    try:
                        watch.until_driven(partial(all_alive, [*stay, process]))
                        watch.spin(rng.uniform(0, 0.5))
                        ends = robot_ends if victim == "robot" else driver_ends
                        seconds, limit_s = ends(watch, process, number)
                    finally:
                        process.end(signal.SIGKILL)
                    row = rows.setdefault(f"{victim} {signal.Signals(number).name}", Row())
                    late = row.add(seconds, limit_s)
                    say(f"{victim} {signal.Signals(number).name}: {seconds} s of {limit_s:.3f} s")
                    if late:
                        say(f"late: {watch.text()}")
                    for seen in (watch.commands, watch.states, watch.movements):
                        del seen[:]
    return {
        "robot": options.robot,
        "kills": sum(len(row.seconds) for row in rows.values()),
        "late": sum(row.late for row in rows.values()),
        "by_signal": {name: row.values() for name, row in rows.items()},
        "load": round(os.getloadavg()[0], 1),
    }


def all_alive(processes: list[NodeProcess]) -> None:
    for process in processes:
        process.check_alive()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    options = _options()
    with own_domain(options.domain) as domain, tempfile.TemporaryDirectory() as logs:
        os.environ.update(domain)
        if options.udp:
            os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SUBNET"
        try:
            result = measure(options, load_bundle(options.model), Path(logs))
        except (UserError, TimeoutError) as error:
            for log in sorted(Path(logs).glob("*.log")):
                say(f"--- {log.name}\n{log.read_text(errors='replace')}")
            say(f"error: {error}")
            return 1
    print("| ends by | kills | p50 ms | max ms | limit ms | late |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, row in result["by_signal"].items():
        print(f"| {name} | " + " | ".join(str(value) for value in row.values()) + " |")
    print(json.dumps(result))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of the robot's bundle")
    parser.add_argument("--robot", choices=MOVEMENT, required=True, help="which one it is of")
    parser.add_argument("--kills", type=int, default=20, help="by each signal (default: 20)")
    parser.add_argument("--only", choices=["robot", "controller", "trainer"], default="")
    parser.add_argument(
        "--signals", type=int, default=3, help="how many of SIGKILL, SIGTERM and SIGINT"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument(
        "--udp",
        action="store_true",
        help="discover the whole subnet, as robots do: then nodes share no memory",
    )
    parser.add_argument("--domain", type=int, help="ROS_DOMAIN_ID (default: any)")
    options = parser.parse_args()
    if options.kills < 1:
        parser.error(f"--kills: found {options.kills}, expected at least 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
