"""The node ``controller``: state topics in, commands out.

It holds no logic: `planet_ros.control.loop.ControlLoop` decides, this node converts messages,
drives the loop by timers and publishes what it returns. Its process never imports torch.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleState
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from sensor_msgs.msg import Image
from std_msgs.msg import Float64MultiArray, String

from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.config import Settings
from planet_ros.control.assembly import Assembly
from planet_ros.control.latency import Latency
from planet_ros.control.loop import Command, ControlLoop, Observation, Origin
from planet_ros.errors import UserError
from planet_ros.data.images import fit_image
from planet_ros.ros.lifecycle import RobustLifecycleNode, logged
from planet_ros.ros.messages import (
    COMMAND_TOPIC,
    LATCHED,
    MODEL_IN_USE_TOPIC,
    MODEL_TOPIC,
    NEWEST,
    NEWEST_RELIABLE,
    OBSERVATION_TOPIC,
    check_image_topics,
    image_stamp_ns,
    read_image,
    read_vector,
    vector_message,
)
from planet_ros.ros.parameters import NodeSettings
from planet_ros.ros.run import run_node

DIAGNOSTICS_PERIOD_S = 1.0
WARNING_PERIOD_S = 2.0
SWITCH_INTERVAL_S = 0.0002


class ControllerNode(RobustLifecycleNode):
    """Plans in a bundle's world model and publishes commands while it is active."""

    def __init__(self) -> None:
        """Declare parameters; all else waits for the transition configure."""
        super().__init__("controller")
        self.exit_code: int | None = None
        self._node_settings = NodeSettings(
            self, ("seed", "model", "controller", "training.exploration_noise")
        )
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._settings = Settings()
        self._bundle: Bundle | None = None
        self._loop: ControlLoop | None = None
        self._assembly: Assembly | None = None
        self._images: dict[str, Subscription] = {}
        self._tick_timers: list[Timer] = []
        self._loading: Future[Bundle] | None = None
        self._announced: tuple[Path, str] | None = None
        self._load_error = ""
        self._dropped = 0
        self._last_command: Command | None = None
        self._last_sent_s: float | None = None
        self._period = Latency()
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        self._plan_ready = self.create_guard_condition(self._on_plan_ready)
        self._bundle_ready = self.create_guard_condition(self._on_bundle_ready)

    # ── lifecycle ────────────────────────────────────────────────────────────────────────────

    @logged
    def on_configure(self, state: LifecycleState) -> None:
        """Read parameters, load the bundle if one is named, make publishers and subscriptions."""
        self._settings = self._node_settings.read()
        path = self._settings.model
        self._bundle = _load(Path(path).expanduser()) if path else None
        # What can be refused is refused before there is anything to undo; the loop that acts is
        # made when the node becomes active.
        self._make_loop().close()
        self._commands = self.create_publisher(Float64MultiArray, COMMAND_TOPIC, NEWEST_RELIABLE)
        self._in_use = self.create_publisher(String, MODEL_IN_USE_TOPIC, LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._observations = self.create_subscription(
            Float64MultiArray, OBSERVATION_TOPIC, self._on_observation, NEWEST
        )
        self._subscribe_to_images()
        self._models = self.create_subscription(String, MODEL_TOPIC, self._on_model, LATCHED)
        self._diagnostics_timer = self.create_timer(
            DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, clock=self._steady
        )
        if self._bundle is None:
            self.get_logger().info(f"no model is set: waiting for one on '{MODEL_TOPIC}'")
        else:
            self._say_in_use()

    @logged
    def on_activate(self, state: LifecycleState) -> None:
        """Begin to act."""
        self._last_command = self._last_sent_s = None
        self._period, self._dropped = Latency(), 0
        self._loop = self._make_loop()
        self._assembly = self._make_assembly()
        self._start_timers()

    @logged
    def on_deactivate(self, state: LifecycleState) -> None:
        """Send the safe command and be silent."""
        self._stop("deactivated")

    @logged
    def on_cleanup(self, state: LifecycleState) -> None:
        """Undo configure."""
        self._tear_down()

    @logged
    def on_shutdown(self, state: LifecycleState) -> None:
        """Send the safe command if active, and undo configure."""
        self._stop("shut down")
        self._tear_down()

    @logged
    def on_error(self, state: LifecycleState) -> None:
        """Send the safe command if active, and undo what was done."""
        self._stop("error")
        self._tear_down()

    def close(self) -> None:
        """Send the safe command if active: the process is about to end."""
        self._stop("the controller ends")
        self._loader.shutdown(wait=True, cancel_futures=True)

    def _make_loop(self) -> ControlLoop:
        loop = ControlLoop(
            self._settings.controller,
            seed=self._settings.seed,
            clock=time.monotonic,
            notify=self._plan_ready.trigger,
            exploration_noise=self._settings.training.exploration_noise
            * self._settings.controller.explore,
            lacking=self._lacking,
        )
        if self._bundle is not None:
            try:
                loop.use(self._bundle)
            except UserError:
                loop.close()
                raise
        return loop

    def _make_assembly(self) -> Assembly | None:
        if self._bundle is None:
            return None
        manifest = self._bundle.manifest
        return Assembly(
            manifest.images,
            vector=manifest.observation_size > 0,
            together=self._settings.controller.trigger == "observation",
        )

    def _subscribe_to_images(self) -> None:
        """Follow the bundle: a subscription for each of its images, and no other."""
        wanted = {} if self._bundle is None else self._bundle.manifest.images
        for name in self._images.keys() - wanted.keys():
            self.destroy_subscription(self._images.pop(name))
        for name in wanted.keys() - self._images.keys():
            self._images[name] = self.create_subscription(
                Image, name, partial(self._on_image, name), NEWEST
            )

    def _start_timers(self) -> None:
        """The tick, at the bundle's rate or the one that is set; there is none without a bundle."""
        if self._bundle is None:
            return
        for timer in self._tick_timers:
            self.destroy_timer(timer)
        controller = self._settings.controller
        if controller.trigger == "observation":
            period = min(0.05, controller.stale_timeout_s / 2)
        elif controller.rate_hz > 0:
            period = 1 / controller.rate_hz
        else:
            period = self._bundle.manifest.control_period_s
        self._tick_timers = [self.create_timer(period, self._on_tick, clock=self._steady)]

    def _stop(self, reason: str) -> None:
        """Send the safe command as the last one, while the publisher still works."""
        for timer in self._tick_timers:
            self.destroy_timer(timer)
        self._tick_timers = []
        loop, self._loop, self._assembly = self._loop, None, None
        if loop is None:
            return
        self._publish(loop.safe_command(reason))
        loop.close()
        self._commands.wait_for_all_acked(Duration(seconds=0.5))  # readers may be gone

    def _tear_down(self) -> None:
        for name in ("_observations", "_models"):
            if hasattr(self, name):
                self.destroy_subscription(getattr(self, name))
                delattr(self, name)
        for name in ("_commands", "_in_use", "_diagnostics"):
            if hasattr(self, name):
                self.destroy_publisher(getattr(self, name))
                delattr(self, name)
        if hasattr(self, "_diagnostics_timer"):
            self.destroy_timer(self._diagnostics_timer)
            del self._diagnostics_timer
        self._bundle, self._announced, self._load_error = None, None, ""
        self._subscribe_to_images()

    # ── the loop ─────────────────────────────────────────────────────────────────────────────

    def _on_observation(self, message: Float64MultiArray) -> None:
        if self._bundle is None or self._assembly is None:
            return
        received_s = time.monotonic()
        vector = read_vector(message)
        size = self._bundle.manifest.observation_size
        # Without numbers in the observation it is the label alone that counts.
        if size and (len(vector.values) != size or not np.isfinite(vector.values).all()):
            self._drop(
                f"an observation: found {vector.values.tolist()}, expected {size} finite numbers"
            )
            return
        try:
            observation = self._assembly.take_vector(
                vector.values,
                vector.stamp_ns,
                received_s,
                first=vector.count("index") == 0,
                episode=vector.count("episode"),
            )
        except UserError as error:
            self._drop(str(error))
            return
        self._act_on(observation)

    def _on_image(self, name: str, message: Image) -> None:
        shape = None if self._bundle is None else self._bundle.manifest.images.get(name)
        if self._assembly is None or shape is None:
            return
        received_s = time.monotonic()
        try:
            # The message is checked now, but scaled and converted only for a plan.
            decode = partial(fit_image, read_image(message), shape)
            observation = self._assembly.take_image(
                name, decode, image_stamp_ns(message), received_s
            )
        except UserError as error:
            self._drop(f"a frame on '{name}': {error}")
            return
        self._act_on(observation)

    def _drop(self, what: str) -> None:
        self._dropped += 1
        self.get_logger().warn(f"dropped {what}", throttle_duration_sec=WARNING_PERIOD_S)

    def _act_on(self, observation: Observation | None) -> None:
        if observation is not None and self._loop is not None:
            self._publish(self._loop.observe(observation))

    def _lacking(self) -> str:
        """The parts of the observation that do not come, for a person; empty if all do."""
        if self._assembly is None:
            return ""
        names = self._assembly.lacking(time.monotonic(), self._settings.controller.stale_timeout_s)
        return ", ".join(
            f"nothing new on '{name}' ({self.count_publishers(name)} publishers)" for name in names
        )

    def _on_tick(self) -> None:
        if self._loop is None:
            return
        self._publish(self._loop.tick())
        # With the other trigger a safe command says so.
        if self._settings.controller.trigger == "observation" and (lacking := self._lacking()):
            self.get_logger().warn(
                f"the observation is not complete: {lacking}",
                throttle_duration_sec=WARNING_PERIOD_S,
            )

    def _on_plan_ready(self) -> None:
        if self._loop is not None:
            self._publish(self._loop.finished())

    def _publish(self, command: Command | None) -> None:
        if command is None:
            return
        now_s = time.monotonic()
        self._commands.publish(vector_message("action", command.action, command.stamp_ns))
        if self._last_sent_s is not None:
            self._period.add(now_s - self._last_sent_s)
        self._last_sent_s = now_s
        self._last_command = command
        if command.origin is Origin.SAFE:
            text = f"safe command {command.action.tolist()}: {command.reason}"
            if self._loop is not None and self._loop.waiting:
                self.get_logger().debug(text)
            else:
                self.get_logger().warn(text, throttle_duration_sec=WARNING_PERIOD_S)

    # ── models ───────────────────────────────────────────────────────────────────────────────

    def _on_model(self, message: String) -> None:
        """Load an announced bundle on a thread of its own, the newest if several arrive."""
        try:
            announcement = json.loads(message.data)
            self._announced = Path(announcement["path"]), str(announcement["hash"])
        except (ValueError, KeyError, TypeError):
            self.get_logger().error(
                f'{MODEL_TOPIC}: found {message.data!r}, expected {{"path": ..., "hash": ...}}'
            )
            return
        if self._loading is None:
            self._load_announced()

    def _load_announced(self) -> None:
        assert self._announced is not None
        (path, digest), self._announced = self._announced, None
        self._loading = self._loader.submit(_load_announced, path, digest)
        self._loading.add_done_callback(lambda _: self._bundle_ready.trigger())

    def _on_bundle_ready(self) -> None:
        if self._loading is None or not self._loading.done():
            return
        loading, self._loading = self._loading, None
        if not hasattr(self, "_in_use"):
            return  # cleaned up in the meantime
        try:
            bundle = loading.result()
            if self._loop is not None:
                self._loop.use(bundle)
            old, self._bundle = self._bundle, bundle
            if old is None or old.manifest.observation != bundle.manifest.observation:
                self._subscribe_to_images()
                self._assembly = None if self._loop is None else self._make_assembly()
            if old is None and self._loop is not None:
                self._start_timers()
            self._load_error = ""
            self._say_in_use()
        except Exception as error:  # whatever it is, the old model goes on
            self._load_error = str(error)
            self.get_logger().error(f"the announced model is refused: {error}")
        if self._announced is not None:
            self._load_announced()

    def _say_in_use(self) -> None:
        assert self._bundle is not None
        record = {"path": str(self._bundle.path), "hash": self._bundle.digest}
        self._in_use.publish(String(data=json.dumps(record)))
        self.get_logger().info(f"model {self._bundle.path} ({self._bundle.digest[:12]}) in use")

    # ── diagnostics ──────────────────────────────────────────────────────────────────────────

    def _publish_diagnostics(self) -> None:
        status = DiagnosticStatus(name=f"{self.get_fully_qualified_name()[1:]}: control")
        status.hardware_id = "none"
        status.level, status.message = self._judgement()
        values: dict[str, object] = {
            "model": self._bundle.path if self._bundle else "",
            "model_hash": self._bundle.digest if self._bundle else "",
            "dropped_messages": self._dropped,
        }
        if self._loop is not None:
            values.update(vars(self._loop.counters))
            for name, latency in (("planning", self._loop.planning), ("period", self._period)):
                for quantile, value in latency.milliseconds().items():
                    values[f"{name}_{quantile}_ms"] = f"{value:.3f}"
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _judgement(self) -> tuple[bytes, str]:
        if self._loop is None:
            return DiagnosticStatus.OK, "inactive"
        if self._bundle is None:
            return DiagnosticStatus.WARN, f"waiting for a model on '{MODEL_TOPIC}'"
        if self._load_error:
            return DiagnosticStatus.WARN, f"the newest model was refused: {self._load_error}"
        lacking = self._lacking()
        if lacking and self._settings.controller.trigger == "observation":
            return DiagnosticStatus.WARN, f"the observation is not complete: {lacking}"
        command = self._last_command
        if command is None:
            return DiagnosticStatus.OK, "waiting for an observation"
        if self._loop.failure:
            return DiagnosticStatus.ERROR, self._loop.failure
        if command.origin is Origin.SAFE:
            level = DiagnosticStatus.OK if self._loop.waiting else DiagnosticStatus.WARN
            return level, f"safe command: {command.reason}"
        if command.origin is Origin.LATE_PLAN:
            return DiagnosticStatus.WARN, command.reason
        return DiagnosticStatus.OK, "acting"


def _load(path: Path) -> Bundle:
    bundle = load_bundle(path)
    try:
        check_image_topics(bundle.manifest.images)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return bundle


def _load_announced(path: Path, digest: str) -> Bundle:
    bundle = _load(path)
    if bundle.digest != digest:
        raise UserError(
            f"{path}: found the bundle {bundle.digest[:12]}, expected {digest[:12]} as announced; "
            "a newer one is announced in its turn"
        )
    return bundle


def main(arguments: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM."""
    # The planning thread and the executor's take turns in Python. With the default of 5 ms either
    # can make the other wait for a quarter of a period at 50 Hz (docs/performance.md).
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return run_node(ControllerNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
