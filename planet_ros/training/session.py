"""One training run, step by step, whoever takes the steps.

`planet_ros.training.loop` drives it with an environment in the same process, the trainer node with
steps from a topic. Both follow PlaNet's algorithm 1 (Hafner et al. 2019): random episodes first,
then the model is fitted, exported and acts, and is fitted again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planet_ros.bundle.manifest import Evaluation
from planet_ros.bundle.runtime import Bundle
from planet_ros.config import Settings
from planet_ros.data import Episode, EpisodeBuilder, Step
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.models import Shapes
from planet_ros.planning.noise import colored_noise
from planet_ros.training.learner import FitResult, Learner
from planet_ros.training.memory import text_of_bytes
from planet_ros.report.curves import plot_learning_curves
from planet_ros.training.run import RunFolder

_ACTION_STREAM = 0
"""Random actions come from ``default_rng([seed, stream, episode, index])``, so that a run that is
resumed, or whose steps come over a network, draws the same ones."""

_NOISE_STEPS = 1000
"""Length of an episode's coloured noise, which then repeats."""


def shapes_of(environment: Environment) -> Shapes:
    """What a model needs to know of an environment."""
    return Shapes(
        environment.observation_size, environment.low, environment.high, environment.images
    )


class Session:
    """Turns steps into episodes, fits, bundles and records."""

    def __init__(
        self,
        settings: Settings,
        shapes: Shapes,
        *,
        environment: EnvironmentSpec | None,
        command_period_s: float,
        say: Callable[[str], None],
    ) -> None:
        """Start a run, or continue the one in the output folder.

        Args:
            settings: All settings.
            shapes: Sizes and bounds of the environment.
            environment: Recorded in the bundle.
            command_period_s: Seconds between two commands, recorded likewise.
            say: Takes a line on what happened, for a person.

        Raises:
            UserError: The output folder holds a run, or one that does not fit the settings.
        """
        self.settings = settings
        training = settings.training
        self.run = RunFolder.start(Path(training.output), resume=training.resume)
        self.learner = Learner(
            settings,
            shapes,
            self.run,
            environment=environment,
            command_period_s=training.command_period_s or command_period_s,
        )
        # Only now, when they are known to fit: settings that do not must not replace those that do.
        self.run.save_settings(settings)
        self._shapes = shapes
        self._say = say
        self._builder = EpisodeBuilder()
        self._noise: tuple[int, NDArray[np.floating]] | None = None
        self._random_episode = self.random

    @property
    def steps(self) -> int:
        """Environment steps so far, those of the episode under way too."""
        return self.learner.environment_steps + self._builder.environment_steps

    @property
    def random(self) -> bool:
        """Whether there is no model yet, so that actions are random."""
        return self.learner.fits == 0

    @property
    def finished(self) -> bool:
        """Whether all steps have been taken."""
        return self.steps >= self.settings.training.steps

    @property
    def missing_steps(self) -> int:
        """Steps that were taken but never arrived."""
        return self._builder.missing_steps

    def random_action(self, episode: int, index: int) -> NDArray[np.float32]:
        """The random action (A,) of a step: uniform, or a part of the episode's coloured noise."""
        low, high, seed = self._shapes.low, self._shapes.high, self.settings.seed
        beta = self.settings.training.random_noise_beta
        if beta == 0:
            rng = np.random.default_rng([seed, _ACTION_STREAM, episode, index])
            return rng.uniform(low, high).astype(np.float32)
        if self._noise is None or self._noise[0] != episode:
            rng = np.random.default_rng([seed, _ACTION_STREAM, episode])
            self._noise = episode, colored_noise(beta, (1, _NOISE_STEPS, len(low)), rng)[0]
        noise = self._noise[1][index % _NOISE_STEPS]
        return np.clip((low + high) / 2 + (high - low) / 2 * noise, low, high).astype(np.float32)

    def add(self, step: Step) -> bool:
        """Take in a step.

        Returns:
            Whether a fit is due.

        Raises:
            UserError: Its observation, an image or its action has another size than the
                environment's.
        """
        self._check(step)
        training = self.settings.training
        episode = self._builder.add(step)
        if episode is not None:
            self._keep(episode)
        if step.index == 0:
            self._random_episode = self.random
        if self.finished:
            self._keep_cut()
        if step.index == 0:
            return False
        pauses = training.pauses_at(self.steps, step.environment_steps, step.last) or self.finished
        return pauses and self._experienced

    def lose(self, step: Step) -> bool:
        """Cut the episode before a step whose images never arrived.

        Returns:
            Whether a fit is due.
        """
        self._keep_cut()
        if step.index == 0:
            self._random_episode = self.random
        # The step counts for nothing, but an episode that ends with it does end.
        return self.settings.training.pauses_at(self.steps, 0, step.last) and self._experienced

    @property
    def _experienced(self) -> bool:
        """Whether there were enough random steps for a fit."""
        training = self.settings.training
        return self.steps >= min(training.random_steps, training.steps)

    def _check(self, step: Step) -> None:
        for name, found, expected in (
            ("observation", len(step.observation), self._shapes.observation),
            ("action", len(step.action), self._shapes.action),
        ):
            if found != expected:
                raise UserError(f"step: found {found} numbers of {name}, expected {expected}")
        images = {name: image.shape for name, image in step.images.items()}
        if images != self._shapes.images:
            raise UserError(f"step: found the images {images}, expected {self._shapes.images}")

    def fit(self, progress: Callable[[int, int], None] = lambda done, total: None) -> Bundle:
        """Fit the model to all steps so far, export it and save a checkpoint.

        Args:
            progress: Called with the updates done and in all; may raise to stop early.
        """
        began = time.monotonic()
        result = self.learner.fit(self._builder.snapshot(), progress)
        bundle = self.learner.export()
        self.learner.save()
        self._record_fit(result, time.monotonic() - began)
        return bundle

    def recent_evaluation(self, episodes: int = 5) -> Evaluation | None:
        """What the newest whole episodes with planned actions were worth; None without any."""
        returns = [
            record["return"]
            for record in self.run.metrics()
            if record["kind"] == "episode"
            and not record["random"]
            and (record["terminated"] or record["truncated"])
        ][-episodes:]
        if not returns:
            return None
        return Evaluation(
            source=f"last {len(returns)} training episodes",
            mean_return=float(np.mean(returns)),
            worst_return=min(returns),
            episodes=len(returns),
        )

    def finish(self, evaluation: Evaluation | None = None) -> Bundle | None:
        """Write everything down, an unfinished episode too.

        Args:
            evaluation: What the model is worth, for the bundle's manifest.

        Returns:
            The bundle, where there is a model.
        """
        self._keep_cut()
        bundle = None if self.random else self.learner.export(evaluation)
        if evaluation is not None:
            self.run.log(
                {
                    "kind": "evaluation",
                    "environment_steps": self.steps,
                    **evaluation.model_dump(exclude_none=True),
                }
            )
        self.learner.save()
        plot_learning_curves(self.run)
        return bundle

    def _keep_cut(self) -> None:
        cut = self._builder.take()
        if cut is not None:
            self._keep(cut)

    def _keep(self, episode: Episode) -> None:
        self.learner.add(episode)
        random = self._random_episode
        self.run.log(
            {
                "kind": "episode",
                "episode": self.learner.episodes - 1,
                "environment_steps": self.learner.environment_steps,
                "decisions": len(episode),
                "return": episode.total_reward,
                "random": random,
                "terminated": episode.terminated,
                "truncated": episode.truncated,
            }
        )
        self._say(
            f"episode {self.learner.episodes}: return {episode.total_reward:.1f} in "
            f"{episode.environment_steps} steps{' (random actions)' if random else ''}"
        )

    def _record_fit(self, result: FitResult, seconds: float) -> None:
        self.run.log(
            {
                "kind": "fit",
                "fit": self.learner.fits,
                "environment_steps": self.steps,
                **result.metrics,
                "one_step_reward_error": result.one_step_reward_error,
                "horizon_reward_error": result.horizon_reward_error,
                "experience_bytes": self.learner.store.nbytes,
                "seconds": round(seconds, 3),
            }
        )
        self._say(
            f"fit {self.learner.fits}: loss {result.metrics['loss']:.4f} ({seconds:.1f} s, "
            f"{text_of_bytes(self.learner.store.nbytes)} of experience in memory)"
        )
