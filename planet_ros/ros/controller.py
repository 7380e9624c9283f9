"""A configured controller: what connects the control loop to topics and timers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from threading import Event, RLock
from typing import Any

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer
from std_msgs.msg import String

from planet_ros.bundle.runtime import Bundle
from planet_ros.config import ControllerNodeSettings
from planet_ros.control.events import Command, Observation, Origin
from planet_ros.control.exploration import exploring
from planet_ros.control.latency import Latency
from planet_ros.control.loop import ControlLoop
from planet_ros.control.policy import Interruptible, PlanningPolicy, Policy
from planet_ros.data import Signature
from planet_ros.interface.safe import SafeCommand
from planet_ros.messages.announcements import Announcement
from planet_ros.messages.fields import shortened
from planet_ros.ros.bundles import BundleWatch, allowed, load, other_planner
from planet_ros.ros.commands import CommandPublisher
from planet_ros.ros.diagnostics import Diagnostics, Situation
from planet_ros.ros.inputs import WARNING_PERIOD_S, Inputs
from planet_ros.ros.plans import PlanPublisher
from planet_ros.ros.priority import ORDINARY, set_priority
from planet_ros.ros.robot import Robot
from planet_ros.ros.standstill import Standstill
from planet_ros.ros.subscriptions import crowd
from planet_ros.ros.topics import LATCHED, MODEL_IN_USE_TOPIC, TRAINER

CROWD_WARNING_S = 10.0

SETTLE_LIMIT_S = 2.0
"""For a safe command that is reached in a while, when the controller ends."""


class Controller:
    """Plans in a bundle's world model, and commands between `begin` and `end`.

    It exists from the transition configure to cleanup; `planet_ros.control.loop` decides. A plan is
    published by the thread that made it: whoever has to do with the loop takes turns with that.
    """

    def __init__(
        self, node: Node, settings: ControllerNodeSettings, unused: Mapping[str, Any]
    ) -> None:
        """Load the bundle if one is named, and make publishers and subscriptions.

        Args:
            node: Whose these are.
            settings: Of the node.
            unused: Settings that the node was given and does not use, by name.

        Raises:
            UserError: The bundle cannot be loaded, or does not fit the settings.
        """
        self._node = node
        self._settings = settings
        self._unused = unused
        self._lock_step = settings.controller.trigger == "observation"
        self._loop: ControlLoop | None = None
        self._stop = Event()
        # What can be refused is refused before there is anything to undo.
        self._robot = Robot.read(settings.interface) if settings.interface else None
        self._bundle: Bundle | None = None
        if settings.model:  # which somebody may have set since the start
            path = Path(settings.model).expanduser()
            self._bundle = load(allowed(path, settings.controller.model_folders))
        if self._bundle is not None:
            self._robot = self._robot or Robot.of(self._bundle)
            self._check(self._bundle, self._robot)
        self._ticks: Timer | None = None
        self._priority = ORDINARY
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        # In lock-step simulated time stands still until a command comes: what waits is real.
        simulated = bool(node.get_parameter("use_sim_time").value) and not self._lock_step
        self._clock: Clock = node.get_clock() if simulated else self._steady
        self._standstill = Standstill(self._now_s, time.monotonic) if simulated else None
        self._turn = RLock()
        self._failed: Exception | None = None
        self._failure = node.create_guard_condition(self._on_failure)
        self._commands: CommandPublisher | None = None
        self._plans: PlanPublisher | None = None
        self._in_use = node.create_publisher(String, MODEL_IN_USE_TOPIC, LATCHED)
        self._inputs = Inputs(
            node,
            together=self._lock_step,
            limit_s=settings.controller.stale_timeout_s,
            clock=self._now_s,
            take=self._on_observation,
        )
        self._watch = BundleWatch(
            node,
            settings.controller,
            in_use=self._bundle,
            take=self._use,
            drop=self._inputs.drop,
        )
        self._diagnostics = Diagnostics(node, self._situation, self._steady)
        if self._bundle is None:
            node.get_logger().info(f"no model is set: waiting for one on '{self._watch.topic}'")
        if self._robot is not None:
            self._follow(self._robot)
        if self._bundle is not None:
            self._say_in_use(self._bundle)

    def _follow(self, robot: Robot) -> None:
        """Read and command what the robot is from now on."""
        self._inputs.follow(robot.interface, robot.signature)
        self._commands = CommandPublisher(self._node, robot.interface, lock_step=self._lock_step)
        self._plans = PlanPublisher(self._node, robot)

    def begin(self) -> None:
        """Act from now on, with a new loop.

        Raises:
            UserError: The bundle, announced since, does not fit the settings.
        """
        self._stop = Event()
        if self._bundle is not None and self._robot is not None:
            self._check(self._bundle, self._robot)
        loop = ControlLoop(
            self._settings.controller,
            seed=self._settings.seed,
            clock=self._now_s,
            stopwatch=time.monotonic,
            notify=self._on_plan_made,
            make_policy=self._policy,
            lacking=self._inputs.lacking,
            safe=self._safe,
            measured=self._inputs.measured,
            before=None if self._commands is None else self._commands.before,
        )
        if self._bundle is not None:
            loop.use(self._bundle)
        self._loop = loop
        self._hurry()
        if self._commands is not None:
            self._commands.begin()
        self._inputs.begin()
        self._start_ticks()

    def end(self, reason: str) -> None:
        """Send the safe command as the last one, if there was a model, and be silent."""
        if self._ticks is not None:
            self._node.destroy_timer(self._ticks)
            self._ticks = None
        self._inputs.end()
        with self._turn:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        try:
            self._settle(loop, reason)
            self._stop.set()
            if not loop.close():
                text = "the plan under way is left behind: a graph takes long"
                self._node.get_logger().warn(text)
            if self._commands is not None:
                self._commands.flush()
        finally:
            if self._priority != ORDINARY:
                self._priority = ORDINARY
                set_priority(ORDINARY)

    def _hurry(self) -> None:
        """Wait for nobody else's turn from now on, where that is asked for and allowed."""
        wanted = self._settings.controller.realtime_priority
        if wanted == ORDINARY:
            return
        if reason := set_priority(wanted):
            self._node.get_logger().warn(
                f"controller.realtime_priority: found {wanted}, but {reason}; the controller goes "
                "on without, and may be late when the machine is busy"
            )
            return
        self._priority = wanted

    def _settle(self, loop: ControlLoop, reason: str) -> None:
        """Send safe commands until they stay as they are: a ramp to its end, within a while."""
        until_s = time.monotonic() + SETTLE_LIMIT_S
        last: Command | None = None
        while (command := loop.safe_command(reason)) is not None:
            self._send(command)
            if last is not None and np.array_equal(last.action, command.action):
                return
            if not loop.settles or time.monotonic() > until_s or loop.bundle is None:
                return
            last = command
            time.sleep(loop.bundle.manifest.signature.period_s)

    def close(self) -> None:
        """Undo what the constructor made, after `end`."""
        self._diagnostics.close()
        self._watch.close()
        self._inputs.close()
        if self._commands is not None:
            self._commands.close()
        if self._plans is not None:
            self._plans.close()
        self._node.destroy_publisher(self._in_use)
        self._node.destroy_guard_condition(self._failure)

    # ── bundles ──────────────────────────────────────────────────────────────────────────────

    def _check(self, bundle: Bundle, robot: Robot) -> None:
        """See that the loop will be able to use a bundle.

        Raises:
            UserError: It asks for more than the robot allows, or the safe command does not fit it.
        """
        robot.check(bundle)
        self._safe(bundle.manifest.signature)
        self._policy(bundle, self._settings.seed)

    def _safe(self, signature: Signature) -> SafeCommand:
        """What is safe: as this node's settings say, else the interface."""
        constant = self._settings.controller.safe_command
        if constant or self._robot is None:
            return SafeCommand.at_once(signature.low, signature.high, constant)
        return self._robot.safe

    def _policy(self, bundle: Bundle, seed: int) -> Policy:
        """What acts by a bundle: a planner, with noise where experience is being gathered."""
        noise = self._settings.training.exploration_noise
        return exploring(
            PlanningPolicy.of(bundle, seed, model=Interruptible(bundle.model, self._stop)),
            bundle.manifest.signature,
            noise=noise if self._settings.controller.explore else 0.0,
            seed=seed,
        )

    def _use(self, bundle: Bundle) -> None:
        """Go on with an announced bundle; where that fails, the old one stays.

        Raises:
            UserError: The bundle asks for more than the robot allows, or does not fit the settings.
        """
        with self._turn:
            self._use_in_turn(bundle)

    def _use_in_turn(self, bundle: Bundle) -> None:
        robot = self._robot or Robot.of(bundle)
        robot.check(bundle)
        fresh, self._robot = self._robot is None, robot
        if self._loop is not None:
            self._loop.use(bundle)
        if fresh:
            self._follow(robot)
        first, self._bundle = self._bundle is None, bundle
        if first and self._loop is not None:
            self._start_ticks()
        self._say_in_use(bundle)

    def _say_in_use(self, bundle: Bundle) -> None:
        announcement = Announcement(bundle.path.resolve(), bundle.digest)
        self._in_use.publish(String(data=announcement.to_text()))
        log = self._node.get_logger()
        log.info(f"model {shortened(str(bundle.path))} ({bundle.digest[:12]}) in use")
        if self._plans is not None:
            self._plans.use(bundle)
        if differing := other_planner(self._unused, bundle.manifest.planner):
            log.warn(
                f"planner settings given to this node are not used, the bundle decides: "
                f"{differing}; to change them, export again: planet-ros export --run RUN "
                "--output BUNDLE --set planner.NAME=VALUE"
            )

    # ── the loop ─────────────────────────────────────────────────────────────────────────────

    def _start_ticks(self) -> None:
        """Tick at the bundle's rate or the one that is set; without a bundle there is none."""
        if self._bundle is None:
            return
        controller = self._settings.controller
        if self._lock_step:
            period_s = min(0.05, controller.stale_timeout_s / 2)
        elif controller.rate_hz > 0:
            period_s = 1 / controller.rate_hz
        else:
            period_s = self._bundle.manifest.signature.period_s
        self._ticks = self._node.create_timer(period_s, self._on_tick, clock=self._clock)

    def _now_s(self) -> float:
        """Seconds, of the clock that ticks and ages are of."""
        return float(self._clock.now().nanoseconds) / 1e9

    def _on_observation(self, observation: Observation) -> None:
        with self._turn:
            if self._loop is not None:
                self._send(self._loop.observe(observation))

    def _on_tick(self) -> None:
        with self._turn:
            if self._loop is None:
                return
            # A plan that is ready and waits for its turn is not late.
            self._take_plan(self._loop)
            command = self._loop.tick()
            self._send(command)
        # A safe command says so itself; there is none where it holds what was never measured.
        if command is None and (lacking := self._inputs.lacking()):
            self._node.get_logger().warn(
                f"the observation is not complete: {lacking}",
                throttle_duration_sec=WARNING_PERIOD_S,
            )

    def _on_plan_made(self) -> None:
        """Act by it; called by the thread that made it."""
        try:
            with self._turn:
                if self._loop is not None:
                    self._take_plan(self._loop)
        except Exception as error:  # by which the process has to end, as only its main thread can
            self._failed = error
            self._failure.trigger()

    def _take_plan(self, loop: ControlLoop) -> None:
        before = loop.made
        self._send(loop.finished())
        if self._plans is not None and loop.made is not before:
            self._plans.offer(loop.made)

    def _on_failure(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _send(self, command: Command | None) -> None:
        if command is None or self._commands is None:
            return
        self._commands.send(command)
        if command.origin is Origin.SAFE:
            text = f"safe command {command.action.tolist()}: {command.reason}"
            if self._loop is not None and self._loop.waiting:
                self._node.get_logger().debug(text)
            else:
                self._node.get_logger().warn(text, throttle_duration_sec=WARNING_PERIOD_S)

    def _crowd(self) -> str:
        """Who else commands, or shows the robot something else."""
        if self._loop is None or self._commands is None:
            return ""
        found = crowd(self._node, self._commands.topics, may_share=[TRAINER])
        found = found or crowd(self._node, self._inputs.topics())
        if found:
            self._node.get_logger().warn(found, throttle_duration_sec=CROWD_WARNING_S)
        return found

    def _unheard(self) -> str:
        """Who would be commanded and never hears it."""
        if self._loop is None or self._commands is None:
            return ""
        found = self._commands.unheard
        if found:
            self._node.get_logger().warn(found, throttle_duration_sec=CROWD_WARNING_S)
        return found

    def _stopped_clock(self) -> str:
        """Why there are no ticks, where they are of a simulation's time."""
        if self._loop is None or self._standstill is None:
            return ""
        found = self._standstill.text()
        if found:
            self._node.get_logger().warn(found, throttle_duration_sec=CROWD_WARNING_S)
        return found

    def _situation(self) -> Situation:
        return Situation(
            crowd=self._crowd(),
            unheard=self._unheard(),
            stopped_clock=self._stopped_clock(),
            bundle=self._bundle,
            loop=self._loop,
            lock_step=self._lock_step,
            command=None if self._commands is None else self._commands.last,
            source=self._watch.topic,
            refusal=self._watch.refusal,
            lacking=self._inputs.lacking(),
            dropped=self._inputs.dropped,
            period=Latency() if self._commands is None else self._commands.period,
            priority=self._priority,
        )
