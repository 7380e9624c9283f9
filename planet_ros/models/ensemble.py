"""An ensemble of neural networks that predict the change of the observation, and the reward.

The belief is the observation itself. Each member follows its own trajectory over the horizon; the
reward is the members' mean, and their spread is the disagreement (Chua et al. 2018,
arXiv 1805.12114, section 5, the TS∞ way of propagation with one particle a member).

With one member, ReLU, `target: state`, and neither normalisation nor a continue head, this is the
notebook's `DynamicsModel`.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from planet_ros.config import WorldModelSettings
from planet_ros.data import Signature, Statistics
from planet_ros.errors import UserError
from planet_ros.models.contract import Dream, Imagined, TorchBatch, WorldModel
from planet_ros.models.objective import masked_mean
from planet_ros.models.parts import ACTIVATIONS, TensorParts, spread
from planet_ros.models.task import Task

# Log-variances of the Gaussian heads, in normalised units: from a thousandth of the data's spread
# to a little more than all of it. Unbounded, a head that has seen little collapses (Chua et al.
# 2018, appendix A.1).
_MIN_LOG_VARIANCE, _MAX_LOG_VARIANCE = -14.0, 0.5

# What the noise is fitted by: a share of values, and the standard deviations to both sides of the
# mean that hold as much of a normal distribution. It is more than nine in ten, since it is of what
# was learned from, where errors are least.
_SHARE, _DEVIATIONS = 0.95, 1.960


class Ensemble(WorldModel):
    """E networks of the same shape, computed together by batched products."""

    kind = "ensemble"

    def __init__(
        self, signature: Signature, settings: WorldModelSettings, task: Task | None = None
    ) -> None:
        """Make the networks with random weights from torch's global generator.

        Args:
            signature: Of the environment.
            settings: Of the model.
            task: What is known and need not be learned.

        Raises:
            UserError: There is no vector to predict, there are images, or the task is of another
                signature.
        """
        size, actions = signature.vector_size, signature.actions
        if signature.images or not size:
            raise UserError(
                "world_model.kind: found ensemble, which predicts vectors alone, for an "
                f"observation of {size} numbers and the images {signature.images}; rssm takes "
                "images too"
            )
        super().__init__()
        self._take(signature, task)
        self.belief_size = size
        self.members = settings.members
        self._activation = ACTIVATIONS[settings.activation]
        self._predicts_change = settings.target == "change"
        self._gaussian = settings.head == "gaussian"
        self._predicts_continue = settings.predict_continue and self.learns_end
        self._normalize = settings.normalize

        # What is predicted with a scale: the observation's numbers, then the reward.
        self._targets = targets = size + int(self.learns_reward)
        outputs = targets * (2 if self._gaussian else 1) + int(self._predicts_continue)
        sizes = [size + actions, *settings.hidden_sizes, outputs]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in itertools.pairwise(sizes):
            bound = 1 / np.sqrt(fan_in)  # torch's own default for nn.Linear
            weight = torch.empty(self.members, fan_in, fan_out).uniform_(-bound, bound)
            bias = torch.empty(self.members, 1, fan_out).uniform_(-bound, bound)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(bias))

        # Scales are kept as the factors that the graph multiplies by: a quotient of buffers would
        # be folded into a constant by the export, and stay behind when weights are replaced.
        low, high = signature.low, signature.high
        middle, factor = (low + high) / 2, 2 / (high - low)
        if not self._normalize:
            middle, factor = np.zeros_like(low), np.ones_like(low)
        self.register_buffer("observation_mean", torch.zeros(size))
        self.register_buffer("observation_factor", torch.ones(size))
        self.register_buffer("action_mean", torch.tensor(middle))
        self.register_buffer("action_factor", torch.tensor(factor))
        # Of the change or of the next observation, whichever is predicted, then of the reward.
        self.register_buffer("target_mean", torch.zeros(targets))
        self.register_buffer("target_std", torch.ones(targets))
        if self._gaussian:
            self.register_buffer("noise_factor", torch.ones(targets))

    observation_mean: Tensor
    observation_factor: Tensor
    action_mean: Tensor
    action_factor: Tensor
    target_mean: Tensor
    target_std: Tensor
    noise_factor: Tensor

    def fit_normalization(self, statistics: Statistics) -> None:
        """Take means and standard deviations of observations and targets from data."""
        if not self._normalize:
            return
        vectors = [statistics.vectors[part.name] for part in self.signature.parts("vector")]
        before = [moments.before for moments in vectors]
        rewards = [statistics.reward] if self.learns_reward else []
        targets = [
            *(moments.change if self._predicts_change else moments.after for moments in vectors),
            *rewards,
        ]
        among = [*(moments.seen for moments in vectors), *rewards]
        self._set("observation_mean", np.concatenate([one.mean for one in before]))
        self._set("observation_factor", 1 / np.concatenate([spread(one) for one in before]))
        self._set("target_mean", np.concatenate([one.mean for one in targets]))
        scales = [spread(one, of) for one, of in zip(targets, among, strict=True)]
        self._set("target_std", np.concatenate(scales))

    def _set(self, name: str, value: np.ndarray) -> None:
        buffer = getattr(self, name)
        buffer.copy_(torch.as_tensor(value, dtype=buffer.dtype))

    def observe(self, belief: Tensor, action: Tensor, observation: TensorParts) -> Tensor:
        """The belief is what was seen last."""
        return self.joined_vectors(observation)

    def imagine(self, belief: Tensor, actions: Tensor, goal: Tensor | None = None) -> Imagined:
        """Roll every member forward from the belief; see `WorldModel.imagine`.

        The statistics over members are computed for all steps at once.
        """
        size, horizon = self.belief_size, actions.shape[1]
        outputs, states = self._roll(belief, actions)
        output = torch.cat(outputs, dim=1)
        output = output.reshape(self.members, horizon, -1, output.shape[-1])
        known, goes_on = None, None
        if self.task is not None:
            # Joined and split, as the outputs are: to stack them costs an operation for each.
            before, after = (
                torch.cat(each, dim=1).reshape(self.members, horizon, -1, size)
                for each in (states[:-1], states[1:])
            )
            known, goes_on = self.known(before, actions.transpose(0, 1), after, goal)
        reward = output[..., size] if known is None else known
        mean = reward.mean(dim=0)
        continues = disagreement = None
        if self._predicts_continue:
            continues = torch.sigmoid(output[..., -1]).mean(dim=0).T
        elif goes_on is not None:
            continues = goes_on.mean(dim=0).T
        if self.members > 1:
            disagreement = (reward - mean).square().mean(dim=0).sqrt().T
        return Imagined(mean.T, continues, disagreement)

    def _roll(self, belief: Tensor, actions: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The outputs (E, N, outputs) at each step, and the H + 1 observations (E, N, O).

        The network is that of `_network` and `_means`, arranged for speed: scales are folded into
        the first and the last layer, and the actions' part of the first layer is computed for all
        steps at once. With small networks the time goes into the number of operations, not into
        their size.
        """
        size, targets = self.belief_size, self._targets
        weights, biases = list(self.weights), list(self.biases)
        of_observation = self.observation_factor[:, None] * weights[0][:, :size]
        of_action = self.action_factor[:, None] * weights[0][:, size:]
        bias = biases[0] - (
            torch.matmul(self.observation_mean, of_observation)
            + torch.matmul(self.action_mean, of_action)
        ).unsqueeze(1)
        weights[-1] = torch.cat(
            [weights[-1][..., :targets] * self.target_std, weights[-1][..., targets:]], dim=-1
        )
        biases[-1] = torch.cat(
            [
                biases[-1][..., :targets] * self.target_std + self.target_mean,
                biases[-1][..., targets:],
            ],
            dim=-1,
        )

        # (H, E, N, units), so that a step is one piece of memory; and biases as large as what they
        # are added to: broadcasting costs onnxruntime more than reading.
        drive = torch.matmul(actions.transpose(0, 1).unsqueeze(1), of_action) + bias
        candidates = actions.shape[0]
        biases = [layer_bias.expand(-1, candidates, -1) for layer_bias in biases]
        observation = belief.expand(self.members, candidates, -1)
        outputs, states = [], [observation]
        for step in range(actions.shape[1]):
            hidden = torch.matmul(observation, of_observation) + drive[step]
            for weight, layer_bias in zip(weights[1:], biases[1:], strict=True):
                hidden = torch.matmul(self._activation(hidden), weight) + layer_bias
            predicted = hidden[..., :size]
            observation = observation + predicted if self._predicts_change else predicted
            outputs.append(hidden)
            states.append(observation)
        return outputs, states

    def predict(self, belief: Tensor, actions: Tensor) -> Tensor:
        """The mean of the members' trajectories; see `WorldModel.predict`."""
        _, states = self._roll(belief, actions.unsqueeze(0))
        return torch.cat(states[1:], dim=1).mean(dim=0)

    def _network(self, observation: Tensor, action: Tensor) -> Tensor:
        hidden = torch.cat(
            [
                (observation - self.observation_mean) * self.observation_factor,
                (action - self.action_mean) * self.action_factor,
            ],
            dim=-1,
        )
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if layer < last:
                hidden = self._activation(hidden)
        return hidden

    def _means(self, observation: Tensor, output: Tensor) -> tuple[Tensor, Tensor | None]:
        """The next observation, and the reward where it is learned."""
        physical = output[..., : self._targets] * self.target_std + self.target_mean
        following = physical[..., : self.belief_size]
        if self._predicts_change:
            following = observation + following
        return following, physical[..., -1] if self.learns_reward else None

    def dream(
        self, belief: Tensor, actions: Tensor, samples: int, goal: Tensor | None = None
    ) -> Dream:
        """The mean of the members' trajectories, and what each holds possible.

        Gaussian heads say how far off a step may be: trajectories are drawn with that noise, as
        many as are asked for, from each member in turn (TS∞). Others say nothing of it: the
        trajectory of each member is given, however many are asked for.
        """
        drawn = math.ceil(samples / self.members) if self._gaussian else 0
        # The first of each member's trajectories has no noise: it is the one that is expected.
        observation = belief.expand(self.members, 1 + drawn, -1)
        steps = []
        for action in actions:
            before, output = (
                observation,
                self._network(observation, action.expand(self.members, 1 + drawn, -1)),
            )
            observation, reward = self._means(before, self._disturbed(output))
            if reward is None:
                reward, _ = self.known(before, action, observation, goal)
                assert reward is not None  # what is not learned is known
            steps.append((observation, reward))
        observations, rewards = (torch.stack(part, dim=2) for part in zip(*steps, strict=True))
        expected, sampled = observations[:, 0], observations[:, 0]
        expected_reward, sampled_reward = rewards[:, 0], rewards[:, 0]
        if self._gaussian:
            # One of each member, then the next of each.
            sampled = observations[:, 1:].transpose(0, 1).flatten(0, 1)[:samples]
            sampled_reward = rewards[:, 1:].transpose(0, 1).flatten(0, 1)[:samples]
        return Dream(
            self.split_vectors(expected.mean(dim=0)),
            expected_reward.mean(dim=0),
            self.split_vectors(sampled),
            sampled_reward,
        )

    def _disturbed(self, output: Tensor) -> Tensor:
        """Outputs (E, 1 + P, outputs) with noise on what the heads expect, but for the first."""
        if not self._gaussian or output.shape[1] == 1:
            return output
        means = output[..., : self._targets]
        deviation = torch.exp(0.5 * self._log_variance(output)) * self.noise_factor
        noise = torch.randn_like(means) * deviation
        noise[:, 0] = 0
        return torch.cat([means + noise, output[..., self._targets :]], dim=-1)

    @torch.no_grad()
    def fit_noise(self, batch: TorchBatch) -> None:
        """Scale the heads' noise so that 95 of 100 values come true within its interval of as many.

        The heads learn how far off one member is with weights that still jump about. Averaged
        weights, and the mean of the members, are off by less, and the members' own spread is
        counted already.
        """
        if not self._gaussian:
            return
        seen = self.joined_vectors(batch.observation)
        before, after = seen[..., 0, :].flatten(0, -2), seen[..., 1, :].flatten(0, -2)
        shared = before.expand(self.members, *before.shape)
        action = batch.action[..., 0, :].flatten(0, -2).expand(self.members, -1, -1)
        output = self._network(shared, action)
        following, reward = self._means(shared, output)
        error = following - after
        if reward is not None:
            error = torch.cat([error, (reward - batch.reward[..., 0].flatten())[..., None]], dim=-1)
        kept = batch.mask[..., 0].flatten() > 0
        error = (error / self.target_std)[:, kept]
        # The factor, squared, with which each error is at the end of the interval.
        unexplained = (error.mean(dim=0) / _DEVIATIONS).square() - error.var(dim=0, correction=0)
        needed = unexplained / torch.exp(self._log_variance(output)).mean(dim=0)[kept]
        enough = needed.kthvalue(math.ceil(_SHARE * len(needed)), dim=0).values
        self.noise_factor.copy_(enough.clamp(min=0).sqrt())

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *more: Any) -> None:
        """Take what was saved before there was a factor as having none."""
        if self._gaussian:
            state_dict.setdefault(f"{prefix}noise_factor", torch.ones(self._targets))
        super()._load_from_state_dict(state_dict, prefix, *more)

    def _log_variance(self, output: Tensor) -> Tensor:
        """Of the Gaussian heads, in normalised units, softly bounded."""
        raw = output[..., self._targets : 2 * self._targets]
        below = _MAX_LOG_VARIANCE - F.softplus(_MAX_LOG_VARIANCE - raw)
        return _MIN_LOG_VARIANCE + F.softplus(below - _MIN_LOG_VARIANCE)

    def batch_dimensions(self, batch_size: int) -> tuple[int, ...]:
        """(E, B): every member learns from sequences of its own, as bootstrapping would give."""
        return (self.members, batch_size)

    def scored_steps(self, sequence_length: int, loss_steps: int) -> int:
        """`loss` reads no more than it covers."""
        return loss_steps

    def loss(self, batch: TorchBatch, loss_steps: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Error of the first `loss_steps` steps, each predicted from the prediction before.

        In normalised units: the squared error of the observation and that of the reward, each
        averaged over its dimensions, or the Gaussian negative log-likelihood; the cross-entropy
        of the continuation is added where it is predicted. A reward that is known has no part in
        it.
        """
        size = self.belief_size
        seen = self.joined_vectors(batch.observation)
        observation = seen[:, :, 0]
        observation_loss = reward_loss = continue_loss = torch.zeros(())
        for step in range(loss_steps):
            output = self._network(observation, batch.action[:, :, step])
            following, reward = self._means(observation, output)
            error = following - seen[:, :, step + 1]
            if reward is not None:
                reward_error = reward - batch.reward[:, :, step]
                error = torch.cat([error, reward_error[..., None]], dim=-1)
            square = (error / self.target_std).square()
            if self._gaussian:
                log_variance = self._log_variance(output)
                square = square * torch.exp(-log_variance) + log_variance
            mask = batch.mask[:, :, step]
            observation_error = masked_mean(square[..., :size].mean(dim=-1), mask)
            observation_loss = observation_loss + observation_error / loss_steps
            if reward is not None:
                reward_loss = reward_loss + masked_mean(square[..., size], mask) / loss_steps
            if self._predicts_continue:
                error = F.binary_cross_entropy_with_logits(
                    output[..., -1], batch.continues[:, :, step], reduction="none"
                )
                continue_loss = continue_loss + masked_mean(error, mask) / loss_steps
            observation = following
        loss = observation_loss + reward_loss + continue_loss
        metrics = {"loss": loss, "observation_loss": observation_loss}
        if self.learns_reward:
            metrics["reward_loss"] = reward_loss
        if self._predicts_continue:
            metrics["continue_loss"] = continue_loss
        # The means above are over members too; the sum gives each member the gradient that it
        # would have alone.
        return loss * self.members, {name: value.detach() for name, value in metrics.items()}
