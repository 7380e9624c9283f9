"""The reward that needs no code: minus weighted squares of distances from set-points.

    reward = − Σ weight · distance(number, set-point)²

over numbers of the observation before an action, and over actions, as Gymnasium's pendulum has it.
An angle is given by its cosine and sine, and its distance is the short way round, in radians.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from planet_ros.data import Signature
from planet_ros.errors import UserError
from planet_ros.models.parts import TensorParts

Kind = Literal["plain", "angle"]
"""One number as it is, or two: cosine and sine of an angle."""

_SMALLEST_SINE = 1e-12
"""Far below what float32 tells apart beside a cosine, and its square is no denormal number."""


@dataclass(frozen=True)
class ObservationTerm:
    """A number of the observation, or an angle, that is best at its set-point.

    Attributes:
        part: Name of the vector.
        index: Of the number in it; of an angle, of its cosine, which the sine follows.
        weight: 0 or more, per squared unit (of an angle, rad).
        kind: What stands there.
        setpoint: Best value; of an angle, in radians.
        goal: Index in the goal of the number that is the set-point; None: `setpoint` is.
        goal_kind: What stands there: ``angle`` for cosine and sine of one.
    """

    part: str
    index: int
    weight: float
    kind: Kind = "plain"
    setpoint: float = 0.0
    goal: int | None = None
    goal_kind: Kind = "plain"


@dataclass(frozen=True)
class ActionTerm:
    """A number of the action that is best at its set-point; fields as of `ObservationTerm`."""

    index: int
    weight: float
    setpoint: float = 0.0
    goal: int | None = None


@dataclass(frozen=True)
class QuadraticReward:
    """A `planet_ros.models.task.RewardFunction`; `of` checks its terms."""

    observation: tuple[ObservationTerm, ...]
    action: tuple[ActionTerm, ...] = ()

    @classmethod
    def of(
        cls,
        signature: Signature,
        observation: Sequence[ObservationTerm],
        action: Sequence[ActionTerm] = (),
    ) -> QuadraticReward:
        """One whose terms fit a signature.

        Raises:
            UserError: There is no term, a weight is negative, or a part or an index does not exist.
        """
        if not (observation or action):
            raise UserError("reward: found no terms, expected one or more")
        sizes = {part.name: part.shape[0] for part in signature.parts("vector")}
        goals = 0 if signature.goal is None else signature.goal.shape[0]
        for term in observation:
            if term.part not in sizes:
                raise UserError(
                    f"reward: found the part {term.part!r}, expected a vector of {sorted(sizes)}"
                )
            _check_index(term.index, term.kind, sizes[term.part], term.part)
            if term.kind == "plain" and term.goal_kind == "angle":
                raise UserError(
                    f"reward: found an angle of the goal for a plain number of {term.part}, "
                    "expected one number, or an angle for an angle"
                )
            if term.goal is not None:
                _check_index(term.goal, term.goal_kind, goals, "the goal")
        for wanted in action:
            _check_index(wanted.index, "plain", signature.actions, "the action")
            if wanted.goal is not None:
                _check_index(wanted.goal, "plain", goals, "the goal")
        terms: list[ObservationTerm | ActionTerm] = [*observation, *action]
        for given in terms:
            if not (0 <= given.weight < math.inf and math.isfinite(given.setpoint)):
                raise UserError(
                    f"reward: found {given}, expected a weight of 0 or more and a set-point "
                    "that are finite"
                )
        return cls(tuple(observation), tuple(action))

    def __call__(
        self,
        observation: TensorParts,
        action: Tensor,
        next_observation: TensorParts,
        goal: Tensor | None,
    ) -> Tensor:
        """Reward (…) of transitions; see `planet_ros.models.task.RewardFunction`."""
        plain = [term for term in self.observation if term.kind == "plain"]
        turned = [term for term in self.observation if term.kind == "angle"]
        shown = [term for term in turned if term.goal is not None and term.goal_kind == "angle"]
        told = [term for term in turned if term not in shown]
        costs: list[Tensor] = []
        if plain:
            found = _taken(observation, plain)
            costs.append(_cost(found - _setpoints(plain, goal, found), plain))
        if self.action:
            done = _columns(action, [term.index for term in self.action])
            costs.append(_cost(done - _setpoints(self.action, goal, done), self.action))
        if told:
            cosine = _taken(observation, told)
            angle = _setpoints(told, goal, cosine)
            sine = _taken(observation, told, 1)
            costs.append(_cost(_turn(cosine, sine, torch.cos(angle), torch.sin(angle)), told))
        if shown:
            assert goal is not None
            costs.append(
                _cost(
                    _turn(
                        _taken(observation, shown),
                        _taken(observation, shown, 1),
                        _columns(goal, [term.goal or 0 for term in shown]),
                        _columns(goal, [(term.goal or 0) + 1 for term in shown]),
                    ),
                    shown,
                )
            )
        total = costs[0]
        for cost in costs[1:]:
            total = total + cost
        return -total


def _check_index(index: int, kind: Kind, size: int, where: str) -> None:
    last = index + (kind == "angle")
    if not 0 <= index <= last < size:
        numbers = f"the numbers {index} and {last}" if kind == "angle" else f"the number {index}"
        raise UserError(
            f"reward: found {numbers} of {where}, expected from 0 to {size - 1}"
            if size
            else f"reward: found {numbers} of {where}, but there is none"
        )


def _turn(cosine: Tensor, sine: Tensor, to_cosine: Tensor, to_sine: Tensor) -> Tensor:
    """Size of the angle, 0 to π, from one direction to another, each (…, K).

    ONNX has no atan2. With the angle between 0 and π its cotangent will do, which is defined
    everywhere once the sine is kept from 0, and whose length does not matter.
    """
    along = cosine * to_cosine + sine * to_sine
    across = (sine * to_cosine - cosine * to_sine).abs().clamp(min=_SMALLEST_SINE)
    return math.pi / 2 - torch.atan(along / across)


def _cost(distance: Tensor, terms: Sequence[ObservationTerm] | Sequence[ActionTerm]) -> Tensor:
    """(…, K) → (…), weighted squares."""
    weights = torch.tensor([term.weight for term in terms], device=distance.device)
    return (distance.square() * weights).sum(dim=-1)


def _setpoints(
    terms: Sequence[ObservationTerm] | Sequence[ActionTerm], goal: Tensor | None, like: Tensor
) -> Tensor:
    """(K,) where all are constants, (…, K) where some are the goal's; radians of angles."""
    constants = torch.tensor([term.setpoint for term in terms], device=like.device)
    chosen = [term.goal is not None for term in terms]
    if goal is None or not any(chosen):
        return constants
    wanted = _columns(goal, [term.goal or 0 for term in terms])
    return torch.where(torch.tensor(chosen, device=like.device), wanted, constants)


def _taken(parts: TensorParts, terms: Sequence[ObservationTerm], beyond: int = 0) -> Tensor:
    """(…, K) numbers of the terms, or those that stand so far beyond them.

    Terms that follow one another in the same part are taken together.
    """
    runs: list[tuple[str, list[int]]] = []
    for term in terms:
        if not runs or runs[-1][0] != term.part:
            runs.append((term.part, []))
        runs[-1][1].append(term.index + beyond)
    columns = [_columns(parts[part], indices) for part, indices in runs]
    return columns[0] if len(columns) == 1 else torch.cat(columns, dim=-1)


def _columns(values: Tensor, indices: Sequence[int]) -> Tensor:
    return values.index_select(-1, torch.tensor(indices, device=values.device))
