"""One training run, step by step, whoever takes the steps.

`planet_ros.training.loop` drives it with an environment in the same process, the trainer node with
steps from a topic. Both follow PlaNet's algorithm 1 (Hafner et al. 2019): random episodes first,
then the model is fitted, exported and acts, and is fitted again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planet_ros.bundle.manifest import Evaluation
from planet_ros.bundle.runtime import Bundle
from planet_ros.config import LearnerSettings
from planet_ros.control.exploration import RandomPolicy
from planet_ros.data import Episode, EpisodeStore, Signature, Step
from planet_ros.data.delay import DelayEstimate, estimate_delay
from planet_ros.data.store import save_episode
from planet_ros.environments import EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.models import Task, WorldModel
from planet_ros.models.relabel import judged
from planet_ros.training.changes import accepted_changes
from planet_ros.training.checkpoint import read_checkpoint
from planet_ros.training.commit import Journal, unwritable
from planet_ros.training.held_out import HeldOut
from planet_ros.training.hints import hints
from planet_ros.training.learner import FitResult, Learner, MakeModel, make_model
from planet_ros.training.memory import check_memory, text_of_bytes
from planet_ros.training.records import (
    episode_record,
    fit_record,
    held_out_errors,
    is_own_episode,
    recent_evaluation,
)
from planet_ros.training.run import RunFolder
from planet_ros.training.streams import Streams

COMMIT_AFTER_S = 2.0
"""An episode after which nothing was learned is made durable by the next commit; at the latest
with the first one to end this long after the last commit."""


class Session:
    """Turns steps into episodes, fits, bundles and records.

    Steps of several robots may come in any order: each stream has an episode of its own under way.
    """

    def __init__(
        self,
        settings: LearnerSettings,
        signature: Signature,
        *,
        environment: EnvironmentSpec | None,
        say: Callable[[str], None],
        interface: Interface | None = None,
        make_model: MakeModel = make_model,
        task: Task | None = None,
    ) -> None:
        """Start a run, or continue the one in the output folder.

        Args:
            settings: Of learning.
            signature: Of the environment; its period gives way to ``training.command_period_s``.
            environment: Recorded in the bundle.
            interface: Likewise, of a robot.
            say: Takes a line on what happened, for a person.
            make_model: Of another kind than the settings name; to continue a run, the same.
            task: What is known and need not be learned; it judges steps in the environment's place.

        Raises:
            UserError: The output folder holds a run, or one that does not fit the settings, or
                cannot be written, or is another process's, or there may come to be more experience
                than there is memory.
        """
        check_memory(settings, signature)
        self.settings = settings
        training = settings.training
        # A robot's episodes end where something was missed; for a simulation that is no end.
        self._fits_at_cuts = interface is not None and training.update_every_steps == 0
        period_s = training.command_period_s or signature.period_s
        self._signature = replace(signature, period_s=period_s)
        self._say = say
        self.run = RunFolder.start(training.output, resume=training.resume)
        try:
            self._open(environment, interface, task, make_model)
        except BaseException:
            self.close()
            raise

    def _open(
        self,
        environment: EnvironmentSpec | None,
        interface: Interface | None,
        task: Task | None,
        make_model: MakeModel,
    ) -> None:
        settings, training = self.settings, self.settings.training
        saved = read_checkpoint(self.run.checkpoint) if self.run.has_checkpoint else None
        changed = [] if saved is None else accepted_changes(self.run, settings, interface)
        store = EpisodeStore(
            self.run.episodes,
            capacity_steps=settings.data.capacity_steps,
            capacity_bytes=settings.data.capacity_bytes,
            next_number=0 if saved is None else saved.state.episodes,
        )
        self.learner = Learner(
            settings,
            self._signature,
            self.run,
            environment=environment,
            interface=interface,
            store=store,
            task=task,
            make_model=make_model,
        )
        if saved is not None:
            self.learner.restore(saved)
        self._journal = Journal(self.run, store, training.tensorboard)
        # Only now, when they are known to fit: settings that do not must not replace those that do.
        with self._writing():
            self.run.lock.claim()
            if interface is not None:
                self.run.save_interface(interface)
            self.run.save_settings(settings)
        for text in filter(None, (self.run.note, *changed)):
            self._say(text)
        self._journal.go_back(0 if saved is None else saved.state.metrics_bytes)
        self._learned_since_commit = False
        self._streams = Streams()
        self._random_policy = RandomPolicy(
            self._signature, seed=settings.seed, beta=training.random_noise_beta
        )
        if saved is None:
            self._commit()

    @property
    def steps(self) -> int:
        """Environment steps so far, those of the episodes under way too."""
        return self.learner.environment_steps + self._streams.environment_steps

    @property
    def random(self) -> bool:
        """Whether there is no model yet, so that actions are random."""
        return self.learner.fits == 0

    @property
    def explores(self) -> bool:
        """Whether actions are random, those that are sent just now."""
        collect = self.settings.training.collect
        return not self.finished and (collect == "random" or (collect == "plan" and self.random))

    @property
    def finished(self) -> bool:
        """Whether all steps have been taken."""
        return self.steps >= self.settings.training.steps

    @property
    def missing_steps(self) -> int:
        """Steps that were taken but never arrived."""
        return self._streams.missing_steps

    @property
    def evaluated(self) -> bool:
        """Whether it is known, and recorded, what the model as it is now is worth."""
        return self.learner.evaluation is not None

    def random_action(self, episode: int, index: int) -> NDArray[np.float32]:
        """The random action (A,) of a step; see `RandomPolicy`."""
        return self._random_policy.action(episode, index)

    def add(self, step: Step) -> bool:
        """Take in a step.

        Returns:
            Whether a fit is due.

        Raises:
            UserError: Its observation or action is not what the signature says.
        """
        self._signature.check(step.layout, "step")
        training = self.settings.training
        stream = self._streams.newest(step.stream, random=self._unplanned)
        step = self._judged(step, stream.builder.newest)
        episode = stream.builder.add(step)
        if episode is not None:
            self._keep(episode, step.stream)
        if step.index == 0:
            stream.random = self._unplanned
        steps = self.steps
        finished = steps >= training.steps
        if finished:
            self._keep_cut(*self._streams)
        pauses = training.pauses_at(steps, step.environment_steps, step.last) or finished
        cut = self._fits_at_cuts and episode is not None
        return self._fits_or_commits((step.index > 0 and pauses) or cut, kept=episode is not None)

    def _judged(self, step: Step, before: Step | None) -> Step:
        """With the reward and the end that the task gives it, if there is one."""
        task = self.learner.model.task
        if task is None or before is None or step.index != before.index + 1:
            return step  # what is no transition has no reward
        return judged(before, step, task)

    def lose(self, step: Step) -> bool:
        """Cut the episode before a step whose images never arrived.

        Returns:
            Whether a fit is due.
        """
        stream = self._streams.newest(step.stream, random=self._unplanned)
        kept = self._keep_cut(step.stream)
        if step.index == 0:
            stream.random = self._unplanned
        # The step counts for nothing, but an episode that ends with it does end.
        return self._fits_or_commits(
            self.settings.training.pauses_at(self.steps, 0, step.last), kept=kept
        )

    @property
    def _unplanned(self) -> bool:
        """Whether what is done says nothing about what the model is worth."""
        return self.random or self.settings.training.collect != "plan"

    def _fits_or_commits(self, pauses: bool, *, kept: bool) -> bool:
        """Whether a fit is due; if not, an episode that was kept is made durable now and then."""
        fits = pauses and self._experienced
        due = self._learned_since_commit or self._journal.age_s > COMMIT_AFTER_S
        if kept and not fits and due and not self._in_round:
            self._commit()
        return fits

    @property
    def _in_round(self) -> bool:
        """Whether several environments are in episodes, which can only happen again together."""
        return self.settings.training.environments > 1 and self._streams.begun

    def _commit(self) -> None:
        self._journal.commit(self.learner.save)
        self._learned_since_commit = False

    @property
    def _experienced(self) -> bool:
        """Whether there were enough random steps for a fit."""
        training = self.settings.training
        return self.steps >= min(training.random_steps, training.steps)

    def include(self, learned: Sequence[Episode], held_out: Sequence[Episode]) -> None:
        """Take in episodes that somebody else collected, before anything else.

        Args:
            learned: To learn from.
            held_out: To judge by; they are kept in a folder of their own.

        Raises:
            UserError: They are of something else, more than the store holds, or cannot be written.
        """
        steps, nbytes = sum(map(len, learned)), sum(one.nbytes for one in learned)
        data = self.settings.data
        if steps > data.capacity_steps or nbytes > data.capacity_bytes:
            raise UserError(
                f"data.capacity_steps, data.capacity_bytes: found {steps} steps of "
                f"{text_of_bytes(nbytes)}, expected at most {data.capacity_steps} of "
                f"{text_of_bytes(data.capacity_bytes)}; set them higher, or give less"
            )
        with self._writing():
            self.run.held_out.mkdir(exist_ok=True)
            for number, episode in enumerate(held_out):
                save_episode(episode, self.run.held_out / f"episode-{number:06d}.npz")
        for episode in learned:
            self.learner.add(episode)
            self._journal.record(episode_record(episode, self.learner, random=False, imported=True))
        self._commit()

    @property
    def held_out_errors(self) -> list[float]:
        """That of each fit which was judged by held-out episodes, in order."""
        return held_out_errors(self._journal.records())

    @property
    def went_on(self) -> bool:
        """Whether there is experience besides what was included."""
        return any(is_own_episode(record) for record in self._journal.records())

    def finish_with_best(self, penalty: Callable[[WorldModel], float | None]) -> Bundle:
        """Go back to the model that predicts held-out episodes best, and save that.

        Args:
            penalty: Chooses one on the disagreement of a model; None: that of the settings stays.
        """
        self.learner.restore(read_checkpoint(self.run.best), self.run.best)
        self.learner.penalty = penalty(self.learner.averaged)
        with self._writing():
            bundle = self.learner.export()
        self._commit()
        self.run.lock.settle()
        return bundle

    def fit(
        self,
        progress: Callable[[int, int], None] = lambda done, total: None,
        judge: HeldOut | None = None,
    ) -> Bundle:
        """Fit the model to all steps so far and export it; between two episodes all is saved.

        In the middle of an episode nothing is: what a process that is killed there did since the
        episode's start can only happen again from its start, in the same way, fits and all; and so
        can episodes that began together in several environments. Several robots are hardly ever
        between two episodes all at once, and do nothing again in the same way: then all is saved
        but the episodes under way.

        Args:
            progress: Called with the updates done and in all; may raise to stop early.
            judge: Says how good the model is then; the best so far is kept beside the newest.
        """
        began = time.monotonic()
        ongoing = self._streams.ongoing()
        result = self.learner.fit(ongoing, progress, len(self._streams))
        self._learned_since_commit = True
        error = None if judge is None else judge.error(self.learner.averaged)
        best = min(self.held_out_errors, default=np.inf)
        self._record_fit(result, time.monotonic() - began, error)
        if error is not None and error < best:
            with self._writing():
                self.learner.save(0, self.run.best)
        if self.learner.fits == 1:
            for hint in hints(self._signature, self.learner.store.episodes):
                self._say(hint)
        with self._writing():
            bundle = self.learner.export()
        if not self._in_round and (not ongoing or len(self._streams) > 1):
            self._commit()
        return bundle

    def delay(self) -> DelayEstimate:
        """How late commands act, as far as all steps so far tell; it takes some tenths of a second.

        Episodes under way are looked at too, so no step may be added meanwhile.
        """
        return estimate_delay(
            [*self.learner.store.episodes, *self._streams.ongoing()],
            parts=[part.name for part in self._signature.parts("vector")],
            compensated=self._signature.delay_periods,
        )

    def recent_evaluation(self, episodes: int = 5) -> Evaluation | None:
        """What the newest whole episodes with planned actions were worth; None without any."""
        most_steps = self.settings.training.episode_steps
        return recent_evaluation(self._journal.records(), episodes, most_steps)

    def finish(self, evaluation: Evaluation | None = None) -> Bundle | None:
        """Write everything down, unfinished episodes too.

        Args:
            evaluation: What the model is worth, for the bundle's manifest.

        Returns:
            The bundle, where there is a model.
        """
        self._keep_cut(*self._streams)
        if evaluation is not None:
            self._record_evaluation(evaluation)
        with self._writing():
            bundle = None if self.random else self.learner.export()
        self._commit()
        self.run.lock.settle()
        return bundle

    def pass_over(self) -> None:
        """Let the next episodes start elsewhere, if nothing came of those under way.

        Where some steps of it came they are kept, and the next start is another one anyway.
        """
        if not any(len(self._streams[number].builder) for number in self._streams):
            self.learner.passed_over += self.settings.training.environments

    def close(self) -> None:
        """Let others train into the folder; nothing may be written afterwards."""
        self.run.lock.release()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(self.run, error) from error

    def _keep_cut(self, *streams: int) -> bool:
        """Keep the episodes under way of some streams as they are; give whether there was one."""
        kept = False
        for number in streams:
            cut = self._streams[number].builder.take()
            if cut is not None:
                self._keep(cut, number)
                kept = True
        return kept

    def _record_evaluation(self, evaluation: Evaluation) -> None:
        self.learner.evaluation = evaluation
        self._journal.record(
            {
                "kind": "evaluation",
                "environment_steps": self.steps,
                **evaluation.model_dump(exclude_none=True),
            }
        )

    def _keep(self, episode: Episode, stream: int) -> None:
        self.learner.add(episode)
        random = self._streams[stream].random
        robot = self.settings.robots[stream] if self.settings.robots else ""
        more = {"random": random, **({"robot": robot} if robot else {})}
        self._journal.record(episode_record(episode, self.learner, **more))
        told = random and self.settings.training.collect != "listen"
        self._say(
            f"episode {self.learner.episodes}{f' of {robot}' if robot else ''}: return "
            f"{episode.total_reward:.1f} in {episode.environment_steps} steps"
            f"{' (random actions)' if told else ''}"
        )

    def _record_fit(self, result: FitResult, seconds: float, error: float | None) -> None:
        record = fit_record(result, self.learner, steps=self.steps, seconds=seconds, error=error)
        self._journal.record(record)
        self._say(
            f"fit {self.learner.fits}: loss {result.metrics['loss']:.4f}"
            f"{'' if error is None else f', held-out error {error:.4f}'} ({seconds:.1f} s, "
            f"{text_of_bytes(self.learner.store.nbytes)} of experience in memory)"
        )
