"""The node ``trainer``: steps in, bundles out.

The steps are those of a simulation (`StepTopic`) or, with the setting ``interface``, of a robot's
own topics (`RobotSteps`). While there is no model, actions are random. Then the controller acts,
and the trainer fits the model between two episodes (or every so many steps), exports it, announces
it on ``model``, waits until the controller says on ``model_in_use`` that it has taken over, and
lets a waiting simulation go on. `planet_ros.training.session.Session` does the work.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import SetBool

from planet_ros.bundle.runtime import Bundle
from planet_ros.config import TrainerNodeSettings
from planet_ros.data import Step
from planet_ros.messages.announcements import Announcement
from planet_ros.messages.sizes import TEXT_TYPE
from planet_ros.report.attempt import attempt
from planet_ros.report.curves import plot_learning_curves
from planet_ros.ros.listening import WARNING_PERIOD_S, Listener
from planet_ros.ros.parameters import NodeSettings
from planet_ros.ros.robot_steps import RobotSteps
from planet_ros.ros.run import run_node
from planet_ros.ros.step_source import StepSource
from planet_ros.ros.step_topic import StepTopic
from planet_ros.ros.topics import LATCHED, MODEL_IN_USE_TOPIC, MODEL_TOPIC
from planet_ros.training.backlog import Backlog
from planet_ros.training.progress import Progress
from planet_ros.training.session import Session

CHECK_PERIOD_S = 0.2
SILENCE_S = 2.0


class _Stopped(Exception):
    """Raised inside a fit when the node is to end."""


class TrainerNode(Node):
    """Learns a world model from the steps of a simulation or a robot."""

    def __init__(self) -> None:
        """Open the run and subscribe.

        Raises:
            UserError: A parameter is wrong, or the output folder holds a run.
        """
        super().__init__("trainer")
        self.exit_code: int | None = None
        settings = NodeSettings(self, TrainerNodeSettings, changeable=()).read()
        self._settings = settings.training
        self._progress = Progress(settings.training.steps, "steps", write=self.get_logger().info)
        listener = Listener(self)
        self._source: StepSource = (
            RobotSteps(self, listener, settings)
            if settings.interface
            else StepTopic(self, listener, settings)
        )
        self._session = Session(
            settings,
            self._source.signature,
            environment=self._source.environment,
            interface=self._source.interface,
            task=self._source.task,
            say=self._progress.line,
        )
        self._progress.start_at(self._session.steps)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="learner")
        self._work: Future[Bundle] | None = None
        self._work_done = self.create_guard_condition(self._on_work_done)
        self._backlog = Backlog(
            capacity_steps=settings.data.capacity_steps,
            capacity_bytes=settings.data.capacity_bytes,
        )
        self._stopping = False
        self._awaited: tuple[str, float] | None = None
        self._digest_in_use = ""

        self._models = self.create_publisher(String, MODEL_TOPIC, LATCHED)
        service = settings.training.pause_service
        self._pause = self.create_client(SetBool, service) if service else None
        self._source.listen(self._session, self._take)
        listener.listen(
            TEXT_TYPE,
            MODEL_IN_USE_TOPIC,
            LATCHED,
            read=lambda message: Announcement.read(message.data),
            take=self._on_model_in_use,
            what=f"a message on '{MODEL_IN_USE_TOPIC}'",
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(CHECK_PERIOD_S, self._go_on_if_due, clock=steady)
        if not self._session.random:
            self._announce(self._session.learner.export())
        else:
            self._let_simulation_go_on()

    def close(self) -> None:
        """Save everything: the process is about to end."""
        self._stopping = True
        self._source.close()
        self._worker.shutdown(wait=True, cancel_futures=True)
        if self.exit_code == 0:
            return
        self._session.finish()
        self._draw()
        self.get_logger().info(
            f"stopped after {self._session.steps} environment steps; all is saved in "
            f"{self._session.run.path}; resume:=true (training.resume) continues"
        )

    # ── steps ────────────────────────────────────────────────────────────────────────────────

    def _take(self, steps: list[Step]) -> None:
        """Learn from steps, now or when the fit under way is done."""
        missed = self._backlog.missed
        self._backlog.add(steps)
        if self._backlog.missed > missed:
            self.get_logger().warn(
                f"{self._backlog.missed} steps so far came while too many waited for a fit, and "
                "were passed over; training.updates takes too long for the steps to be kept",
                throttle_duration_sec=WARNING_PERIOD_S,
            )
        fits = False
        while self._work is None and self._backlog and (self._source.catches_up or not fits):
            fits = self._add(self._backlog.pop()) or fits
        if fits:
            self._work = self._worker.submit(self._fit)
            self._work.add_done_callback(lambda _: self._work_done.trigger())

    def _add(self, step: Step) -> bool:
        """Take in a step; give whether a fit is due."""
        if self._session.finished:
            return False
        missing = self._session.missing_steps
        if self._source.is_lost(step):
            fits, newest = self._session.lose(step), 0
        else:
            fits, newest = self._session.add(step), step.environment_steps
            if step.index > 0:
                self._progress.advance(newest)
        pauses = self._settings.pauses_at(self._session.steps, newest, step.last)
        if step.index > 0 and pauses and not fits:
            self._let_simulation_go_on()
        if self._session.missing_steps > missing:
            self.get_logger().warn(
                f"{self._session.missing_steps} steps never arrived; the episodes are cut there"
            )
        return fits

    def _fit(self) -> Bundle:
        bundle = self._session.fit(self._may_go_on)
        if self._session.finished:
            bundle = self._session.finish(self._session.recent_evaluation()) or bundle
            self._draw()
        return bundle

    def _may_go_on(self, done: int, total: int) -> None:
        if self._stopping:
            raise _Stopped

    def _draw(self) -> None:
        run = self._session.run
        attempt(run.curves_file, lambda: plot_learning_curves(run), self.get_logger().warn)

    # ── models ───────────────────────────────────────────────────────────────────────────────

    def _on_work_done(self) -> None:
        if self._work is None or not self._work.done():
            return
        work, self._work = self._work, None
        self._announce(work.result())
        self._take([])

    def _announce(self, bundle: Bundle) -> None:
        announcement = Announcement(bundle.path.resolve(), bundle.digest)
        self._models.publish(String(data=announcement.to_text()))
        # Where no controller acts, none has to take over.
        wait_s = self._settings.controller_timeout_s if self._settings.collect == "plan" else 0.0
        self._awaited = (bundle.digest, time.monotonic() + wait_s)
        self._go_on_if_due()

    def _on_model_in_use(self, announcement: Announcement) -> None:
        self._digest_in_use = announcement.digest
        self._go_on_if_due()

    def _go_on_if_due(self) -> None:
        """See whether what is awaited has come, or will not."""
        now_s = time.monotonic()
        if self._awaited is not None:
            digest, until_s = self._awaited
            if digest != self._digest_in_use and now_s < until_s:
                return
            if digest != self._digest_in_use and self._settings.collect == "plan":
                self.get_logger().warn(
                    f"no controller has taken over the new model within "
                    f"{self._settings.controller_timeout_s:g} s; going on without"
                )
            self._awaited = None
            if self._session.finished:
                self._end()
            else:
                self._let_simulation_go_on()
        elif self._work is None and (silence := self._source.silence(SILENCE_S)):
            # The first call may have come before the simulation, or a message was lost.
            self._let_simulation_go_on()
            self.get_logger().info(
                f"no steps for {SILENCE_S:g} s: {silence}", throttle_duration_sec=10.0
            )

    def _let_simulation_go_on(self) -> None:
        # Where images come from somewhere, they must come here, or the first ones would be lost.
        if self._pause is not None and self._source.complete and self._pause.service_is_ready():
            self._pause.call_async(SetBool.Request(data=False))

    def _end(self) -> None:
        self._models.wait_for_all_acked(Duration(seconds=1.0))
        self._worker.shutdown(wait=True)
        self.get_logger().info(
            f"learned from {self._session.steps} environment steps; the bundle is "
            f"{self._session.run.bundle}"
        )
        self.exit_code = 0


def main(arguments: list[str] | None = None) -> int:
    """Run the node until it has learned, or SIGINT or SIGTERM."""
    return run_node(TrainerNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
