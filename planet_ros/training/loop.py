"""PlaNet's loop in one process: act, record, fit, export, again (Hafner et al. 2019, algorithm 1)."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from planet_ros.config import Settings
from planet_ros.control.agent import Agent
from planet_ros.data import Episode, EpisodeBuilder
from planet_ros.environment import Environment, EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.models import Shapes
from planet_ros.training.evaluate import evaluate
from planet_ros.training.learner import FitResult, Learner
from planet_ros.training.progress import Progress
from planet_ros.training.report import plot_learning_curves
from planet_ros.training.run import RunFolder

ACTION_STREAM = 0
"""Random actions of an episode come from ``default_rng([seed, ACTION_STREAM, episode])``."""

HELD_OUT_SEED = 900_000
"""First start of the evaluation after training; training starts count up from its seed."""


class Interrupted(Exception):
    """Training was stopped by the user; what it had is saved."""


def train(settings: Settings) -> RunFolder:
    """Learn an environment from scratch, or go on where the run in the output folder stopped.

    Raises:
        UserError: A setting does not fit the environment, or the output folder holds a run.
        Interrupted: Ctrl-C; everything is saved, and the run can be continued.
    """
    training = settings.training
    environment = Environment(EnvironmentSpec.of(settings))
    run = RunFolder.start(Path(training.output), settings, resume=training.resume)
    learner = Learner(
        settings,
        Shapes(environment.observation_size, environment.low, environment.high),
        run,
        environment=environment.spec,
        command_period_s=training.command_period_s or environment.step_period_s,
    )
    loop = _Loop(settings, environment, learner)
    try:
        loop.run()
    except KeyboardInterrupt:
        loop.finish()
        raise Interrupted(
            f"stopped after {learner.environment_steps} environment steps; all is saved, "
            f"continue with: planet-ros train --resume --output {run.path}"
        ) from None
    except UserError:
        loop.finish()
        raise
    finally:
        environment.close()
    return run


class _Loop:
    def __init__(self, settings: Settings, environment: Environment, learner: Learner) -> None:
        self._settings = settings
        self._environment = environment
        self._learner = learner
        self._builder = EpisodeBuilder()
        self._agent: Agent | None = None

    def run(self) -> None:
        settings, learner = self._settings, self._learner
        total = settings.training.steps
        if learner.fits:
            self._agent = Agent.of(learner.export(), settings.seed)
        with Progress(total, "steps", start=learner.environment_steps) as progress:
            while learner.environment_steps < total:
                self._collect_episode(progress)
        self.finish()
        self._evaluate()

    def _collect_episode(self, progress: Progress) -> None:
        settings, learner, training = self._settings, self._learner, self._settings.training
        rng = np.random.default_rng([settings.seed, ACTION_STREAM, learner.episodes])
        if self._agent is not None:
            self._agent.reset(seed=settings.seed + learner.episodes)
        random = self._agent is None
        step = self._environment.reset(seed=settings.seed + learner.episodes)
        self._builder.add(step)
        episode = None
        while episode is None:
            if self._agent is None:
                action = self._environment.random_action(rng)
            else:
                action = self._agent.act(step.observation).actions[0]
            step = self._environment.step(action)
            progress.advance()
            episode = self._builder.add(step)
            steps = learner.environment_steps + len(episode or self._builder)
            if steps == training.steps and episode is None:
                episode = self._builder.take()
            if episode is not None:
                learner.add(episode)
                progress.line(record_episode(learner, episode, random=random))
            due = training.pauses_at(steps, episode is not None) or steps == training.steps
            if due and steps >= training.random_steps:
                progress.line(self._fit())

    def _fit(self) -> str:
        began = time.monotonic()
        ongoing = self._builder.snapshot()
        result = self._learner.fit(ongoing)
        bundle = self._learner.export()
        self._learner.save()
        if self._agent is None:
            self._agent = Agent.of(bundle, self._settings.seed)
        else:
            self._agent.model = bundle.model
        return record_fit(self._learner, result, ongoing, seconds=time.monotonic() - began)

    def finish(self) -> None:
        """Write everything down, an unfinished episode too."""
        learner = self._learner
        cut = self._builder.take()
        if cut is not None:
            learner.add(cut)
            record_episode(learner, cut, random=self._agent is None)
        learner.save()
        plot_learning_curves(learner.run)

    def _evaluate(self) -> None:
        episodes = self._settings.training.evaluation_episodes
        if not episodes:
            return
        bundle = self._learner.export()
        with Progress(episodes, "evaluation episodes") as progress:
            result = evaluate(
                bundle,
                self._environment,
                episodes=episodes,
                seed=HELD_OUT_SEED,
                after_episode=lambda index, total: progress.advance(),
            )
            summary = result.for_manifest(f"{episodes} episodes from seed {HELD_OUT_SEED}")
            self._learner.export(summary)
            self._learner.run.log(
                {
                    "kind": "evaluation",
                    "environment_steps": self._learner.environment_steps,
                    **result.to_dict(),
                }
            )
            progress.line(
                f"evaluation: mean return {summary.mean_return:.1f}, worst "
                f"{summary.worst_return:.1f}"
            )


def record_episode(learner: Learner, episode: Episode, *, random: bool) -> str:
    """Log an episode to the run's metrics, and give a line on it for a person."""
    learner.run.log(
        {
            "kind": "episode",
            "episode": learner.episodes - 1,
            "environment_steps": learner.environment_steps,
            "length": len(episode),
            "return": episode.total_reward,
            "random": random,
            "terminated": episode.terminated,
            "truncated": episode.truncated,
        }
    )
    return (
        f"episode {learner.episodes}: return {episode.total_reward:.1f} in {len(episode)} steps"
        f"{' (random actions)' if random else ''}"
    )


def record_fit(
    learner: Learner, result: FitResult, ongoing: Episode | None, *, seconds: float
) -> str:
    """Log a fit to the run's metrics, and give a line on it for a person."""
    learner.run.log(
        {
            "kind": "fit",
            "fit": learner.fits,
            "environment_steps": learner.environment_steps + len(ongoing or ()),
            **result.metrics,
            "one_step_reward_error": result.one_step_reward_error,
            "horizon_reward_error": result.horizon_reward_error,
            "seconds": round(seconds, 3),
        }
    )
    return f"fit {learner.fits}: loss {result.metrics['loss']:.4f} ({seconds:.1f} s)"
