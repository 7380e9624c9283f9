"""How a controller decides: the protocol of every policy, and the one that plans in a model.

```
reset ──► act(o0) ──► took(a0) ──► act(o1) ──► took(a1) ──► …
```

A policy says what it would do; whoever sends commands says what was really done, which a limit, a
late plan or a safe command may have changed.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from planet_ros.bundle.runtime import Bundle, Rollouts
from planet_ros.config import PlannerSettings
from planet_ros.data import Parts, Signature
from planet_ros.errors import UserError
from planet_ros.planning import Plan, PlanningError, candidate_returns, make_planner

Array = NDArray[np.float32]


class Policy(Protocol):
    """From observations to actions, with a memory of the episode."""

    def reset(self, seed: int | None = None) -> None:
        """Forget everything seen and done; with a seed, draw as from the beginning."""

    def act(self, observation: Parts) -> Plan:
        """Take in an observation and decide on actions (K, A) from now on, at least one.

        Raises:
            planet_ros.planning.PlanningError: There is no action to be trusted.
        """

    def took(self, action: Array) -> None:
        """Be told the action (A,) that was sent after the last `act`; after a reset, none was."""


@runtime_checkable
class Successor(Policy, Protocol):
    """A policy that can take the place of another in the middle of an episode."""

    def inherit(self, previous: Policy) -> bool:
        """Go on where another policy stands.

        Returns:
            Whether it could: False where the two have not the same kind, signature and settings.
        """


class BeliefModel(Protocol):
    """The world-model contract in numpy; `planet_ros.models.WorldModel` gives the meanings."""

    def initial_belief(self) -> Array:
        """Belief (B,) before anything was seen."""

    def observe(self, belief: Array, action: Array, observation: Parts) -> Array:
        """Belief (B,) after taking an action (A,) and then seeing something, without the goal."""

    def imagine(self, belief: Array, actions: Array, goal: Array | None) -> Rollouts:
        """What is expected of candidates (N, H, A), for a goal (G,) where there is one."""


class PlanningPolicy:
    """Filters a belief and plans from it.

    Attributes:
        signature: Of what it sees and does.
        settings: Of the planner.
    """

    def __init__(
        self, model: BeliefModel, signature: Signature, settings: PlannerSettings, *, seed: int
    ) -> None:
        """Join a model and a planner.

        Args:
            model: What the world does.
            signature: Of the model.
            settings: Which planner, and how candidates are weighed.
            seed: Of the planner's random numbers.
        """
        self.signature = signature
        self.settings = settings
        self._model = model
        self._planner = make_planner(settings.own(), signature.low, signature.high, seed=seed)
        self._goal: Array | None = None
        self.reset()

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        seed: int,
        settings: PlannerSettings | None = None,
        model: BeliefModel | None = None,
    ) -> PlanningPolicy:
        """A policy for a loaded bundle.

        Args:
            bundle: What to act by.
            seed: Of the planner.
            settings: In place of those of the manifest.
            model: In place of the bundle's graphs: the same model, computed elsewhere.

        Raises:
            UserError: The settings' horizon is not the one that the graphs were exported with.
        """
        manifest = bundle.manifest
        settings = settings or manifest.planner
        if settings.horizon != manifest.horizon:
            raise UserError(
                f"planner.horizon: found {settings.horizon}, but {bundle.path} was exported with "
                f"horizon {manifest.horizon}; use that, or export again with `planet-ros export`"
            )
        return cls(model or bundle.model, manifest.signature, settings, seed=seed)

    def reset(self, seed: int | None = None) -> None:
        """Forget what was seen and done, and the warm start."""
        self._planner.reset(seed)
        self._belief = self._model.initial_belief()
        self._last_action: Array = self.signature.middle

    def act(self, observation: Parts) -> Plan:
        """Take in an observation, and plan for the goal that it comes with.

        Raises:
            PlanningError: There is to be a goal, and none was given, or not of finite numbers, as
                many as the signature says; or no candidate has a finite return. What was seen is
                taken in all the same.
        """
        seen, goal = self.signature.split(observation)
        self._belief = self._model.observe(self._belief, self._last_action, seen)
        self._goal = self._checked(goal)
        return self._planner.plan(self._returns)

    def _checked(self, goal: Array | None) -> Array | None:
        part = self.signature.goal
        if part is None:
            return None
        wanted = f"expected {part.shape[0]} numbers of the goal {part.name!r}"
        if goal is None:
            raise PlanningError(f"no goal has been received yet, {wanted}; publish one")
        if goal.shape != part.shape or not np.isfinite(goal).all():
            raise PlanningError(f"found the goal {np.array2string(goal, threshold=8)}, {wanted}")
        return np.asarray(goal, dtype=np.float32)

    def took(self, action: Array) -> None:
        """Remember what the next observation comes after."""
        self._last_action = action

    def inherit(self, previous: Policy) -> bool:
        """Take over belief, warm start and random numbers, for the same model further learned."""
        if (
            not isinstance(previous, PlanningPolicy)
            or previous.signature != self.signature
            or previous.settings != self.settings
            or previous._belief.shape != self._belief.shape
        ):
            return False
        self._planner = previous._planner
        self._belief = previous._belief
        self._last_action = previous._last_action
        return True

    def _returns(self, actions: Array) -> NDArray[Any]:
        return candidate_returns(
            *self._model.imagine(self._belief, actions, self._goal),
            self.settings.discount,
            self.settings.disagreement_penalty,
        )
