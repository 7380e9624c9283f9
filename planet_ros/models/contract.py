"""What every world model offers: a filter, an imagination and a loss.

The planner needs `initial_belief`, `observe` and `imagine` alone, and gets them as ONNX graphs; so
does who watches it `predict`.
`N` candidates, `H` horizon, `A` action size, `O` numbers in all vectors of an observation together,
`B` belief size. An observation is a mapping of named parts, as the model's signature says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from planet_ros.data import Episode, Signature, Statistics
from planet_ros.models.parts import TensorParts
from planet_ros.models.task import Task


@dataclass(frozen=True)
class TorchBatch:
    """A `planet_ros.data.SequenceBatch` as tensors."""

    observation: TensorParts
    action: Tensor
    reward: Tensor
    continues: Tensor
    mask: Tensor


class Imagined(NamedTuple):
    """What a model expects of candidates; what it does not predict is None.

    Attributes:
        rewards: (N, H) in the environment's units.
        continues: (N, H) probability, 0 to 1, that the episode goes on after each step; None: it
            always does.
        disagreement: (N, H) in the reward's units, at least 0; None: there is nobody to disagree.
    """

    rewards: Tensor
    continues: Tensor | None = None
    disagreement: Tensor | None = None


@dataclass(frozen=True)
class Dream:
    """What a model expects of one sequence of actions, and what it holds possible besides.

    The expected trajectory is the one that the planner counts on.

    Attributes:
        observation: Expected after each action, in the environment's units: (H, n) of each vector,
            (H, height, width, channels) uint8 of each image.
        reward: (H,) expected for each action.
        sampled_observation: (S, H, n) of each vector, of S trajectories that the model holds
            possible.
        sampled_reward: (S, H) of these.
    """

    observation: TensorParts
    reward: Tensor
    sampled_observation: TensorParts
    sampled_reward: Tensor


class WorldModel(nn.Module, ABC):
    """A learned model of an environment, in physical units outside and normalised inside.

    Attributes:
        kind: What kind of model it is, for people; the bundle's manifest says it.
        signature: Of the environment. A goal in it is not learned from: the task alone takes it.
        belief_size: Numbers B of a belief.
        task: What takes the place of the reward, or of the continuation, that is learned
            otherwise; None: both are.
    """

    kind: ClassVar[str]
    signature: Signature
    belief_size: int
    task: Task | None = None

    def initial_belief(self) -> Tensor:
        """Belief (B,) before anything was seen: zeros."""
        return torch.zeros(self.belief_size)

    @abstractmethod
    def observe(self, belief: Tensor, action: Tensor, observation: TensorParts) -> Tensor:
        """Filter: belief (B,) after taking action (A,) and then seeing something.

        Args:
            belief: (B,) before.
            action: (A,) taken since, in the environment's units.
            observation: (n,) of each vector and (height, width, channels) uint8 of each image seen.
        """

    @abstractmethod
    def imagine(self, belief: Tensor, actions: Tensor, goal: Tensor | None = None) -> Imagined:
        """Predict what candidates bring.

        Args:
            belief: (B,) to start from.
            actions: (N, H, A) of each candidate, in the environment's units.
            goal: (G,) for all of them; None where the signature has none.
        """

    def predict(self, belief: Tensor, actions: Tensor) -> Tensor | None:
        """What is expected to be measured after each action of one sequence, for people who watch.

        It is the trajectory that the planner counts on; nothing is planned with it.

        Args:
            belief: (B,) to start from.
            actions: (H, A) taken from there, in the environment's units.

        Returns:
            (H, O) all vectors after each action, in the environment's units; None where the model
            expects none, as by default.
        """
        return None

    @abstractmethod
    def dream(
        self, belief: Tensor, actions: Tensor, samples: int, goal: Tensor | None = None
    ) -> Dream:
        """Predict what will be seen, for a person to look at; it is no part of the bundle.

        Args:
            belief: (B,) to start from.
            actions: (H, A) taken from there, in the environment's units.
            samples: How many trajectories to draw, with torch's global generator; a model that
                has a number of them of its own gives those.
            goal: (G,) as of `imagine`.
        """

    @abstractmethod
    def batch_dimensions(self, batch_size: int) -> tuple[int, ...]:
        """Batch dimensions that `loss` expects of a batch."""

    def scored_steps(self, sequence_length: int, loss_steps: int) -> int:
        """How many steps of a sequence, from its first, `loss` reads; by default all of them.

        The rest may lie past the end of an episode, so that its last steps are read as often as
        the others.
        """
        return sequence_length

    @abstractmethod
    def loss(self, batch: TorchBatch, loss_steps: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss to descend, and the scalars to log, among them ``loss``."""

    @abstractmethod
    def fit_normalization(self, statistics: Statistics) -> None:
        """Take the scales of observations and rewards from what data is like."""

    def fit_noise(self, batch: TorchBatch) -> None:
        """Take from data how far off the weights are that act; by default nothing is kept of it.

        It is called after a fit, on the model with the averaged weights.

        Args:
            batch: As of `loss`.
        """

    def filtered(self, episode: Episode) -> Iterator[Tensor]:
        """The belief (B,) after each observation of an episode, T + 1 of them.

        Before the first one the middle of the action's range is taken to have been done.
        """
        device = next(self.parameters()).device
        belief = self.initial_belief().to(device)
        before = np.concatenate([self.signature.middle[None], episode.action])
        actions = torch.from_numpy(before).to(device)
        seen = {
            name: torch.from_numpy(values).to(device)
            for name, values in episode.observation.items()
        }
        for index, action in enumerate(actions):
            now = {name: values[index] for name, values in seen.items()}
            belief = self.observe(belief, action, now)
            yield belief

    def _take(self, signature: Signature, task: Task | None) -> None:
        """Be of a signature, and leave to a task what it knows.

        Raises:
            UserError: The task is of another signature.
        """
        if task is not None:
            task.check(signature)
        self.signature, self.task = signature, task

    def goals(self, episode: Episode) -> Tensor | None:
        """The goal (T + 1, G) with each observation of an episode; None where there is none."""
        if self.signature.goal is None:
            return None
        device = next(self.parameters()).device
        return torch.from_numpy(episode.observation[self.signature.goal.name]).to(device)

    @property
    def learns_end(self) -> bool:
        """Whether the end of an episode is to be predicted; otherwise the task knows it."""
        return self.task is None or self.task.terminated is None

    @property
    def learns_reward(self) -> bool:
        """Whether the reward is predicted; otherwise the task knows it."""
        return self.task is None or self.task.reward is None

    def known(
        self, before: Tensor, actions: Tensor, after: Tensor, goal: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Reward (…), and 1 where an episode goes on, else 0 (…), as far as the task knows them.

        Args:
            before: (…, O) vectors before the actions, or fewer leading dimensions that broadcast.
            actions: (…, A) likewise.
            after: (…, O) vectors afterwards.
            goal: (G,); None where there is none.
        """
        if self.task is None:
            return None, None
        reward, terminated = self.task.judge(
            self.split_vectors(before), actions, self.split_vectors(after), goal
        )
        return reward, None if terminated is None else 1 - terminated.to(after.dtype)

    def joined_vectors(self, parts: TensorParts) -> Tensor:
        """All vectors (…, n) of an observation as one (…, O), in the signature's order."""
        vectors = [parts[part.name] for part in self.signature.parts("vector")]
        return vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=-1)

    def split_vectors(self, joined: Tensor) -> dict[str, Tensor]:
        """Undo `joined_vectors`."""
        parts = self.signature.parts("vector")
        pieces = joined.split([part.shape[0] for part in parts], dim=-1)
        return {part.name: piece for part, piece in zip(parts, pieces, strict=True)}
