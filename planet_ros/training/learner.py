"""The learner: episodes go in, a fitted model and its bundle come out.

It knows neither Gymnasium nor ROS: `planet_ros.training.loop` feeds it in one process,
`planet_ros.ros.trainer_node` from a topic.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel

from planet_ros.bundle.export import BundleExporter
from planet_ros.bundle.manifest import Evaluation
from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.config import LearnerSettings, PlannerSettings
from planet_ros.control.policy import BeliefModel
from planet_ros.data import Episode, EpisodeStore, Replay, SequenceBatch, Signature
from planet_ros.data.sampling import SequenceSampler
from planet_ros.environments import EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.models import Ensemble, Rssm, Task, WorldModel
from planet_ros.models.contract import TorchBatch
from planet_ros.training.averaging import running_average
from planet_ros.training.checkpoint import (
    STATE_FILE,
    Checkpoint,
    RunState,
    load_tensors,
    save_checkpoint,
)
from planet_ros.training.coverage import data_disagreement, forecasts
from planet_ros.training.run import RunFolder
from planet_ros.training.torch_model import TorchBeliefModel


@dataclass(frozen=True)
class FitResult:
    """What a fit did: mean of each metric over its updates, errors on data not yet seen."""

    metrics: dict[str, float]
    one_step_reward_error: float | None
    horizon_reward_error: float | None


def make_model(
    settings: LearnerSettings, signature: Signature, task: Task | None = None
) -> WorldModel:
    """The world model that settings describe.

    Raises:
        UserError: It cannot be made, or there is a goal that nothing looks at.
    """
    if signature.goal is not None and (task is None or task.reward is None):
        raise UserError(
            f"found the goal {signature.goal.name!r} and no known reward, expected a task with "
            "one: a reward that is learned knows no goal"
        )
    if settings.world_model.kind == "rssm":
        return Rssm(signature, settings.rssm, settings.world_model.predict_continue, task)
    return Ensemble(signature, settings.world_model, task)


MakeModel: TypeAlias = Callable[[LearnerSettings, Signature, Task | None], WorldModel]
"""Makes a model with random weights, from torch's global generator, as `make_model` does."""


class Learner:
    """A model with its optimizer and the experience that it learns from."""

    def __init__(
        self,
        settings: LearnerSettings,
        signature: Signature,
        run: RunFolder,
        *,
        environment: EnvironmentSpec | None,
        interface: Interface | None = None,
        store: EpisodeStore | None = None,
        make_model: MakeModel = make_model,
        task: Task | None = None,
    ) -> None:
        """Make a learner with random weights; it writes nothing until it is told to.

        Args:
            settings: Of learning.
            signature: Of what is learned.
            run: Folder of the run, for `export` and `save`.
            environment: Recorded in the bundle, so that it can be evaluated there again.
            interface: Of a robot; in the bundle it says a controller what to read and to send.
            store: Its episodes; None: none yet, and none on disk.
            make_model: Of another kind than the settings name.
            task: What is known and need not be learned.

        Raises:
            UserError: The model cannot be made, the task cannot be exported, or the episodes are of
                something else.
        """
        training = settings.training
        torch.set_num_threads(training.threads)
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.signature = signature
        self.run = run
        self.environment = environment
        self._interface = interface
        self._device = _device(training.device)
        self.model = make_model(settings, signature, task).to(self._device)
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=training.learning_rate,
            eps=training.adam_epsilon,
            weight_decay=training.weight_decay,
        )
        self._average = AveragedModel(
            self.model, multi_avg_fn=running_average(training.weight_averaging)
        )
        self._rng = np.random.default_rng([settings.seed, _SAMPLING_STREAM])
        self.store = EpisodeStore() if store is None else store
        if self.store.newest is not None:  # they are all alike
            signature.check(self.store.newest.layout, str(self.store.directory))
        scored = self.model.scored_steps(training.sequence_length, training.loss_steps)
        self._replay = Replay.of(self.store.episodes, training.sequence_length, scored)
        self.environment_steps = 0
        self.decisions = 0
        self.fits = 0
        self.passed_over = 0
        """Starts of which nothing came, because the environment failed before its first step."""
        self.evaluation: Evaluation | None = None
        """What the model as it is now is worth; None: nobody has looked."""
        self.disagreement: float | None = None
        """Of the model's members on the newest data; None: nobody can disagree."""
        self.penalty: float | None = None
        """On disagreement, chosen for the model as it is now; None: that of the settings."""
        self._judged_steps = 0
        self._one_step_error: float | None = None
        self._horizon_error: float | None = None
        self._exporter: BundleExporter | None = None
        if task is not None:
            self._trace()  # what a person wrote is refused before anything is learned

    @property
    def episodes(self) -> int:
        """Episodes so far, those that are no longer stored too."""
        return self.store.next_number

    @property
    def starts(self) -> int:
        """Starts of episodes so far, those of which nothing came too: the number of the next."""
        return self.episodes + self.passed_over

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

    def restore(self, checkpoint: Checkpoint, path: Path | None = None) -> None:
        """Go on from where a checkpoint of the same settings was saved.

        Args:
            checkpoint: What was saved.
            path: Where, for the error; by default the run's own.

        Raises:
            UserError: It was made for something else or with other settings, or is damaged.
        """
        path, state = path or self.run.checkpoint, checkpoint.state
        self.signature.check(state.signature, str(path))
        load_tensors(path, checkpoint.tensors, self._modules, self._optimizer)
        try:
            self._rng.bit_generator.state = state.sampling
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{path / STATE_FILE}: sampling: {error!r}") from None
        self.store.next_number = state.episodes
        self.environment_steps = state.environment_steps
        self.decisions = state.decisions
        self.fits = state.fits
        self.passed_over = state.passed_over
        self.evaluation = state.evaluation
        self._judged_steps = state.judged_steps
        self._one_step_error = state.one_step_reward_error
        self._horizon_error = state.horizon_reward_error
        self.disagreement, self.penalty = state.disagreement, state.penalty

    def save(self, metrics_bytes: int, path: Path | None = None) -> None:
        """Write the checkpoint, from which the run can be continued.

        Args:
            metrics_bytes: Length of the metrics that belong to it.
            path: Its folder; by default the run's own.
        """
        state = RunState(
            signature=self.signature,
            environment_steps=self.environment_steps,
            decisions=self.decisions,
            episodes=self.episodes,
            fits=self.fits,
            passed_over=self.passed_over,
            judged_steps=self._judged_steps,
            one_step_reward_error=self._one_step_error,
            horizon_reward_error=self._horizon_error,
            disagreement=self.disagreement,
            penalty=self.penalty,
            evaluation=self.evaluation,
            metrics_bytes=metrics_bytes,
            sampling=dict(self._rng.bit_generator.state),
        )
        save_checkpoint(path or self.run.checkpoint, self._modules, self._optimizer, state)

    def add(self, episode: Episode) -> None:
        """Keep an episode; the store's `write` makes it last.

        Raises:
            UserError: It does not have the layout that the model was made for.
        """
        self.signature.check(episode.layout, "the new episode")
        gone = self.store.add(episode)
        self._replay.append(episode)
        self._replay.drop_first(gone)
        self.environment_steps += episode.environment_steps
        self.decisions += len(episode)

    def fit(
        self,
        ongoing: Sequence[Episode] = (),
        progress: Callable[[int, int], None] = lambda done, total: None,
        streams: int = 1,
    ) -> FitResult:
        """Fit the model to all that is stored, and to the episodes under way.

        Whatever is raised, the learner is then what it was before.

        Args:
            ongoing: Steps of unfinished episodes, not yet stored, one for each robot or copy of an
                environment; the last is the one whose newest step is the newest of all.
            progress: Called with the updates done and in all; may raise to stop early.
            streams: How many robots or environments there are.

        Raises:
            UserError: There is no step to learn from, or the loss is no longer finite.
        """
        self._replay.follow(ongoing)
        sampler = self._replay.sampler()
        newest = ongoing[-1] if ongoing else self.store.newest
        assert newest is not None  # the sampler has found a sequence in it
        with self._all_or_nothing():
            taken = self.decisions + sum(map(len, ongoing))
            fresh, self._judged_steps = taken - self._judged_steps, taken
            fresh //= max(1, streams)  # which take as many each, or about that
            one_step, horizon = self._errors_on_unseen(newest, fresh)
            self.model.fit_normalization(self._replay.statistics())
            means = self._descend(sampler, progress)
        self.fits += 1
        self.evaluation = self.penalty = None
        self._one_step_error, self._horizon_error = one_step, horizon
        learned = [*self.store.episodes, *ongoing]
        ahead = self.settings.planner.horizon
        self.disagreement = data_disagreement(self.averaged, learned, ahead)
        return FitResult(means, one_step, horizon)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Put weights, optimizer and random numbers back where they were if anything is raised."""
        states: tuple[Any, ...] = (*self._modules.values(), self._optimizer)
        before = copy.deepcopy([one.state_dict() for one in states])
        sampling, random = self._rng.bit_generator.state, torch.get_rng_state()
        judged = self._judged_steps
        try:
            yield
        except BaseException:  # Ctrl-C too
            for one, state in zip(states, before, strict=True):
                one.load_state_dict(state)
            self._rng.bit_generator.state = sampling
            torch.set_rng_state(random)
            self._judged_steps = judged
            raise

    def _descend(
        self, sampler: SequenceSampler, progress: Callable[[int, int], None]
    ) -> dict[str, float]:
        """Update the weights as often as is set; give the mean of each metric.

        Raises:
            UserError: The loss or a weight is no longer finite.
        """
        training = self.settings.training
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
        self.averaged.fit_noise(tensors)
        means = {name: float(value) / training.updates for name, value in sums.items()}
        weights_finite = all(bool(weight.isfinite().all()) for weight in self.model.parameters())
        if not (weights_finite and all(np.isfinite(list(means.values())))):
            raise UserError(
                f"training: the fit diverged, with a loss of {means}; a smaller "
                f"training.learning_rate than {training.learning_rate:g} or a "
                "training.gradient_clip such as 10 usually helps"
            )
        return means

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
            {name: tensor(values) for name, values in batch.observation.items()},
            tensor(batch.action),
            tensor(batch.reward),
            tensor(batch.continues),
            tensor(batch.mask),
        )

    def _errors_on_unseen(self, newest: Episode, fresh: int) -> tuple[float | None, float | None]:
        """Root mean square error of the reward over the steps added since the last fit.

        Args:
            newest: Episode in which they are, or the last of them.
            fresh: How many there are.

        Returns:
            That of the next step, and that of all steps over the horizon; None where there is no
            model yet, or less to compare it with than a horizon.
        """
        horizon = self.settings.planner.horizon
        if self.fits == 0 or fresh < horizon or len(newest) < horizon:
            return None, None
        # Starts spread evenly over the newest steps; the belief is filtered up to each of them.
        first, last = max(0, len(newest) - fresh), len(newest) - horizon
        starts = np.linspace(first, last, 20).astype(int)
        found = forecasts(self.averaged, newest, starts, horizon)
        errors = [one.rewards - one.truth for one in found]
        square = np.square(errors)
        return float(np.sqrt(square[:, 0].mean())), float(np.sqrt(square.mean()))

    def export(self, evaluation: Evaluation | None = None, path: Path | None = None) -> Bundle:
        """Write the bundle of the model as it is now, and load it as a controller would.

        Args:
            evaluation: What is known of its worth; by default what the learner knows.
            path: Folder of the bundle; the run's own by default.
        """
        path = path or self.run.bundle
        exporter = self._exporter or self._trace()
        exporter.export(path, self._about(evaluation or self.evaluation or Evaluation()))
        return load_bundle(path)

    def _trace(self) -> BundleExporter:
        # Traced on the processor, where the graphs will run; the weights are copied.
        self._exporter = BundleExporter(self.averaged.cpu(), self.settings.planner.horizon)
        self._average.to(self._device)
        return self._exporter

    @property
    def _planner(self) -> PlannerSettings:
        planner = self.settings.planner
        if self.penalty is None:
            return planner
        return planner.model_copy(update={"disagreement_penalty": self.penalty})

    def _about(self, evaluation: Evaluation) -> dict[str, Any]:
        errors = {
            "one_step_reward_error": self._one_step_error,
            "horizon_reward_error": self._horizon_error,
        }
        return {
            "model_kind": self.model.kind,
            "horizon": self.settings.planner.horizon,
            "signature": self.signature,
            "planner": self._planner,
            "interface": self._interface,
            "environment": None if self.environment is None else asdict(self.environment),
            "environment_steps": self.environment_steps,
            "decisions": self.decisions,
            "episodes": self.episodes,
            "seed": self.settings.seed,
            "evaluation": evaluation.model_copy(update=errors),
            "data_disagreement": self.disagreement,
        }


_SAMPLING_STREAM = 1  # apart from those of random actions (0) and of exploration (3)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros((), device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"training.device: {name!r} cannot be used: {error}; cpu always can"
        ) from None
    return device
