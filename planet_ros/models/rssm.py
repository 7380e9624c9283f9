"""The recurrent state-space model of PlaNet, for vectors, images and both together.

Hafner et al. 2019 (arXiv 1811.04551), section 3. The state has a deterministic part h, which
remembers, and a stochastic part s, which can turn out in several ways::

    a[t-1] ───┐              a[t] ────┐
    s[t-1] ───┤          ┌─► s[t] ────┤          ┌─► s[t+1]
              ▼          │            ▼          │
    h[t-1] ─ GRU ─► h[t] ┴────────── GRU ─► h[t+1] ──────► …

    filtering     s[t] from the posterior  q(s[t] | h[t], o[t])
    imagining     s[t] from the prior      p(s[t] | h[t])
    decoder       p(o[t] | h[t], s[t])
    reward        p(r[t] | h[t], s[t])

Here r[t] is the reward of the step that led to o[t]. `path: stochastic` leaves h out (a
state-space model), `path: deterministic` makes s a function without noise (a recurrent network):
the paper's ablations, figure 4.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from planet_ros.config import RssmSettings
from planet_ros.data import Signature, Statistics
from planet_ros.models.contract import Dream, Imagined, TorchBatch, WorldModel
from planet_ros.models.objective import (
    Gaussian,
    balanced_kl,
    gaussian_error,
    latent_overshooting,
    masked_mean,
    with_free_nats,
)
from planet_ros.models.parts import ACTIVATIONS, Dense, Head, TensorParts, spread
from planet_ros.models.task import Task
from planet_ros.models.unroll import StepWeights, unroll
from planet_ros.models.vision import (
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    DenseDecoder,
    DenseEncoder,
    ImageScale,
)


class Rssm(WorldModel):
    """Filters with the posterior, imagines with the prior; means only, samples only in `loss`.

    The belief (B,) is the deterministic state followed by the mean of the latent; with `path:
    stochastic` the latter alone.
    """

    kind = "rssm"

    def __init__(
        self,
        signature: Signature,
        settings: RssmSettings,
        predict_continue: bool = False,
        task: Task | None = None,
    ) -> None:
        """Make the networks with random weights from torch's global generator.

        Args:
            signature: Of the environment.
            settings: Of the model.
            predict_continue: Whether it learns the probability that an episode goes on.
            task: What is known of decoded vectors and need not be learned.

        Raises:
            UserError: The task is of another signature.
        """
        super().__init__()
        self._take(signature, task)
        size, images = signature.vector_size, signature.images
        self.settings = settings
        self._predicts_continue = predict_continue and self.learns_end
        self._recurrent = settings.path != "stochastic"
        self._noisy = settings.path != "deterministic"
        self._deterministic = settings.deterministic_size if self._recurrent else 0
        self._activation = ACTIVATIONS[settings.activation]
        self.belief_size = self._deterministic + settings.stochastic_size

        latent, hidden = settings.stochastic_size, settings.hidden_size
        context = self._deterministic or hidden
        self._context_size = context
        parameters = latent * (2 if self._noisy else 1)
        self.transition = Dense(latent + signature.actions, hidden)
        if self._recurrent:
            self.gates = Dense(hidden + self._deterministic, 3 * self._deterministic)
        self.prior_hidden = Dense(context, hidden)
        self.prior_output = Dense(hidden, parameters)
        self.image_scales = nn.ModuleDict(
            {name: ImageScale(shape, settings.image_bits) for name, shape in images.items()}
        )
        encoders = {name: self._image_encoder(shape) for name, shape in images.items()}
        self.image_encoders = nn.ModuleDict(encoders)
        embedding = sum(encoder.size for encoder in encoders.values())
        if size:
            self.encoder = Dense(size, hidden)
            embedding += hidden
        self.posterior_hidden = Dense(context + embedding, hidden)
        self.posterior_output = Dense(hidden, parameters)
        if size:
            self.decoder = Head(self.belief_size, hidden, size, self._activation)
        self.image_decoders = nn.ModuleDict(
            {name: self._image_decoder(shape) for name, shape in images.items()}
        )
        if self.learns_reward:
            self.reward = Head(self.belief_size, hidden, 1, self._activation)
        if self._predicts_continue:
            self.continuation = Head(self.belief_size, hidden, 1, self._activation)

        # As in the ensemble, scales are factors and never quotients, for the sake of the export.
        low, high = signature.low, signature.high
        self.register_buffer("observation_mean", torch.zeros(size))
        self.register_buffer("observation_factor", torch.ones(size))
        self.register_buffer("action_mean", torch.tensor((low + high) / 2))
        self.register_buffer("action_factor", torch.tensor(2 / (high - low)))
        self.register_buffer("reward_mean", torch.zeros(()))
        self.register_buffer("reward_std", torch.ones(()))
        self._samples = settings.disagreement_samples if self._noisy else 0
        if self._samples:
            noise = torch.randn(self._samples, 1, latent)
            self.register_buffer("disagreement_noise", noise)

    observation_mean: Tensor
    observation_factor: Tensor
    action_mean: Tensor
    action_factor: Tensor
    reward_mean: Tensor
    reward_std: Tensor
    disagreement_noise: Tensor

    def _image_encoder(self, shape: tuple[int, int, int]) -> DenseEncoder | ConvolutionalEncoder:
        settings = self.settings
        if settings.image_network == "convolutional":
            return ConvolutionalEncoder(shape, self._activation)
        return DenseEncoder(
            shape, settings.image_hidden_size, settings.hidden_size, self._activation
        )

    def _image_decoder(self, shape: tuple[int, int, int]) -> DenseDecoder | ConvolutionalDecoder:
        settings = self.settings
        if settings.image_network == "convolutional":
            return ConvolutionalDecoder(self.belief_size, shape, self._activation)
        return DenseDecoder(self.belief_size, settings.image_hidden_size, shape, self._activation)

    def fit_normalization(self, statistics: Statistics) -> None:
        """Take means and standard deviations of observations and rewards from data."""
        scales: list[tuple[Tensor, NDArray[Any]]] = [
            (self.reward_mean, statistics.reward.mean[0]),
            (self.reward_std, spread(statistics.reward)[0]),
        ]
        seen = [statistics.vectors[part.name].seen for part in self.signature.parts("vector")]
        if seen:
            scales += [
                (self.observation_mean, np.concatenate([one.mean for one in seen])),
                (self.observation_factor, 1 / np.concatenate([spread(one) for one in seen])),
            ]
        for buffer, value in scales:
            buffer.copy_(torch.as_tensor(value, dtype=buffer.dtype))
        for name, scale in self.image_scales.items():
            cast(ImageScale, scale).fit(statistics.images[name])

    def observe(self, belief: Tensor, action: Tensor, observation: TensorParts) -> Tensor:
        """Filter with means; see `WorldModel.observe`.

        Before the first observation of an episode nothing was done: the action is then expected
        to be the middle of its range, as it is at the start of the sequences in `loss`.
        """
        deterministic, latent = self._split(belief.unsqueeze(0))
        drive = self._drive(self._normalized_action(action.unsqueeze(0)))
        seen = {name: value.unsqueeze(0) for name, value in observation.items()}
        embedding = self._embedding(
            self._normalized_vectors(seen),
            {name: scale(seen[name], 0.5) for name, scale in self.image_scales.items()},
        )
        evidence = self._evidence(embedding)
        deterministic, context = self._advance(deterministic, latent, drive)
        mean = self._posterior(context, evidence).mean
        return self._features(deterministic, mean).squeeze(0)

    def imagine(self, belief: Tensor, actions: Tensor, goal: Tensor | None = None) -> Imagined:
        """Roll the prior's means forward; see `WorldModel.imagine`.

        Disagreement is the standard deviation of the reward over latents drawn from each step's
        prior, with noise that is the same in every call; None where none are asked for.

        The rewards are computed for all steps at once. Those that are known are of decoded means.
        """
        horizon, candidates = actions.shape[1], actions.shape[0]
        state, prior = self._roll(belief, actions)
        features = self._features(state, prior.mean)
        rewards = goes_on = continues = disagreement = None
        if self.task is not None:
            taken = actions.transpose(0, 1)
            after = self._decoded(features).reshape(horizon, candidates, -1)
            start = self._decoded(belief.unsqueeze(0)).expand(1, candidates, -1)
            before = torch.cat([start, after[:-1]])
            rewards, goes_on = self.known(before, taken, after, goal)
        if rewards is None:
            rewards = self._in_units(self.reward(features)).reshape(horizon, candidates)
        if self._predicts_continue:
            continues = torch.sigmoid(self.continuation(features)).reshape(horizon, candidates).T
        elif goes_on is not None:
            continues = goes_on.T
        if self._samples:
            latents = prior.mean + prior.std * self.disagreement_noise
            sampled = self._features(state.expand(self._samples, -1, -1), latents)
            if self.learns_reward:
                each = self._in_units(self.reward(sampled)).squeeze(-1)
            else:
                seen = self._decoded(sampled).reshape(self._samples, horizon, candidates, -1)
                began = start.expand(self._samples, 1, candidates, -1)
                known, _ = self.known(torch.cat([began, seen[:, :-1]], 1), taken, seen, goal)
                assert known is not None  # what is not learned is known
                each = known.reshape(self._samples, -1)
            deviation = (each - each.mean(dim=0)).square().mean(dim=0).sqrt()
            disagreement = deviation.reshape(horizon, candidates).T
        return Imagined(rewards.T, continues, disagreement)

    def _roll(self, belief: Tensor, actions: Tensor) -> tuple[Tensor, Gaussian]:
        """Contexts (H · N, C), step by step, and the priors of the same steps.

        The network is that of `_advance` and `_prior`, arranged for speed: the way from the
        prior's hidden layer through its mean into the next transition is linear, so it is one
        matrix; the actions' part of the transition is computed for all steps at once.
        """
        horizon, candidates = actions.shape[1], actions.shape[0]
        latent_size = self.settings.stochastic_size
        of_latent = self.transition.weight[:latent_size]
        of_action = self.action_factor[:, None] * self.transition.weight[latent_size:]
        mean_weight = self.prior_output.weight[:, :latent_size]
        mean_bias = self.prior_output.bias[:latent_size]
        of_prior = mean_weight @ of_latent
        bias = self.transition.bias - self.action_mean @ of_action

        deterministic, latent = self._split(belief.unsqueeze(0))
        first = latent @ of_latent + bias
        drive = (actions.transpose(0, 1) @ of_action + (mean_bias @ of_latent + bias)).unbind()
        contexts: list[Tensor] = []
        hiddens: list[Tensor] = []
        for step in range(horizon):
            if step == 0:
                drive_now = actions[:, 0] @ of_action + first
            else:
                drive_now = torch.addmm(drive[step], hiddens[-1], of_prior)
            context = self._activation(drive_now)
            if self._recurrent:
                if step == 0:
                    deterministic = deterministic.expand(candidates, -1)
                deterministic = context = self._recur(deterministic, context)
            contexts.append(context)
            hiddens.append(self._activation(self.prior_hidden(context)))
        return torch.cat(contexts), self._gaussian(self.prior_output(torch.cat(hiddens)))

    def predict(self, belief: Tensor, actions: Tensor) -> Tensor | None:
        """Decoded means of vectors; None where there are images alone; see `WorldModel.predict`."""
        if not self.signature.vector_size:
            return None
        state, prior = self._roll(belief, actions.unsqueeze(0))
        return self._decoded(self._features(state, prior.mean))

    def dream(
        self, belief: Tensor, actions: Tensor, samples: int, goal: Tensor | None = None
    ) -> Dream:
        """Follow the prior's means, and draw whole trajectories from it; see `WorldModel.dream`."""
        noise = torch.randn(
            len(actions), samples + 1, self.settings.stochastic_size, device=belief.device
        )
        noise[:, 0] = 0  # the expected trajectory goes along as the first
        features = belief.expand(samples + 1, -1)
        steps = []
        for drive, step_noise in zip(
            self._drive(self._normalized_action(actions)), noise, strict=True
        ):
            features, _ = self._prior_step(features, drive, step_noise)
            steps.append(features)
        trajectories = torch.stack(steps, dim=1)
        rewards = None
        vectors: dict[str, Tensor] = {}
        if self.signature.vector_size:
            decoded = self._decoded(trajectories)
            vectors = self.split_vectors(decoded)
            start = self._decoded(belief).expand(samples + 1, 1, -1)
            before = torch.cat([start, decoded[:, :-1]], dim=1)
            rewards, _ = self.known(before, actions, decoded, goal)
        if rewards is None:
            rewards = self._in_units(self.reward(trajectories)).squeeze(-1)
        images = {
            name: cast(ImageScale, self.image_scales[name]).pixels(decoder(trajectories[0]))
            for name, decoder in self.image_decoders.items()
        }
        return Dream(
            {**{name: values[0] for name, values in vectors.items()}, **images},
            rewards[0],
            {name: values[1:] for name, values in vectors.items()},
            rewards[1:],
        )

    def batch_dimensions(self, batch_size: int) -> tuple[int, ...]:
        """(B,): sequences from the start of which the belief is built up."""
        return (batch_size,)

    def loss(self, batch: TorchBatch, loss_steps: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative evidence lower bound of each step (equation 3), with latent overshooting.

        Args:
            batch: Sequences of L steps, L + 1 observations. Filtering starts with a belief
                of zeros and the action in the middle of its range; the first observation is
                reconstructed, but no reward is scored there.
            loss_steps: Ignored: the loss always covers whole sequences.

        Returns:
            The loss, and its parts, each a mean over steps, in nats: errors of observation and
            reward without their constants, the KL and the overshooting KL without their weights.
        """
        size, length = batch.reward.shape
        noise = torch.randn(
            length + 1, size, self.settings.stochastic_size, device=batch.reward.device
        )
        return self._loss(batch, noise)

    def _loss(self, batch: TorchBatch, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """`loss` with the noise (L + 1, B, S) of the posterior's samples given."""
        settings = self.settings
        # Time first, as the loop wants it, but for images: only what is made of them is turned.
        observation = self._normalized_vectors(
            {name: values.transpose(0, 1) for name, values in batch.observation.items()}
        )
        images = {
            name: scale(batch.observation[name], self._dequantisation(batch.observation[name]))
            for name, scale in self.image_scales.items()
        }
        scored = batch.mask.T
        seen = torch.cat([torch.ones_like(scored[:1]), scored])
        action = self._normalized_action(batch.action.transpose(0, 1))
        reward = ((batch.reward - self.reward_mean) / self.reward_std).T
        drive = self._drive(torch.cat([torch.zeros_like(action[:1]), action]))

        embedding = self._embedding(observation, images, batch_first=True)
        contexts, latents, posterior = self._filter(drive, embedding, noise)
        # In mixed precision what comes out of a layer is short: too short for a divergence.
        prior = Gaussian(*(value.to(latents.dtype) for value in self._prior(contexts)))
        features = self._features(contexts, latents)
        observation_loss = self._reconstruction_error(features, observation, images, seen)
        kl = masked_mean(self._divergence(posterior, prior), seen)
        loss = observation_loss
        metrics = {"observation_loss": observation_loss}
        if self.learns_reward:
            reward_error = gaussian_error(
                self.reward(features[1:]), reward[..., None], settings.reward_std
            )
            metrics["reward_loss"] = masked_mean(reward_error, scored)
            loss = loss + metrics["reward_loss"]
        loss = loss + settings.kl_weight * kl
        metrics["kl"] = kl
        if self._predicts_continue:
            continue_loss = masked_mean(
                F.binary_cross_entropy_with_logits(
                    self.continuation(features[1:]).squeeze(-1), batch.continues.T, reduction="none"
                ),
                scored,
            )
            loss = loss + continue_loss
            metrics["continue_loss"] = continue_loss
        if settings.overshooting_distance > 1:
            overshooting_kl = latent_overshooting(
                self._prior_step,
                features,
                drive[1:],
                posterior,
                seen,
                settings.overshooting_distance,
                self._divergence,
            )
            loss = loss + settings.kl_weight * settings.overshooting_weight * overshooting_kl
            metrics["overshooting_kl"] = overshooting_kl
        metrics = {"loss": loss, **metrics}
        return loss, {name: value.detach() for name, value in metrics.items()}

    def _reconstruction_error(
        self, features: Tensor, observation: Tensor | None, images: TensorParts, seen: Tensor
    ) -> Tensor:
        """Mean over what was seen, (T, B) features and vectors, (B, T) images."""
        total = features.new_zeros(())
        if observation is not None:
            error = gaussian_error(
                self.decoder(features), observation, self.settings.observation_std
            )
            total = total + masked_mean(error, seen)
        for name, frames in images.items():
            decoder = cast("DenseDecoder | ConvolutionalDecoder", self.image_decoders[name])
            squared = decoder.error(features.transpose(0, 1), frames, seen.T)
            total = total + squared / (2 * self.settings.image_std**2 * seen.sum().clamp(min=1))
        return total

    def _filter(
        self, drive: Tensor, embedding: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Gaussian]:
        """Contexts (T, B, C), latents (T, B, S) and posteriors after each observation.

        The same as `_advance` and `_posterior` one step after the other, with a faster gradient.
        """
        settings = self.settings
        contexts, latents, outputs = unroll(
            drive,
            self._evidence(embedding),
            noise if self._noisy else None,
            StepWeights(
                self.transition.weight[: settings.stochastic_size],
                self.gates.weight if self._recurrent else None,
                self.gates.bias if self._recurrent else None,
                self.posterior_hidden.weight[: self._context_size],
                self.posterior_output.weight,
                self.posterior_output.bias,
            ),
            self._activation,
            settings.min_std,
        )
        return contexts, latents, self._gaussian(outputs)

    def _prior_step(
        self, features: Tensor, drive: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Gaussian]:
        deterministic, latent = self._split(features)
        deterministic, context = self._advance(deterministic, latent, drive)
        prior = self._prior(context)
        latent = prior.mean
        if self._noisy:
            noise = torch.randn_like(latent) if noise is None else noise
            latent = latent + prior.std * noise
        return self._features(deterministic, latent), prior

    def _divergence(self, posterior: Gaussian, prior: Gaussian) -> Tensor:
        # Without noise the posterior could meet the prior by shrinking: the prior alone learns.
        balance = self.settings.kl_balance if self._noisy else 1.0
        return with_free_nats(balanced_kl(posterior, prior, balance), self.settings.free_nats)

    def _normalized_vectors(self, observation: TensorParts) -> Tensor | None:
        """All vectors (…, O) around zero; None where there are images alone."""
        if not self.signature.vector_size:
            return None
        return (self.joined_vectors(observation) - self.observation_mean) * self.observation_factor

    def _dequantisation(self, frames: Tensor) -> Tensor | float:
        """Where in its step each pixel lies: noise, as in PlaNet, so that steps teach nothing."""
        if self.settings.image_bits == 8:
            return 0.0
        return torch.rand(frames.shape, device=frames.device)

    def _normalized_action(self, action: Tensor) -> Tensor:
        return (action - self.action_mean) * self.action_factor

    def _decoded(self, features: Tensor) -> Tensor:
        """Mean of all vectors (…, O) in the environment's units."""
        return self.decoder(features) / self.observation_factor + self.observation_mean

    def _in_units(self, reward: Tensor) -> Tensor:
        return reward * self.reward_std + self.reward_mean

    def _split(self, features: Tensor) -> tuple[Tensor, Tensor]:
        deterministic, latent = features.split(
            [self._deterministic, self.settings.stochastic_size], dim=-1
        )
        return deterministic, latent

    def _features(self, deterministic: Tensor, latent: Tensor) -> Tensor:
        # Without a deterministic path what is given for it is only a context, and left out.
        return torch.cat([deterministic, latent], dim=-1) if self._recurrent else latent

    def _drive(self, action: Tensor) -> Tensor:
        """Part of the transition's first layer that comes from the actions (normalised)."""
        weight = self.transition.weight[self.settings.stochastic_size :]
        return action @ weight + self.transition.bias

    def _embedding(
        self, vectors: Tensor | None, images: TensorParts, *, batch_first: bool = False
    ) -> Tensor:
        """All that was seen, encoded: (…, E) of vectors (…, O) and images.

        With `batch_first` images come (B, T), while vectors and what is made of both are (T, B).
        """
        parts = []
        if vectors is not None:
            parts.append(self._activation(self.encoder(vectors)))
        for name, frames in images.items():
            encoded = self.image_encoders[name](frames)
            parts.append(encoded.transpose(0, 1) if batch_first else encoded)
        return torch.cat(parts, dim=-1)

    def _evidence(self, embedding: Tensor) -> Tensor:
        """Part of the posterior's hidden layer that comes from what was seen."""
        weight = self.posterior_hidden.weight[self._context_size :]
        return embedding @ weight + self.posterior_hidden.bias

    def _advance(
        self, deterministic: Tensor, latent: Tensor, drive: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Next deterministic state, and the context that prior and posterior take.

        The context is the deterministic state itself where there is one; otherwise the hidden
        layer of the transition, of which nothing is carried on.
        """
        weight = self.transition.weight[: self.settings.stochastic_size]
        hidden = self._activation(drive + latent @ weight)
        if not self._recurrent:
            return deterministic, hidden
        deterministic = self._recur(deterministic, hidden)
        return deterministic, deterministic

    def _recur(self, deterministic: Tensor, hidden: Tensor) -> Tensor:
        """A gated recurrent unit, its reset gate on the whole candidate: one product a step."""
        gates = self.gates(torch.cat([hidden, deterministic], dim=-1))
        reset, update, candidate = gates.split(self._deterministic, dim=-1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        return deterministic + torch.sigmoid(update) * (candidate - deterministic)

    def _prior(self, context: Tensor) -> Gaussian:
        return self._gaussian(self.prior_output(self._activation(self.prior_hidden(context))))

    def _posterior(self, context: Tensor, evidence: Tensor) -> Gaussian:
        weight = self.posterior_hidden.weight[: self._context_size]
        hidden = self._activation(evidence + context @ weight)
        return self._gaussian(self.posterior_output(hidden))

    def _gaussian(self, output: Tensor) -> Gaussian:
        if not self._noisy:
            return Gaussian(output, torch.ones_like(output))
        mean, raw = output.split(self.settings.stochastic_size, dim=-1)
        return Gaussian(mean, F.softplus(raw) + self.settings.min_std)
