"""How a controller decides: the protocol of every policy, and the one that plans in a model.

```
reset ──► act(o0) ──► took(a0) ──► act(o1) ──► took(a1) ──► …
```

A policy says what it would do; whoever sends commands says what was really done, which a limit, a
late plan or a safe command may have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from planet_ros.bundle.runtime import Bundle, Rollouts
from planet_ros.config import PlannerSettings
from planet_ros.data import Parts, Signature
from planet_ros.errors import UserError
from planet_ros.planning import Plan, Planner, candidate_returns, make_planner

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
        """Belief (B,) after taking an action (A,) and then seeing something."""

    def imagine(self, belief: Array, actions: Array) -> Rollouts:
        """What is expected of candidates (N, H, A)."""


def planner_of(settings: PlannerSettings, signature: Signature, seed: int) -> Planner:
    """The planner that settings name, for the actions of a signature."""
    return make_planner(settings.own(), signature.low, signature.high, seed=seed)


MakePlanner: TypeAlias = Callable[[PlannerSettings, Signature, int], Planner]
"""Makes a planner from settings, a signature and a seed, as `planner_of` does."""


class PlanningPolicy:
    """Filters a belief and plans from it.

    Attributes:
        signature: Of what it sees and does.
        settings: Of the planner.
    """

    def __init__(
        self,
        model: BeliefModel,
        signature: Signature,
        settings: PlannerSettings,
        *,
        seed: int,
        make_planner: MakePlanner = planner_of,
    ) -> None:
        """Join a model and a planner.

        Args:
            model: What the world does.
            signature: Of the model.
            settings: Which planner, and how candidates are weighed.
            seed: Of the planner's random numbers.
            make_planner: Of another kind than the settings name; the horizon is theirs.

        Raises:
            UserError: The planner that was made has another horizon than the settings.
        """
        self.signature = signature
        self.settings = settings
        self._model = model
        self._make_planner = make_planner
        self._planner = make_planner(settings, signature, seed)
        if self._planner.horizon != settings.horizon:
            raise UserError(
                f"planner.horizon: found {self._planner.horizon} of the planner that was made, "
                f"expected {settings.horizon} as in its settings"
            )
        self.reset()

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        seed: int,
        settings: PlannerSettings | None = None,
        model: BeliefModel | None = None,
        make_planner: MakePlanner = planner_of,
    ) -> PlanningPolicy:
        """A policy for a loaded bundle.

        Args:
            bundle: What to act by.
            seed: Of the planner.
            settings: In place of those of the manifest.
            model: In place of the bundle's graphs: the same model, computed elsewhere.
            make_planner: Of another kind than the settings name.

        Raises:
            UserError: The horizon of the settings, or of the planner that was made, is not the one
                that the graphs were exported with.
        """
        manifest = bundle.manifest
        settings = settings or manifest.planner
        if settings.horizon != manifest.horizon:
            raise UserError(
                f"planner.horizon: found {settings.horizon}, but {bundle.path} was exported with "
                f"horizon {manifest.horizon}; use that, or export again with `planet-ros export`"
            )
        return cls(
            model or bundle.model,
            manifest.signature,
            settings,
            seed=seed,
            make_planner=make_planner,
        )

    def reset(self, seed: int | None = None) -> None:
        """Forget what was seen and done, and the warm start."""
        self._planner.reset(seed)
        self._belief = self._model.initial_belief()
        self._last_action: Array = self.signature.middle

    def act(self, observation: Parts) -> Plan:
        """Take in an observation, and plan."""
        self._belief = self._model.observe(self._belief, self._last_action, observation)
        return self._planner.plan(self._returns)

    def took(self, action: Array) -> None:
        """Remember what the next observation comes after."""
        self._last_action = action

    def inherit(self, previous: Policy) -> bool:
        """Take over belief, warm start and random numbers, for the same model further learned."""
        if (
            not isinstance(previous, PlanningPolicy)
            or previous.signature != self.signature
            or previous.settings != self.settings
            or previous._make_planner != self._make_planner
            or previous._belief.shape != self._belief.shape
        ):
            return False
        self._planner = previous._planner
        self._belief = previous._belief
        self._last_action = previous._last_action
        return True

    def _returns(self, actions: Array) -> NDArray[Any]:
        return candidate_returns(
            *self._model.imagine(self._belief, actions),
            self.settings.discount,
            self.settings.disagreement_penalty,
        )
