"""The node ``trainer``: steps in, bundles out.

The steps are those of a simulation (`StepTopic`) or, with the setting ``interface``, of a robot's
own topics (`RobotSteps`). While there is no model, actions are random. Then the controller acts,
and the trainer fits the model between two episodes (or every so many steps), exports it, announces
it on ``model``, waits until the controller says on ``model_in_use`` that it has taken over, and
lets a waiting simulation go on (`RobotLink`). With the setting ``robots`` each robot has these
topics in a namespace of its own, and none waits for another.
`planet_ros.training.session.Session` does the work.
"""

from __future__ import annotations

import sys
from concurrent.futures import Future, ThreadPoolExecutor

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from planet_ros.bundle.runtime import Bundle
from planet_ros.config import TrainerNodeSettings
from planet_ros.data import Step
from planet_ros.report.attempt import attempt
from planet_ros.report.curves import plot_learning_curves
from planet_ros.ros.listening import WARNING_PERIOD_S, Listener
from planet_ros.ros.parameters import NodeSettings
from planet_ros.ros.robot_link import RobotLink
from planet_ros.ros.robot_steps import RobotSteps
from planet_ros.ros.run import run_node
from planet_ros.ros.step_source import StepSource
from planet_ros.ros.step_topic import StepTopic
from planet_ros.training.backlog import Backlog
from planet_ros.training.progress import Progress
from planet_ros.training.session import Session

CHECK_PERIOD_S = 0.2
PAUSED_S = 0.5
"""A simulation without a step for this long, while no model is fitted, may wait for one."""

SILENCE_S = 2.0
ANNOUNCED_WITHIN_S, SENT_WITHIN_S = 1.0, 10.0
"""For readers to have the path of the last model, or that model itself, before the trainer ends."""


class _Stopped(Exception):
    """Raised inside a fit when the node is to end."""


class TrainerNode(Node):
    """Learns a world model from the steps of a simulation, a robot or several robots."""

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
        self._links = [
            RobotLink(
                self,
                listener,
                namespace,
                pause_service=settings.training.pause_service,
                publish_bundle=settings.training.publish_bundle,
                heard=self._go_on_if_due,
            )
            for namespace in settings.robots or [""]
        ]
        self._source.listen(self._session, self._take)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(CHECK_PERIOD_S, self._go_on_if_due, clock=steady)
        if not self._session.random:
            self._announce(self._session.learner.export())
        else:
            self._let_all_go_on()

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
            self._let_all_go_on()
        if self._session.missing_steps > missing:
            self.get_logger().warn(
                f"{self._session.missing_steps} steps never arrived; the episodes are cut there"
            )
        return fits

    def _fit(self) -> Bundle:
        first = self._session.random
        bundle = self._session.fit(self._may_go_on)
        if self._source.interface is not None and (first or self._session.finished):
            self._tell_delay()
        if self._session.finished:
            bundle = self._session.finish(self._session.recent_evaluation()) or bundle
            self._draw()
        return bundle

    def _tell_delay(self) -> None:
        """Say how late the robot's commands act, and warn where its interface says otherwise."""
        estimate = self._session.delay()
        if estimate.wrong:
            self.get_logger().warn(estimate.text)
        else:
            self.get_logger().info(estimate.text)

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
        # Where no controller acts, none has to take over.
        wait_s = self._settings.controller_timeout_s if self._settings.collect == "plan" else 0.0
        for link in self._links:
            link.announce(bundle, wait_s)
        self._go_on_if_due()

    def _go_on_if_due(self) -> None:
        """See whether what is awaited has come, or will not."""
        for link in self._links:
            known = link.gave_up
            if not link.settle():
                continue
            if link.gave_up and not known and self._settings.collect == "plan":
                whose = f" of {link.namespace}" if link.namespace else ""
                self.get_logger().warn(
                    f"no controller{whose} has taken over the new model within "
                    f"{self._settings.controller_timeout_s:g} s; going on without"
                )
            if not self._session.finished:
                self._let_go_on(link)
        if self._work is not None:
            return
        if self._session.finished and not self._session.random:
            if not any(link.awaits for link in self._links):
                self._end()
            return
        silences = []
        for stream, link in enumerate(self._links):
            if link.awaits or self._source.idle_s(stream) <= PAUSED_S:
                continue
            # It may have paused where no fit was due, or the first call may have come before the
            # simulation, or a message was lost.
            self._let_go_on(link)
            silences.append(self._source.silence(stream, SILENCE_S))
        if silence := "; ".join(text for text in silences if text):
            self.get_logger().info(
                f"no steps for {SILENCE_S:g} s: {silence}", throttle_duration_sec=10.0
            )

    def _let_all_go_on(self) -> None:
        for link in self._links:
            self._let_go_on(link)

    def _let_go_on(self, link: RobotLink) -> None:
        # Where images come from somewhere, they must come here, or the first ones would be lost.
        if self._source.complete:
            link.go_on()

    def _end(self) -> None:
        within_s = SENT_WITHIN_S if self._settings.publish_bundle else ANNOUNCED_WITHIN_S
        if not all([link.flush(within_s) for link in self._links]):
            self.get_logger().warn(f"some who listen do not have the last model after {within_s} s")
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
