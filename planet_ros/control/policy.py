"""How a controller decides: the protocol of every policy, and the one that plans in a model.

```
reset ──► act(o0) ──► took(a0) ──► act(o1) ──► took(a1) ──► …
```

A policy says what it would do; whoever sends commands says what was really done, which a limit, a
late plan or a safe command may have changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from planet_ros.bundle.runtime import Bundle, Rollouts
from planet_ros.config import PlannerSettings
from planet_ros.data import Parts, Signature
from planet_ros.errors import UserError
from planet_ros.planning import Plan, Planner, PlanningError, candidate_returns, make_planner

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


class Interruptible:
    """A model that no longer answers once an event is set, so that who plans with it ends.

    A plan may be of a thousand rounds. One run of a graph is short: bundles are loaded by that.
    """

    def __init__(self, model: BeliefModel, stop: Event) -> None:
        """Ask the model, as long as `stop` is not set."""
        self._model, self._stop = model, stop

    def initial_belief(self) -> Array:
        """As `BeliefModel`."""
        return self._model.initial_belief()

    def observe(self, belief: Array, action: Array, observation: Parts) -> Array:
        """As `BeliefModel`.

        Raises:
            PlanningError: It is to stop.
        """
        self._check()
        return self._model.observe(belief, action, observation)

    def imagine(self, belief: Array, actions: Array, goal: Array | None) -> Rollouts:
        """As `BeliefModel`.

        Raises:
            PlanningError: It is to stop.
        """
        self._check()
        return self._model.imagine(belief, actions, goal)

    def _check(self) -> None:
        if self._stop.is_set():
            raise PlanningError("it is not wanted any more")


def planner_of(settings: PlannerSettings, signature: Signature, seed: int) -> Planner:
    """The planner that settings name, for the actions of a signature."""
    return make_planner(settings.own(), signature.low, signature.high, seed=seed)


MakePlanner: TypeAlias = Callable[[PlannerSettings, Signature, int], Planner]
"""Makes a planner from settings, a signature and a seed, as `planner_of` does."""


def _nothing() -> Array:
    return np.zeros(0, np.float32)


@dataclass(frozen=True)
class FilteredPlan(Plan):
    """A plan, and from where it looks ahead.

    Attributes:
        belief: (B,) after what was seen last.
        under_way: (d, A) sent before, and acting before the plan's first action does.
        disagreement: Mean over the steps of the best candidate of the last iteration, in the unit
            of the reward; None where there is nobody to disagree.
    """

    belief: Array = field(default_factory=_nothing)
    under_way: Array = field(default_factory=_nothing)
    disagreement: float | None = None

    @property
    def acting(self) -> Array:
        """(H, A) what acts in each of the next periods; the plan's end acts after them."""
        return np.concatenate([self.under_way, self.actions])[: len(self.actions)]


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
            UserError: The planner that was made has another horizon than the settings, or its
                horizon ends before a command acts.
        """
        self.signature = signature
        self.settings = settings
        self._model = model
        self._make_planner = make_planner
        self._planner = make_planner(settings, signature, seed)
        self._goal: Array | None = None
        self._weighed: tuple[NDArray[Any], Array | None] = _nothing(), None
        self._delay = signature.delay_periods
        self._max_change = signature.max_change if np.isfinite(signature.max_change).any() else None
        if self._delay >= settings.horizon:
            raise UserError(
                f"planner.horizon: found {settings.horizon}, expected more than the "
                f"{self._delay} periods until a command acts"
            )
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
        # The oldest of them acts now; those after it have been sent, and act before what is
        # planned does.
        before = [self.signature.middle] * (self._delay + 1)
        self._sent: deque[Array] = deque(before, maxlen=self._delay + 1)
        self._sent_any = False

    def act(self, observation: Parts) -> FilteredPlan:
        """Take in an observation, and plan for the goal that it comes with.

        Raises:
            PlanningError: There is to be a goal, and none was given, or not of finite numbers, as
                many as the signature says; or no candidate has a finite return. What was seen is
                taken in all the same.
        """
        seen, goal = self.signature.split(observation)
        self._belief = self._model.observe(self._belief, self._sent[0], seen)
        self._goal = self._checked(goal)
        plan = self._planner.plan(self._returns)
        actions = plan.actions
        if self._max_change is not None:
            actions = self._within_rates(actions[None])[0]
        return FilteredPlan(
            actions,
            plan.expected_return,
            plan.elite_spread,
            plan.candidates,
            self._belief,
            self._under_way,
            self._disagreement(),
        )

    def _disagreement(self) -> float | None:
        """That on the best of the candidates that were weighed last."""
        returns, spread = self._weighed
        if spread is None:
            return None
        best = int(np.argmax(np.where(np.isfinite(returns), returns, -np.inf)))
        return float(spread[best].mean())

    @property
    def _under_way(self) -> Array:
        """(d, A) what has been sent and does not act yet."""
        return np.array(list(self._sent)[1:], np.float32).reshape(self._delay, len(self._sent[0]))

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
        self._sent.append(action)
        self._sent_any = True

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
        self._sent = previous._sent
        self._sent_any = previous._sent_any
        return True

    def _returns(self, actions: Array) -> NDArray[Any]:
        if self._max_change is not None:
            actions = self._within_rates(actions)
        if self._delay:
            # What has been sent acts first; the last entries of a plan act beyond the horizon.
            first = np.broadcast_to(self._under_way, (len(actions), self._delay, actions.shape[2]))
            actions = np.concatenate([first, actions[:, : -self._delay]], axis=1)
        rollouts = self._model.imagine(self._belief, actions, self._goal)
        returns = candidate_returns(
            *rollouts, self.settings.discount, self.settings.disagreement_penalty
        )
        self._weighed = returns, rollouts.disagreement
        return returns

    def _within_rates(self, actions: Array) -> Array:
        """Sequences (N, H, A) as they can be sent: no faster than the robot allows."""
        assert self._max_change is not None
        allowed = actions.copy()
        before = self._sent[-1] if self._sent_any else allowed[:, 0]
        for step in range(actions.shape[1]):
            now = allowed[:, step]
            np.clip(now, before - self._max_change, before + self._max_change, out=now)
            before = now
        return allowed
