"""A training run in one process, as fast as the machine goes."""

from __future__ import annotations

from planet_ros.bundle.runtime import Bundle
from planet_ros.config import Settings
from planet_ros.control.agent import Agent
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.training.evaluate import evaluate
from planet_ros.training.progress import Progress
from planet_ros.training.run import RunFolder
from planet_ros.training.session import Session, shapes_of

HELD_OUT_SEED = 900_000
"""First start of the evaluation after training; training starts count up from its seed."""


def train(settings: Settings) -> RunFolder:
    """Learn an environment from scratch, or go on where the run in the output folder stopped.

    Raises:
        UserError: A setting does not fit the environment, or the output folder holds a run.
        KeyboardInterrupt: Ctrl-C; everything is saved, and the text says how to continue.
    """
    environment = Environment(EnvironmentSpec.of(settings))
    try:
        with Progress(settings.training.steps, "steps") as progress:
            session = Session(
                settings,
                shapes_of(environment),
                environment=environment.spec,
                command_period_s=environment.step_period_s,
                say=progress.line,
            )
            progress.start_at(session.steps)
            try:
                _learn(session, environment, progress)
            except KeyboardInterrupt:
                session.finish()
                raise KeyboardInterrupt(
                    f"stopped after {session.steps} environment steps; all is saved, continue "
                    f"with: planet-ros train --resume --output {session.run.path}"
                ) from None
            except UserError:
                session.finish()
                raise
        _evaluate(session, environment)
    finally:
        environment.close()
    return session.run


def _learn(session: Session, environment: Environment, progress: Progress) -> None:
    seed = session.settings.seed
    agent = None if session.random else _with_model(None, session.learner.export(), session)
    while not session.finished:
        episode = session.learner.episodes
        if agent is not None:
            agent.reset(seed=seed + episode)
        step = environment.reset(seed=seed + episode)
        session.add(step)
        while not (step.last or session.finished):
            if agent is None:
                action = session.random_action(episode, step.index)
            else:
                action = agent.act(step.observation, step.images).actions[0]
            step = environment.step(action)
            progress.advance(step.environment_steps)
            if session.add(step):
                agent = _with_model(agent, session.fit(), session)


def _with_model(agent: Agent | None, bundle: Bundle, session: Session) -> Agent:
    """The agent with a newly fitted model, its warm start and random numbers kept."""
    if agent is None:
        settings = session.settings
        noise = settings.training.exploration_noise
        agent = Agent.of(bundle, settings.seed, exploration_noise=noise)
    agent.model = session.learner.acting or bundle.model
    return agent


def _evaluate(session: Session, environment: Environment) -> None:
    episodes = session.settings.training.evaluation_episodes
    if not episodes:
        session.finish()
        return
    with Progress(episodes, "evaluation episodes") as progress:
        result = evaluate(
            session.learner.export(),
            environment,
            episodes=episodes,
            seed=HELD_OUT_SEED,
            after_episode=lambda index, total: progress.advance(),
        )
        summary = result.for_manifest(f"{episodes} episodes from seed {HELD_OUT_SEED}")
        session.finish(summary)
        progress.line(
            f"evaluation: mean return {summary.mean_return:.1f}, worst {summary.worst_return:.1f}"
        )
