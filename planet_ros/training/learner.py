"""The learner: episodes go in, a fitted model and its bundle come out.

It knows neither Gymnasium nor ROS: `planet_ros.training.loop` feeds it in one process,
`planet_ros.ros.trainer_node` from a topic.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel

from planet_ros.bundle.export import BundleExporter
from planet_ros.bundle.manifest import VECTOR_PART, Evaluation
from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.config import Settings
from planet_ros.control.agent import BeliefModel
from planet_ros.data import Episode, EpisodeStore, SequenceBatch, SequenceSampler
from planet_ros.environments import EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.models import Ensemble, Rssm, Shapes, WorldModel
from planet_ros.models.contract import TorchBatch
from planet_ros.training.checkpoint import load_checkpoint, save_checkpoint
from planet_ros.training.memory import check_memory
from planet_ros.training.run import RunFolder
from planet_ros.training.torch_model import TorchBeliefModel


@dataclass(frozen=True)
class FitResult:
    """What a fit did: mean of each metric over its updates, errors on data not yet seen."""

    metrics: dict[str, float]
    one_step_reward_error: float | None
    horizon_reward_error: float | None


class Learner:
    """A model with its optimizer, its data and its folder."""

    def __init__(
        self,
        settings: Settings,
        shapes: Shapes,
        run: RunFolder,
        *,
        environment: EnvironmentSpec | None,
        command_period_s: float,
    ) -> None:
        """Make a learner, or continue the run that the folder holds.

        Args:
            settings: All settings.
            shapes: Sizes and bounds of the environment.
            run: Folder of the run.
            environment: Recorded in the bundle, so that it can be evaluated there again.
            command_period_s: Seconds between two commands, recorded likewise.

        Raises:
            UserError: The checkpoint or the episodes do not fit the settings, or the episodes
                may come to need more memory than there is.
        """
        check_memory(settings, shapes)
        torch.set_num_threads(settings.training.threads)
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.run = run
        self._environment = environment
        self._period = command_period_s
        self._device = _device(settings.training.device)
        self.model = make_model(settings, shapes).to(self._device)
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=settings.training.learning_rate,
            eps=settings.training.adam_epsilon,
            weight_decay=settings.training.weight_decay,
        )
        self._average = AveragedModel(
            self.model, multi_avg_fn=_running_average(settings.training.weight_averaging)
        )
        self._rng = np.random.default_rng([settings.seed, _SAMPLING_STREAM])
        self.store = EpisodeStore(
            run.episodes,
            capacity_steps=settings.data.capacity_steps,
            capacity_bytes=settings.data.capacity_bytes,
        )
        if self.store.episodes:  # which are all alike
            _check_parts(self.store.episodes[0], shapes, run.episodes)
        self.environment_steps = 0
        self.decisions = 0
        self.episodes = 0
        self.fits = 0
        self._judged_steps = 0
        self._last_result: FitResult | None = None
        self._exporter: BundleExporter | None = None
        if run.has_checkpoint:
            self._resume()

    @property
    def _modules(self) -> dict[str, nn.Module]:
        """What a checkpoint holds."""
        return {"model": self.model, "average": self._average}

    @property
    def averaged(self) -> WorldModel:
        """The model with its weights averaged over the newest updates, which acts."""
        return cast(WorldModel, self._average.module)

    @property
    def acting(self) -> BeliefModel | None:
        """What acts while learning, where the model lives on another device than the processor.

        On the processor the exported graphs are faster, and are what acts afterwards: None.
        """
        return None if self._device.type == "cpu" else TorchBeliefModel(self.averaged)

    def _resume(self) -> None:
        state = load_checkpoint(self.run.checkpoint, self._modules, self._optimizer)
        self.environment_steps = state["environment_steps"]
        self.decisions = state["decisions"]
        self.episodes = state["episodes"]
        self.fits = state["fits"]
        self._rng.bit_generator.state = state["sampling"]
        self._judged_steps = self.decisions

    def add(self, episode: Episode) -> None:
        """Keep an episode, on disk too.

        Raises:
            UserError: It does not have the shapes that the model was made for.
        """
        _check_parts(episode, self.model.shapes, "the new episode")
        self.store.add(episode)
        self.episodes += 1
        self.environment_steps += episode.environment_steps
        self.decisions += len(episode)

    def fit(
        self,
        ongoing: Episode | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> FitResult:
        """Fit the model to all that is stored, and to the episode under way.

        Args:
            ongoing: Steps of an unfinished episode, not yet stored.
            progress: Called with the updates done and in all; may raise to stop early.

        Raises:
            UserError: No episode is as long as a sequence, or the loss is no longer finite; the
                model is then what it was before.
        """
        training = self.settings.training
        episodes = [*self.store.episodes, *([ongoing] if ongoing else [])]
        states: tuple[Any, ...] = (*self._modules.values(), self._optimizer)
        before = copy.deepcopy([one.state_dict() for one in states])
        taken = self.decisions + len(ongoing or ())
        one_step, horizon = self._errors_on_unseen(episodes, taken)
        self.model.fit_normalization(episodes)
        sampler = SequenceSampler(episodes, training.sequence_length)
        batch_shape = self.model.batch_dimensions(training.batch_size)
        sums: dict[str, torch.Tensor] = {}
        for update in range(training.updates):
            tensors = self._on_device(sampler.sample(batch_shape, self._rng))
            with self._mixed_precision():
                loss, metrics = self.model.loss(tensors, training.loss_steps)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if training.gradient_clip:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.gradient_clip)
            self._optimizer.step()
            self._average.update_parameters(self.model)
            for name, value in metrics.items():
                sums[name] = sums[name] + value if name in sums else value
            progress(update + 1, training.updates)
        means = {name: float(value) / training.updates for name, value in sums.items()}
        weights_finite = all(bool(weight.isfinite().all()) for weight in self.model.parameters())
        if not (weights_finite and all(np.isfinite(list(means.values())))):
            for one, state in zip(states, before, strict=True):
                one.load_state_dict(state)
            raise UserError(
                f"training: the fit diverged, with a loss of {means}; a smaller "
                f"training.learning_rate than {training.learning_rate:g} or a "
                "training.gradient_clip such as 10 usually helps"
            )
        self.fits += 1
        self._last_result = FitResult(means, one_step, horizon)
        return self._last_result

    def _mixed_precision(self) -> torch.autocast:
        return torch.autocast(
            self._device.type,
            dtype=torch.bfloat16,
            enabled=self.settings.training.precision == "bfloat16",
        )

    def _on_device(self, batch: SequenceBatch) -> TorchBatch:
        def tensor(values: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(values).to(self._device)

        return TorchBatch(
            tensor(batch.observation),
            tensor(batch.action),
            tensor(batch.reward),
            tensor(batch.continues),
            tensor(batch.mask),
            {name: tensor(frames) for name, frames in batch.images.items()},
        )

    def _errors_on_unseen(
        self, episodes: Sequence[Episode], taken: int
    ) -> tuple[float | None, float | None]:
        """Root mean square error of the reward over the steps added since the last fit."""
        fresh, self._judged_steps = taken - self._judged_steps, taken
        horizon = self.settings.planner.horizon
        newest = episodes[-1]
        if self.fits == 0 or fresh < horizon or len(newest) < horizon:
            return None, None
        # Starts spread evenly over the newest steps; the belief is filtered up to each of them.
        first = max(0, len(newest) - fresh)
        starts = set(np.linspace(first, len(newest) - horizon, 20).astype(int))
        model, errors = self.averaged, []
        observations = torch.from_numpy(newest.observation).to(self._device)
        images = {
            name: torch.from_numpy(frames).to(self._device)
            for name, frames in newest.images.items()
        }
        actions = torch.from_numpy(newest.action).to(self._device)
        belief = model.initial_belief().to(self._device)
        action = torch.from_numpy((model.shapes.low + model.shapes.high) / 2).to(self._device)
        with torch.no_grad():
            for start in range(max(starts) + 1):
                seen = {name: frames[start] for name, frames in images.items()}
                belief = model.observe(belief, action, observations[start], seen)
                action = actions[start]
                if start in starts and start >= first:
                    rewards = model.imagine(belief, actions[None, start : start + horizon])[0][0]
                    errors.append(rewards.cpu().numpy() - newest.reward[start : start + horizon])
        if not errors:
            return None, None
        square = np.square(errors)
        return float(np.sqrt(square[:, 0].mean())), float(np.sqrt(square.mean()))

    def export(self, evaluation: Evaluation | None = None, path: Path | None = None) -> Bundle:
        """Write the bundle of the model as it is now, and load it as a controller would.

        Args:
            evaluation: What is known of its worth.
            path: Folder of the bundle; the run's own by default.
        """
        path = path or self.run.bundle
        if self._exporter is None:
            # Traced on the processor, where the graphs will run; the weights are copied.
            self._exporter = BundleExporter(self.averaged.cpu(), self.settings.planner.horizon)
            self._average.to(self._device)
        self._exporter.export(path, self._about(evaluation or Evaluation()))
        return load_bundle(path)

    def _about(self, evaluation: Evaluation) -> dict[str, Any]:
        shapes, environment, result = self.model.shapes, self._environment, self._last_result
        errors = {
            "one_step_reward_error": result.one_step_reward_error if result else None,
            "horizon_reward_error": result.horizon_reward_error if result else None,
        }
        return {
            "model_kind": self.settings.world_model.kind,
            "horizon": self.settings.planner.horizon,
            "control_period_s": self._period,
            "observation": _observation_parts(shapes),
            "action": [
                {"name": f"action_{index}", "low": float(low), "high": float(high)}
                for index, (low, high) in enumerate(zip(shapes.low, shapes.high, strict=True))
            ],
            "planner": self.settings.planner,
            "environment": None if environment is None else asdict(environment),
            "environment_steps": self.environment_steps,
            "decisions": self.decisions,
            "episodes": self.episodes,
            "seed": self.settings.seed,
            "evaluation": evaluation.model_copy(update=errors),
        }

    def save(self) -> None:
        """Write the checkpoint, from which the run can be continued."""
        save_checkpoint(
            self.run.checkpoint,
            self._modules,
            self._optimizer,
            {
                "environment_steps": self.environment_steps,
                "decisions": self.decisions,
                "episodes": self.episodes,
                "fits": self.fits,
                "sampling": self._rng.bit_generator.state,
                "observation_size": self.model.shapes.observation,
                "images": self.model.shapes.images,
                "low": self.model.shapes.low.tolist(),
                "high": self.model.shapes.high.tolist(),
                "control_period_s": self._period,
            },
        )


_SAMPLING_STREAM = 1  # apart from those of random actions (0) and of exploration (3)


def _running_average(
    decay: float,
) -> Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor], torch.Tensor | int], None]:
    """Rule of an exponential average whose memory grows with what there is to remember.

    With the full decay from the beginning, the first fits would act by weights that have hardly
    learned; so the decay is at most (1 + n) / (10 + n) after n updates.
    """

    @torch.no_grad()
    def update(
        averages: Sequence[torch.Tensor],
        newest: Sequence[torch.Tensor],
        count: torch.Tensor | int,
    ) -> None:
        kept = min(decay, (1 + int(count)) / (10 + int(count)))
        for average, value in zip(averages, newest, strict=True):
            average.lerp_(value, 1 - kept)

    return update


def _check_parts(episode: Episode, shapes: Shapes, name: Path | str) -> None:
    """See that an episode holds what the model is to learn.

    Raises:
        UserError: A part is missing or of another size.
    """
    found: dict[str, Any] = {
        "numbers of observation": episode.observation.shape[1],
        "numbers of action": episode.action.shape[1],
        "images": {part: frames.shape[1:] for part, frames in episode.images.items()},
    }
    expected: dict[str, Any] = {
        "numbers of observation": shapes.observation,
        "numbers of action": shapes.action,
        "images": dict(shapes.images),
    }
    for part, value in expected.items():
        if found[part] != value:
            raise UserError(
                f"{name}: found {part}: {found[part]}, expected {value} as the environment has it; "
                "learn from episodes of the same environment and wrappers, in a folder of their own"
            )


def _observation_parts(shapes: Shapes) -> list[dict[str, Any]]:
    vector = {"name": VECTOR_PART, "shape": [shapes.observation]}
    images = (
        {"name": name, "shape": list(shape), "dtype": "uint8"}
        for name, shape in shapes.images.items()
    )
    return [*([vector] if shapes.observation else []), *images]


def make_model(settings: Settings, shapes: Shapes) -> WorldModel:
    """The world model that settings describe."""
    if settings.world_model.kind == "rssm":
        return Rssm(shapes, settings.rssm, settings.world_model.predict_continue)
    return Ensemble(shapes, settings.world_model)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros((), device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"training.device: {name!r} cannot be used: {error}; cpu always can"
        ) from None
    return device
