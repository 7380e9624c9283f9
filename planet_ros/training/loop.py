"""A training run in one process, as fast as the machine goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

from planet_ros.bundle.runtime import Bundle
from planet_ros.config import LearnerSettings, TrainingSettings
from planet_ros.control.exploration import RandomPolicy, exploring
from planet_ros.control.policy import PlanningPolicy, Policy
from planet_ros.data import Signature
from planet_ros.environments import BrokenEnvironment, Environment, EnvironmentSpec
from planet_ros.environments.vector import Environments
from planet_ros.errors import UserError
from planet_ros.models import Task
from planet_ros.training.collect import Alone, Copies, SideBySide, collect_together
from planet_ros.training.evaluate import LONGEST_EPISODE, evaluate
from planet_ros.training.learner import MakeModel, make_model
from planet_ros.training.progress import Progress
from planet_ros.training.run import RunFolder
from planet_ros.training.session import Session

HELD_OUT_SEED = 900_000
"""First start of the evaluation after training; training starts count up from its seed."""


def train(
    settings: LearnerSettings,
    make_model: MakeModel = make_model,
    task_of: Callable[[Signature], Task] | None = None,
) -> RunFolder:
    """Learn an environment from scratch, or go on where the run in the output folder stopped.

    Args:
        settings: Of environment, model, planner and training.
        make_model: Of another kind than the settings name; to continue a run, the same.
        task_of: Makes of the environment's signature what is known of its reward or its end; None:
            both are learned. The evaluation goes by the environment's own.

    Raises:
        UserError: A setting does not fit the environment, the output folder holds a run or cannot
            be written or is a robot's, or the environment fails; what came before is saved.
        KeyboardInterrupt: Ctrl-C; everything is saved, and the text says how to continue.
    """
    folder = RunFolder.of(settings.training.output)
    if settings.training.resume and folder.interface_file.exists():
        raise UserError(
            f"{folder.path}: found the run of a robot, expected that of an environment; the "
            "trainer node goes on with it: ros2 launch planet_ros robot.launch.py resume:=true"
        )
    training = settings.training
    with ExitStack() as stack:
        environment = stack.enter_context(
            closing(Environment(EnvironmentSpec.of(settings), episode_steps=training.episode_steps))
        )
        with (
            copies_of(environment, training) as copies,
            Progress(training.steps, "steps") as progress,
        ):
            for note in environment.notes(
                period_given=training.command_period_s > 0,
                fits_within_episodes=training.update_every_steps > 0,
            ):
                progress.line(note)
            session = Session(
                settings,
                environment.signature,
                environment=environment.spec,
                say=progress.line,
                make_model=make_model,
                task=None if task_of is None else task_of(environment.signature),
            )
            stack.enter_context(closing(session))
            progress.start_at(session.steps)
            _learn_or_save(session, copies, progress)
        environment.episode_steps = 0
        if not session.evaluated:
            _evaluate(session, environment)
    return session.run


@contextmanager
def copies_of(environment: Environment, training: TrainingSettings) -> Iterator[Copies]:
    """Where experience is collected: the environment itself, or copies of it."""
    if training.environments == 1:
        yield Alone(environment)
        return
    with closing(Environments(environment, training.environments, training.vector)) as copies:
        yield copies


def _learn_or_save(session: Session, copies: Copies, progress: Progress) -> None:
    """Learn; whatever ends that before its time, save."""
    try:
        _learn(session, copies, progress)
    except KeyboardInterrupt:
        session.finish()
        raise KeyboardInterrupt(
            f"stopped after {session.steps} environment steps; all is saved, continue "
            f"with: {_resume(session)}"
        ) from None
    except BrokenEnvironment as error:
        session.pass_over()
        session.finish()
        raise BrokenEnvironment(
            f"{error}; the {session.steps} environment steps before it are saved, and the run goes "
            f"on with another start after: {_resume(session)}"
        ) from error
    except Exception:
        session.finish()
        raise


def _resume(session: Session) -> str:
    return f"planet-ros train --resume --output {session.run.path}"


def _learn(session: Session, copies: Copies, progress: Progress) -> None:
    with threads_for_plans() as threads:
        policies = Learning(session, threads)
        if not session.random:
            policies.use(session.learner.export())
        for step in collect_together(policies, copies, starts_of(session)):
            if step.index > 0:
                progress.advance(step.environment_steps)
            if session.add(step):
                policies.use(session.fit())
            if session.finished:
                break


def threads_for_plans() -> ThreadPoolExecutor:
    """One for each processor; none is started before there is a plan to make."""
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="plan")


def starts_of(session: Session) -> Iterator[range]:
    """Seeds of each round's starts, one for each environment, until all steps are taken."""
    while not session.finished:
        first = session.settings.seed + session.learner.starts
        yield range(first, first + session.settings.training.environments)


class Learning(SideBySide):
    """In each environment, act at random until there is a model, then by the newest one."""

    def __init__(self, session: Session, threads: Executor) -> None:
        settings, self._session, self._threads = session.settings, session, threads
        count = settings.training.environments
        super().__init__(
            [
                RandomPolicy(
                    session.learner.signature,
                    seed=settings.seed,
                    beta=settings.training.random_noise_beta,
                    ahead=count > 1,
                )
                for _ in range(count)
            ]
        )

    def use(self, bundle: Bundle) -> None:
        """Plan with a newly fitted model; the warm start and the random numbers go on."""
        self.each = [self._after(policy, bundle) for policy in self.each]
        # A GPU computes one plan after another, whoever asks.
        if len(self.each) > 1 and self._session.learner.acting is None:
            self.threads = self._threads

    def _after(self, policy: Policy, bundle: Bundle) -> Policy:
        settings, learner = self._session.settings, self._session.learner
        newest = exploring(
            PlanningPolicy.of(bundle, settings.seed, model=learner.acting),
            learner.signature,
            noise=settings.training.exploration_noise,
            seed=settings.seed,
        )
        newest.inherit(policy)
        return newest


def _evaluate(session: Session, environment: Environment) -> None:
    episodes = session.settings.training.evaluation_episodes
    if not episodes:
        session.finish()
        return
    # As long as while learning, if that was longer: many an environment ends episodes by itself.
    seen = max(map(len, session.learner.store.episodes), default=0)
    unlimited = environment.time_limit is None
    with Progress(episodes, "evaluation episodes") as progress:
        try:
            result = evaluate(
                session.learner.export(),
                environment,
                episodes=episodes,
                seed=HELD_OUT_SEED,
                after_episode=lambda index, total: progress.advance(),
                longest=max(seen, LONGEST_EPISODE) if unlimited else None,
            )
        except KeyboardInterrupt:
            session.finish()
            raise KeyboardInterrupt(
                f"stopped in the evaluation; the model is learned and saved in "
                f"{session.run.bundle}, what it is worth tells: {_resume(session)}"
            ) from None
        except BrokenEnvironment as error:
            session.finish()
            raise BrokenEnvironment(
                f"{error}; it was in the evaluation: the model is learned and saved in "
                f"{session.run.bundle}; with training.evaluation_episodes: 0 there is none"
            ) from error
        summary = result.for_manifest(f"{episodes} episodes from seed {HELD_OUT_SEED}")
        session.finish(summary)
        cut = f" ({result.cut} were cut: they had not ended)" if result.cut else ""
        progress.line(
            f"evaluation: mean return {summary.mean_return:.1f}, worst "
            f"{summary.worst_return:.1f}{cut}"
        )
