"""What damaged and oversized messages do to the nodes: nothing, it should be.

A controller that acts at 50 Hz on a simulation in real time, and one domain further a trainer and
another simulation, all in processes of their own. One more sends damaged messages to every
subscription of controller, trainer and the second simulation; this one only listens to the
commands. The last line is one JSON object.

    python benchmarks/damage.py --model runs/demo/model
    python benchmarks/damage.py --model runs/demo/model --messages 1000
    python benchmarks/damage.py --model runs/demo/model --oversized

With ``--oversized`` the controller alone gets a few messages of enormous sizes. A node that does
nothing but listen to the same topics, with callbacks that are empty, gets them before: what the
longest gap between its commands is, and what it keeps in memory, is the middleware's own doing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import struct
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float64MultiArray, MultiArrayDimension, String

from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.config import find_config
from planet_ros.data import Signature, Step
from planet_ros.errors import UserError
from planet_ros.messages.announcements import Announcement
from planet_ros.messages.images import IMAGE_TYPE, image_message
from planet_ros.messages.sizes import TEXT_TYPE
from planet_ros.messages.steps import step_message
from planet_ros.messages.vectors import VECTOR_TYPE, read_vector, vector_message, vector_of
from planet_ros.ros.subscriptions import decoded
from planet_ros.ros.topics import (
    COMMAND_TOPIC,
    EVERY_STEP,
    LATCHED,
    MODEL_IN_USE_TOPIC,
    MODEL_TOPIC,
    NEWEST,
    NEWEST_RELIABLE,
    OBSERVATION_TOPIC,
    STEP_TOPIC,
)
from planet_ros.ros.types import make, message_class
from planet_ros.supervision.parameters import simulation_of
from planet_ros.supervision.processes import NodeProcess, own_domain
from planet_ros.supervision.supervisor import Supervisor

RATE_HZ = 50.0
WATCH_S = 4.0
"""Before the attack, and after each oversized message."""

KEPT_RATE = 0.9
"""Of the rate before the attack: sender, nodes and listener share the machine's processors."""

TARGET_BEYOND_MS, TARGET_MEMORY_MB = 100.0, 5.0

OVERSIZED: dict[str, tuple[str, Callable[[], Any]]] = {
    "1e6 numbers": (
        OBSERVATION_TOPIC,
        lambda: Float64MultiArray(data=array("d", bytes(8 * 10**6))),
    ),
    "1e5 dimensions": (OBSERVATION_TOPIC, lambda: _with_layout([_dimension("x")] * 10**5)),
    "label of 10 MB": (OBSERVATION_TOPIC, lambda: _with_layout([_dimension("x" * 10**7)])),
    "string of 10 MB": (MODEL_TOPIC, lambda: String(data="x" * 10**7)),
    "string of 100 MB": (MODEL_TOPIC, lambda: String(data="x" * 10**8)),
}
SENDINGS = 3
"""Of each oversized message: one of this size is often lost on its way where nobody repeats it."""


def _dimension(label: str) -> MultiArrayDimension:
    return MultiArrayDimension(label=label, size=1, stride=1)


def _with_layout(dimensions: list[MultiArrayDimension]) -> Float64MultiArray:
    message = Float64MultiArray(data=array("d", [0.0]))
    message.layout.dim = dimensions
    return message


# ── who sends ────────────────────────────────────────────────────────────────────────────────


def samples(signature: Signature) -> dict[str, tuple[str, Any, list[bytes]]]:
    """Type, quality of service and whole messages of each topic that somebody listens to."""
    observation = signature.zeros()
    step = Step(1, observation, signature.middle, -1.0, False, False, 10**9)
    announcement = String(data=Announcement(Path("/nowhere/model"), "0" * 64).to_text())
    vectors = [
        vector_message(make, "observation", vector_of(observation), 10**9, episode=0, index=index)
        for index in (0, 7)
    ]
    commands = [vector_message(make, "action", signature.middle, 10**9)]
    messages: dict[str, tuple[str, Any, list[Any]]] = {
        OBSERVATION_TOPIC: (VECTOR_TYPE, NEWEST_RELIABLE, vectors),
        COMMAND_TOPIC: (VECTOR_TYPE, NEWEST_RELIABLE, commands),
        STEP_TOPIC: (VECTOR_TYPE, EVERY_STEP, [step_message(make, step)]),
        MODEL_TOPIC: (TEXT_TYPE, LATCHED, [announcement]),
        MODEL_IN_USE_TOPIC: (TEXT_TYPE, LATCHED, [announcement]),
        **{
            name: (IMAGE_TYPE, NEWEST, [image_message(make, observation[name], 10**9)])
            for name in signature.images
        },
    }
    return {
        name: (kind, qos, [serialize_message(one) for one in whole])
        for name, (kind, qos, whole) in messages.items()
    }


_NUMBERS = (float("nan"), float("inf"), -float("inf"), 1e300, -1e39, 1e-320, 2.0**63, -1.0, 0.5)


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """A message with something wrong: bytes, sizes, numbers or its end."""
    data = bytearray(whole)
    for _ in range(rng.randint(1, 4)):
        way = rng.randrange(7)
        at = rng.randrange(len(data)) if data else 0
        if way == 0 and data:
            data[at] = rng.randrange(256)
        elif way == 1:
            del data[at:]
        elif way == 2:
            data += rng.randbytes(rng.randint(1, 4000))
        elif way == 3 and len(data) >= 8:
            at = len(data) - 8 * rng.randint(1, min(6, len(data) // 8))
            data[at : at + 8] = struct.pack("<d", rng.choice(_NUMBERS))
        elif way == 4 and len(data) > 8:
            at = rng.randrange(4, len(data) - 3) & ~3
            data[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 2**16, 2**31, 2**32 - 1)))
        elif way == 5:
            data[at:at] = rng.randbytes(rng.randint(1, 64))
        else:
            data[4:] = rng.randbytes(rng.randint(0, 300))
    return bytes(data)


def believable(data: bytes, signature: Signature) -> bool:
    """Whether a damaged observation can still be read: then it is a lie, such as a jump of time."""
    try:
        read_vector(decoded(VECTOR_TYPE, data, signature.vector_size), signature.vector_size)
    except UserError:
        return False
    return True


def attack(
    connection: Connection,
    signature: Signature,
    seed: int,
    targets: dict[int, tuple[str, ...]],
    lies: bool,
) -> None:
    """Send what is asked for, in a process of its own.

    Args:
        connection: Gives ``("damaged", count)`` or ``("oversized", name)``, and gets how many
            messages were sent; None ends it.
        signature: Of the messages that are damaged.
        seed: Of the damage.
        targets: Topics of each ROS domain that somebody there listens to.
        lies: Whether observations that can be read in spite of their damage are sent too.
    """
    rng, topics = random.Random(seed), samples(signature)
    heard: list[tuple[str, Any]] = []
    first: dict[str, Any] = {}
    for domain, names in targets.items():
        context = Context()
        rclpy.init(
            args=[],
            context=context,
            domain_id=domain,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        node = rclpy.create_node(f"attacker_{domain}", context=context)
        for name in names:
            kind, qos, _ = topics[name]
            publisher = node.create_publisher(message_class(kind), name, qos)
            first.setdefault(name, publisher)
            heard.append((name, publisher))
    while not all(publisher.get_subscription_count() for _, publisher in heard):
        time.sleep(0.1)
    connection.send([publisher.topic_name for _, publisher in heard])
    while (request := connection.recv()) is not None:
        what, argument = request
        if what == "damaged":
            for _ in range(argument):
                name, publisher = rng.choice(heard)
                data = damaged(rng.choice(topics[name][2]), rng)
                while name == OBSERVATION_TOPIC and not lies and believable(data, signature):
                    data = damaged(rng.choice(topics[name][2]), rng)
                publisher.publish(data)
                time.sleep(0.0005)
            connection.send(argument)
        else:
            topic, build = OVERSIZED[argument]
            message = serialize_message(build())
            connection.send("ready")
            connection.recv()
            first[topic].publish(message)
            connection.send(len(message))


@contextmanager
def attacker(
    signature: Signature, seed: int, targets: dict[int, tuple[str, ...]], lies: bool = False
) -> Iterator[Connection]:
    """The attack's process, ended with the block; it says first that all topics are heard."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(
        target=attack, args=(there, signature, seed, targets, lies), daemon=True
    )
    process.start()
    try:
        yield here
    finally:
        here.send(None)
        process.join(5)
        process.kill()


def idle(domain: int, actions: int) -> None:
    """A node that commands at the same rate and does nothing with what it hears."""
    context = Context()
    rclpy.init(
        args=[], context=context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO
    )
    node = rclpy.create_node("idle", context=context)
    publisher = node.create_publisher(Float64MultiArray, COMMAND_TOPIC, NEWEST_RELIABLE)
    command = Float64MultiArray(data=array("d", [0.0] * actions))
    node.create_subscription(Float64MultiArray, OBSERVATION_TOPIC, lambda message: None, NEWEST)
    node.create_subscription(String, MODEL_TOPIC, lambda message: None, LATCHED)
    node.create_timer(1 / RATE_HZ, lambda: publisher.publish(command))
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    executor.spin()


# ── who listens ──────────────────────────────────────────────────────────────────────────────


class Watch:
    """Sees every command, and when it came."""

    def __init__(self, supervisor: Supervisor, signature: Signature) -> None:
        self._supervisor = supervisor
        self._signature = signature
        self.arrivals: list[float] = []
        self.unsafe: list[str] = []
        supervisor.node.create_subscription(
            Float64MultiArray, COMMAND_TOPIC, self._on_command, EVERY_STEP
        )

    def _on_command(self, message: Float64MultiArray) -> None:
        self.arrivals.append(time.monotonic())
        action, low, high = np.array(message.data), self._signature.low, self._signature.high
        if action.shape != low.shape or not ((action >= low) & (action <= high)).all():
            self.unsafe.append(str(message.data)[:200])

    def until(self, ready: Callable[[], Any], timeout_s: float = 60.0) -> None:
        """Listen until something is true."""
        self._supervisor.spin_until(lambda: ready() or None, timeout_s)

    def listen(self, seconds: float) -> None:
        """Listen for so long."""
        until_s = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > until_s, seconds + 60)

    def gaps_ms(self, since_s: float) -> Any:
        """Between the commands since then, the one that lasts included."""
        times = [one for one in self.arrivals if one >= since_s]
        return np.diff([since_s, *times, time.monotonic()]) * 1e3


def resident_mb(pid: int) -> float:
    """Memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


# ── the two attacks ──────────────────────────────────────────────────────────────────────────


def attack_with_damage(options: argparse.Namespace, bundle: Bundle, logs: Path) -> dict[str, Any]:
    signature, domain = bundle.manifest.signature, int(os.environ["ROS_DOMAIN_ID"])
    simulate = simulation_of(bundle, options.allow_python)
    real_time = {
        "bridge.mode": "real_time",
        "bridge.real_time_factor": RATE_HZ * signature.period_s,
    }
    learn = {
        **simulate,
        "training.output": str(logs / "run"),
        "training.random_steps": 10**6,
        "training.steps": 2 * 10**6,
    }
    act = {"model": str(options.model.resolve()), "controller.rate_hz": RATE_HZ}
    config = find_config("pendulum.yaml") if not options.allow_python else None
    bridge = {**simulate, **real_time}
    # Commands in the first domain are the controller's alone, whatever is sent to the others.
    away = {"ROS_DOMAIN_ID": str(domain + 1)}
    started = {
        "source": ("gym_bridge", bridge, None),
        "controller": ("controller", act, None),
        "gym_bridge": ("gym_bridge", bridge, away),
        "trainer": ("trainer", learn, away),
    }
    images = tuple(signature.images)
    targets = {
        domain: (OBSERVATION_TOPIC, MODEL_TOPIC, *images),
        domain + 1: (COMMAND_TOPIC, STEP_TOPIC, OBSERVATION_TOPIC, MODEL_IN_USE_TOPIC, *images),
    }
    with Supervisor() as supervisor:
        nodes = {
            name: NodeProcess(
                kind, parameters, config=config, log=logs / f"{name}.log", environment=environment
            )
            for name, (kind, parameters, environment) in started.items()
        }
        try:
            supervisor.activate("controller", while_alive=nodes["controller"].check_alive)
            watch = Watch(supervisor, signature)
            watch.until(lambda: len(watch.arrivals) > RATE_HZ)
            with attacker(signature, options.seed, targets, options.lies) as connection:
                watch.until(connection.poll)
                topics = connection.recv()
                began_s = time.monotonic()
                watch.listen(WATCH_S)
                quiet = watch.gaps_ms(began_s)
                memory = []
                began_s, tenth = time.monotonic(), max(1, options.messages // 10)
                for _ in range(10):
                    connection.send(("damaged", tenth))
                    watch.until(connection.poll, 600)
                    connection.recv()
                    memory.append({name: resident_mb(node.pid) for name, node in nodes.items()})
                seconds = time.monotonic() - began_s
                attacked = watch.gaps_ms(began_s)
            watch.listen(1.0)
            ended = {name: node.poll() for name, node in nodes.items() if node.poll() is not None}
            drops = {name: node.output.count("dropped") for name, node in nodes.items()}
        finally:
            codes = {name: node.end() for name, node in nodes.items()}
    rate_hz, before_hz = (1e3 * len(gaps) / float(gaps.sum()) for gaps in (attacked, quiet))
    grown = {name: round(memory[-1][name] - memory[2][name], 1) for name in nodes}
    return {
        "messages": 10 * tenth,
        "topics": topics,
        "seconds": round(seconds, 1),
        "ended": ended,
        "codes": codes,
        "warnings_of_drops": drops,
        "commands": len(watch.arrivals),
        "unsafe": len(watch.unsafe),
        "rate_hz": round(rate_hz, 2),
        "rate_hz_before": round(before_hz, 2),
        "gap_ms": _gaps(attacked),
        "gap_ms_before": _gaps(quiet),
        "memory_mb": {name: round(value, 1) for name, value in memory[-1].items()},
        "memory_grown_mb": grown,
        "ok": not ended
        and not watch.unsafe
        and not any(codes.values())
        and (options.lies or rate_hz > KEPT_RATE * before_hz)
        and max(grown.values()) <= TARGET_MEMORY_MB,
    }


def _gaps(gaps: Any) -> dict[str, float]:
    p50, p99 = np.percentile(gaps, [50, 99])
    return {
        name: round(float(value), 1)
        for name, value in (("p50", p50), ("p99", p99), ("max", gaps.max()))
    }


def attack_with_size(options: argparse.Namespace, bundle: Bundle, logs: Path) -> dict[str, Any]:
    signature, domain = bundle.manifest.signature, int(os.environ["ROS_DOMAIN_ID"])
    act = {
        "model": str(options.model.resolve()),
        "controller.rate_hz": RATE_HZ,
        "controller.stale_timeout_s": 0.5,
    }
    with Supervisor() as supervisor:
        watch = Watch(supervisor, signature)
        spawn = multiprocessing.get_context("spawn")
        listener = spawn.Process(target=idle, args=(domain, signature.actions), daemon=True)
        listener.start()
        try:
            idle_result = _sizes(watch, signature, domain, listener.pid or 0)
        finally:
            listener.kill()
            listener.join()
        watch.arrivals.clear()
        with NodeProcess("controller", act, log=logs / "controller.log") as controller:
            supervisor.activate("controller", while_alive=controller.check_alive)
            result = _sizes(watch, signature, domain, controller.pid)
            controller.check_alive()
    beyond = {
        name: round(gap - idle_result["gap_ms"][name], 1) for name, gap in result["gap_ms"].items()
    }
    return {
        "gap_ms": result["gap_ms"],
        "gap_ms_of_idle": idle_result["gap_ms"],
        "beyond_ms": beyond,
        "memory_mb": result["memory_mb"],
        "grown_mb": result["grown_mb"],
        "grown_mb_of_idle": idle_result["grown_mb"],
        "grown_by_repeating_mb": result["grown_by_repeating_mb"],
        "grown_at_the_end_mb": result["grown_at_the_end_mb"],
        "unsafe": len(watch.unsafe),
        "ok": max(beyond.values()) <= TARGET_BEYOND_MS
        and result["grown_by_repeating_mb"] <= TARGET_MEMORY_MB
        and not watch.unsafe,
    }


def _sizes(watch: Watch, signature: Signature, domain: int, pid: int) -> dict[str, Any]:
    """Send each oversized message to whoever commands, and measure the longest gap."""
    watch.until(lambda: len(watch.arrivals) > RATE_HZ)
    gaps: dict[str, float] = {}
    grown: dict[str, float] = {}
    with attacker(signature, 0, {domain: (OBSERVATION_TOPIC, MODEL_TOPIC)}) as connection:
        watch.until(connection.poll)
        connection.recv()
        watch.listen(WATCH_S)
        before_mb = resident_mb(pid)
        for name in OVERSIZED:
            worst = max(_send(watch, connection, name) for _ in range(SENDINGS))
            gaps[name] = round(worst, 1)
            grown[name] = round(resident_mb(pid) - before_mb, 1)
        once_mb = resident_mb(pid)
        for name in OVERSIZED:
            _send(watch, connection, name)
        watch.listen(WATCH_S)
    return {
        "gap_ms": gaps,
        "grown_mb": grown,
        "grown_by_repeating_mb": round(resident_mb(pid) - once_mb, 1),
        "grown_at_the_end_mb": round(resident_mb(pid) - before_mb, 1),
        "memory_mb": round(resident_mb(pid), 1),
    }


def _send(watch: Watch, connection: Connection, name: str) -> float:
    """Have a message sent, and give the longest gap between commands that followed, in ms."""
    connection.send(("oversized", name))
    watch.until(connection.poll)  # building it takes a processor, not the node's
    connection.recv()
    watch.listen(0.2)
    began_s = time.monotonic()
    connection.send("now")
    watch.until(connection.poll)
    connection.recv()
    watch.listen(WATCH_S / 2)
    return float(watch.gaps_ms(began_s).max())


def main() -> int:
    options = _options()
    with own_domain(options.domain) as domain, tempfile.TemporaryDirectory() as folder:
        os.environ.update(domain)
        logs = Path(folder)
        try:
            bundle = load_bundle(options.model)
            attacks = attack_with_size if options.oversized else attack_with_damage
            result = attacks(options, bundle, logs)
        except (UserError, TimeoutError) as error:
            for log in sorted(logs.glob("*.log")):
                text = log.read_text(errors="replace")
                print(f"--- {log.name}\n{text[-5000:]}", file=sys.stderr)
            print(f"error: {error or 'waited in vain'}", file=sys.stderr)
            return 1
    for name, value in result.items():
        print(f"{name + ':':26}{value}")
    print(json.dumps(result))
    return 0 if result["ok"] else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of a bundle")
    parser.add_argument("--messages", type=int, default=50_000, help="damaged ones in all")
    parser.add_argument("--oversized", action="store_true", help="send those of enormous sizes")
    parser.add_argument(
        "--lies",
        action="store_true",
        help="send damaged observations that can still be read, too: they may say that time jumps, "
        "so that plans are given up and commands are fewer",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the damage (default: 0)")
    parser.add_argument("--domain", type=int, help="ROS_DOMAIN_ID (default: any)")
    parser.add_argument(
        "--allow-python",
        action="append",
        default=[],
        metavar="MODULE",
        help="a Python module that the bundle may name, as of planet-ros evaluate",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
