"""A world model of one's own: linear in what it sees, with a quadratic reward.

    python examples/own_model.py --output runs/linear

docs/own_model.md explains it.
"""

from __future__ import annotations

import numpy as np
import torch
from own_environment import HELD_OUT, LEARNING, SPEC, output_folder, report, returns
from torch import Tensor, nn

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import LearnerSettings, settings_from
from planet_ros.control.exploration import RandomPolicy
from planet_ros.data import Signature, Statistics
from planet_ros.environments import Environment
from planet_ros.models import Task
from planet_ros.models.contract import Dream, Imagined, TensorParts, TorchBatch, WorldModel
from planet_ros.models.objective import masked_mean
from planet_ros.models.parts import spread
from planet_ros.training.evaluate import evaluate
from planet_ros.training.loop import train


class LinearQuadratic(WorldModel):
    """With z = (o, a, 1) in normalised units: the change of o is z W, the reward is z Q zᵀ.

    Right for a cart with a motor, wrong for a pendulum.
    """

    kind = "linear_quadratic"
    observation_mean: Tensor
    observation_factor: Tensor
    action_mean: Tensor
    action_factor: Tensor
    target_mean: Tensor
    target_std: Tensor

    def __init__(self, signature: Signature) -> None:
        super().__init__()
        self.signature = signature
        size, actions = signature.vector_size, signature.actions
        self.belief_size = size  # the belief is what was seen last
        inputs = size + actions + 1
        self.W = nn.Parameter(0.1 * torch.randn(inputs, size))
        self.Q = nn.Parameter(0.1 * torch.randn(inputs, inputs))
        # Buffers, and factors in place of divisors: an export replaces their values in the graph.
        low, high = torch.tensor(signature.low), torch.tensor(signature.high)
        self.register_buffer("observation_mean", torch.zeros(size))
        self.register_buffer("observation_factor", torch.ones(size))
        self.register_buffer("action_mean", (low + high) / 2)
        self.register_buffer("action_factor", 2 / (high - low))
        self.register_buffer("target_mean", torch.zeros(size + 1))  # of the change, then the reward
        self.register_buffer("target_std", torch.ones(size + 1))

    def fit_normalization(self, statistics: Statistics) -> None:
        """Take the scales from all that was seen so far, before each fit."""
        vectors = [statistics.vectors[part.name] for part in self.signature.parts("vector")]
        targets = [*((one.change, one.seen) for one in vectors), (statistics.reward, None)]
        scales = {
            "observation_mean": [one.before.mean for one in vectors],
            "observation_factor": [1 / spread(one.before) for one in vectors],
            "target_mean": [moments.mean for moments, _ in targets],
            "target_std": [spread(moments, among) for moments, among in targets],
        }
        for name, values in scales.items():
            self.get_buffer(name).copy_(torch.from_numpy(np.concatenate(values)))

    def _step(self, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """From (…, O) and (…, A) to the next observation (…, O) and the reward (…)."""
        z = torch.cat(
            [
                (observation - self.observation_mean) * self.observation_factor,
                (action - self.action_mean) * self.action_factor,
                torch.ones_like(observation[..., :1]),
            ],
            dim=-1,
        )
        reward = (z @ self.Q * z).sum(dim=-1, keepdim=True)
        physical = torch.cat([z @ self.W, reward], dim=-1) * self.target_std + self.target_mean
        return observation + physical[..., :-1], physical[..., -1]

    def observe(self, belief: Tensor, action: Tensor, observation: TensorParts) -> Tensor:
        """The newest observation (B,): it shows the whole state, so that nothing is remembered."""
        return self.joined_vectors(observation)

    def imagine(self, belief: Tensor, actions: Tensor, goal: Tensor | None = None) -> Imagined:
        """Rewards (N, H) of candidates (N, H, A), all candidates one step at a time."""
        # N is open: the tracer follows shape[0], where len(actions) would be a constant to it.
        observation, rewards = belief.expand(actions.shape[0], -1), []
        for action in actions.unbind(dim=1):  # H is fixed: the graph holds each step, and no loop
            observation, reward = self._step(observation, action)
            rewards.append(reward)
        return Imagined(torch.stack(rewards, dim=1))

    def dream(
        self, belief: Tensor, actions: Tensor, samples: int, goal: Tensor | None = None
    ) -> Dream:
        """The one trajectory that it holds possible."""
        observation, steps = belief, []
        for action in actions:
            observation, reward = self._step(observation, action)
            steps.append((observation, reward))
        observations, rewards = (torch.stack(part) for part in zip(*steps, strict=True))
        sampled = self.split_vectors(observations[None])
        return Dream(self.split_vectors(observations), rewards, sampled, rewards[None])

    def batch_dimensions(self, batch_size: int) -> tuple[int, ...]:
        """(B,): one model learns from each sequence."""
        return (batch_size,)

    def loss(self, batch: TorchBatch, loss_steps: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of single steps in normalised units; observations are (B, L + 1, O)."""
        seen = self.joined_vectors(batch.observation)
        following, reward = self._step(seen[:, :-1], batch.action)
        of_observation = (following - seen[:, 1:]) / self.target_std[:-1]
        of_reward = (reward - batch.reward) / self.target_std[-1]
        parts = {
            "observation_loss": masked_mean(of_observation.square().mean(dim=-1), batch.mask),
            "reward_loss": masked_mean(of_reward.square(), batch.mask),
        }
        loss = parts["observation_loss"] + parts["reward_loss"]
        return loss, {name: value.detach() for name, value in {"loss": loss, **parts}.items()}


def make_linear(
    settings: LearnerSettings, signature: Signature, task: Task | None
) -> LinearQuadratic:
    """What the training takes; a model with settings of its own would get them here."""
    return LinearQuadratic(signature)


def main() -> None:
    """Learn the cart of own_environment.py with it, and say what it was worth."""
    settings = {
        **LEARNING,
        "training.output": output_folder("Learn with a world model of one's own."),
        "training.steps": 150,
        "training.random_steps": 50,
        "training.learning_rate": 0.01,
    }
    environment = Environment(SPEC)
    report("random actions", returns(RandomPolicy(environment.signature, seed=0), environment))

    run = train(settings_from(settings), make_model=make_linear)

    bundle = load_bundle(run.bundle)  # from here on numpy and onnxruntime alone
    result = evaluate(bundle, environment, episodes=len(HELD_OUT), seed=HELD_OUT.start)
    manifest = bundle.manifest
    what = f"{manifest.model_kind}, learned from {manifest.environment_steps} steps"
    report(what, result.returns)
    print(f"bundle: {bundle.path}")


if __name__ == "__main__":
    main()
