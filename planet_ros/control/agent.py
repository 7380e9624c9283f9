"""From observations to plans: a world model and a planner joined by a belief."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from planet_ros.bundle.runtime import NO_IMAGES, Bundle, Images
from planet_ros.config import PlannerSettings
from planet_ros.errors import UserError
from planet_ros.planning import Plan, Planner, candidate_returns, make_planner

Array = NDArray[np.float32]

_EXPLORATION_STREAM = 3
_OWN_SETTINGS = {"kind", "discount", "disagreement_penalty"}
_ICEM_SETTINGS = {
    "noise_beta",
    "population_decay",
    "keep_elites_fraction",
    "momentum",
    "initial_std",
    "execute",
}


class BeliefModel(Protocol):
    """The world-model contract in numpy."""

    def initial_belief(self) -> Array:
        """Belief (B,) before anything was seen."""

    def observe(
        self, belief: Array, action: Array, observation: Array, images: Images = NO_IMAGES
    ) -> Array:
        """Belief (B,) after taking an action (A,) and then seeing a vector (O,) and images."""

    def imagine(self, belief: Array, actions: Array) -> tuple[Array, Array, Array]:
        """Rewards, continues and disagreement (N, H) of candidates (N, H, A)."""


class Agent:
    """Filters a belief and plans from it.

    Attributes:
        model: What the world does; may be replaced between two calls of `act` by another one with
            the same sizes.
        last_action: (A,) what was sent after the last plan.
    """

    def __init__(
        self,
        model: BeliefModel,
        planner: Planner,
        *,
        discount: float,
        disagreement_penalty: float = 0.0,
        exploration_noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Join a model and a planner.

        Args:
            model: What the world does.
            planner: Chooses among candidates by their returns.
            discount: See `planet_ros.planning.candidate_returns`.
            disagreement_penalty: Likewise.
            exploration_noise: Standard deviation of the noise on the actions that are taken, in
                halves of the range.
            seed: Of that noise.
        """
        self.model = model
        self._planner = planner
        self._discount = discount
        self._penalty = disagreement_penalty
        self._noise = exploration_noise * (planner.high - planner.low) / 2
        self._rng = np.random.default_rng([seed, _EXPLORATION_STREAM])
        self.reset()

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        seed: int,
        settings: PlannerSettings | None = None,
        *,
        exploration_noise: float = 0.0,
    ) -> Agent:
        """An agent for a loaded bundle, with the planner of its manifest unless told otherwise.

        Raises:
            UserError: The settings' horizon is not the one that the graphs were exported with.
        """
        settings = settings or bundle.manifest.planner
        if settings.horizon != bundle.manifest.horizon:
            raise UserError(
                f"planner.horizon: found {settings.horizon}, but {bundle.path} was exported with "
                f"horizon {bundle.manifest.horizon}; use that, or export again with "
                "`planet-ros export`"
            )
        values = settings.model_dump()
        ignored = _OWN_SETTINGS | (_ICEM_SETTINGS if settings.kind == "cem" else set())
        planner = make_planner(
            settings.kind,
            bundle.manifest.low,
            bundle.manifest.high,
            seed=seed,
            **{name: value for name, value in values.items() if name not in ignored},
        )
        return cls(
            bundle.model,
            planner,
            discount=settings.discount,
            disagreement_penalty=settings.disagreement_penalty,
            exploration_noise=exploration_noise,
            seed=seed,
        )

    def reset(self, seed: int | None = None) -> None:
        """Forget everything seen, and the warm start; with a seed, draw as from the beginning."""
        self._planner.reset(seed)
        if seed is not None:
            self._rng = np.random.default_rng([seed, _EXPLORATION_STREAM])
        self._belief = self.model.initial_belief()
        # What is sent; the planner's middle is as good a guess as any before the first command.
        self.last_action = ((self._planner.low + self._planner.high) / 2).astype(np.float32)

    def act(self, observation: Array, images: Images = NO_IMAGES) -> Plan:
        """Take in an observation (O,), with the images seen together with it, and plan.

        The first action of the plan is remembered as the one taken; a caller that sends another
        one sets `last_action`.

        Raises:
            planet_ros.planning.PlanningError: The model gave no finite return.
        """
        self._belief = self.model.observe(self._belief, self.last_action, observation, images)
        plan = self._planner.plan(self._returns)
        if self._noise.any():
            plan = replace(plan, actions=self._explored(plan.actions))
        self.last_action = plan.actions[0]
        return plan

    def _explored(self, actions: Array) -> Array:
        noisy = actions.copy()
        noisy[0] += self._noise * self._rng.standard_normal(len(self._noise), dtype=np.float32)
        return np.clip(noisy, self._planner.low, self._planner.high)

    def _returns(self, actions: Array) -> NDArray[np.floating]:
        rewards, continues, disagreement = self.model.imagine(self._belief, actions)
        return candidate_returns(rewards, continues, disagreement, self._discount, self._penalty)
