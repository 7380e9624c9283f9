"""Rewards that the document itself says, computed from what was seen and done.

```
reward: {kind: quadratic, …}        r = − Σ weight · (o − setpoint)² − Σ weight · (a − setpoint)²

  o    observation before the action, as the model sees it; of an encoded angle or yaw the angle in
       radians again, and its distance the short way round
  a    the action that acted
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from planet_ros.data.signature import Parts
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface, ObservedField
from planet_ros.interface.encodings import Numbers, turned
from planet_ros.interface.reading import GOAL_PART, PartReader
from planet_ros.interface.writing import ActionWriter, spread
from planet_ros.messages.fields import Make

StepReward: TypeAlias = Callable[[Parts, NDArray[np.float32], Parts], float]
"""The reward of an observation, the action (A,) after it, and the observation that followed."""


def step_reward(interface: Interface, make: Make) -> StepReward | None:
    """The reward that a document says; None where it comes with the messages.

    None too where it is a function: that works on torch tensors, and who learns judges by it.

    Args:
        interface: The document.
        make: Gives empty messages.

    Raises:
        UserError: A term does not fit what is seen.
    """
    if interface.reward.kind != "quadratic":
        return None
    quadratic = QuadraticReward(interface, make)
    return lambda before, action, after: quadratic.of(before, action, before.get(GOAL_PART))


class QuadraticReward:
    """Minus the weighted squared distances to set-points.

    Attributes:
        terms: Of what is observed.
        action_weight: (A,) of each number of the action.
        action_setpoint: (A,) likewise.
    """

    def __init__(self, interface: Interface, make: Make) -> None:
        """Find each term's numbers by its field's place in its part.

        Args:
            interface: With a reward of kind quadratic.
            make: Gives empty messages.

        Raises:
            UserError: A term names no field, one of another size than its goal's, or a quaternion.
        """
        parts = [(part.fields, PartReader(part, make)) for part in interface.observation]
        seen = {place.label: place for fields, reader in parts for place in _places(fields, reader)}
        wanted: dict[str, Place] = {}
        if interface.goal is not None:
            reader = PartReader(interface.goal, make)
            wanted = {place.label: place for place in _places(interface.goal.fields, reader)}
        self.terms: list[Term] = []
        for index, term in enumerate(interface.reward.observation):
            where = f"reward.observation[{index}]"
            place = _named(term.field, seen, where)
            goal = _named(term.goal, wanted, f"{where}: goal") if term.goal else None
            if goal is not None and goal.size != place.size:
                raise UserError(
                    f"{where}: goal: found {goal.size} numbers, expected {place.size}, as of "
                    f"{term.field}"
                )
            weight = spread(term.weight, place.size, f"{where}: weight")
            setpoint = spread(term.setpoint, place.size, f"{where}: setpoint")
            self.terms.append(Term(place, weight, setpoint, goal))
        self.action_weight, self.action_setpoint = _action_terms(interface, make)

    def of(
        self, observation: Parts, action: NDArray[np.floating], goal: NDArray[np.floating] | None
    ) -> float:
        """The reward of a step.

        Args:
            observation: Parts before the action, as the model sees them.
            action: (A,).
            goal: (n,) likewise; None where the document has none.
        """
        distances = np.asarray(action, np.float64) - self.action_setpoint
        cost = float((self.action_weight * distances**2).sum())
        for term in self.terms:
            setpoint = term.setpoint
            if term.goal is not None:
                assert goal is not None  # a tick has one wherever the document has
                setpoint = term.goal.numbers(goal)
            distance = term.place.numbers(observation[term.place.part]) - setpoint
            if term.place.is_angle:
                distance = turned(distance)
            cost += float((term.weight * distance**2).sum())
        return -cost


@dataclass(frozen=True)
class Place:
    """Where a field is in the vector of its part."""

    label: str
    part: str
    first: int
    encoded_size: int
    encoding: str

    @property
    def is_angle(self) -> bool:
        """Whether each number is seen as its cosine and sine."""
        return self.encoding in ("angle", "yaw")

    @property
    def size(self) -> int:
        """How many numbers there are, of angles the radians."""
        return self.encoded_size // 2 if self.is_angle else self.encoded_size

    def numbers(self, vector: NDArray[np.floating]) -> Numbers:
        """Its numbers (k,), of angles the radians."""
        encoded: Numbers = vector[self.first : self.first + self.encoded_size].astype(np.float64)
        if not self.is_angle:
            return encoded
        radians: Numbers = np.arctan2(encoded[1::2], encoded[::2])
        return radians


@dataclass(frozen=True)
class Term:
    """One field's part of the reward.

    Attributes:
        place: Of the field's numbers.
        weight: (k,) of each.
        setpoint: (k,) of each, in radians of angles.
        goal: Where the set-points are in the goal; None: they are constants.
    """

    place: Place
    weight: Numbers
    setpoint: Numbers
    goal: Place | None


def _places(fields: Iterable[ObservedField], reader: PartReader) -> Iterable[Place]:
    first = 0
    for field in fields:
        size = reader.encoded_sizes[field.label]
        yield Place(field.label, reader.name, first, size, field.encoding)
        first += size


def _named(name: str, places: dict[str, Place], where: str) -> Place:
    if name not in places:
        known = ", ".join(sorted(places)) or "none"
        raise UserError(f"{where}: found {name!r}, expected one of {known}")
    if places[name].encoding == "quaternion":
        raise UserError(
            f"{where}: found {name!r} with the encoding quaternion, expected numbers between which "
            "there is a distance; the encoding yaw has one"
        )
    return places[name]


def _action_terms(interface: Interface, make: Make) -> tuple[Numbers, Numbers]:
    """Weight and set-point of each number of the action, (A,) both."""
    writer = ActionWriter(interface.action, make)
    firsts: dict[str, int] = {}
    count = 0
    for label, size in writer.sizes.items():
        firsts[label] = count
        count += size
    weights, setpoints = np.zeros((2, count))
    for index, term in enumerate(interface.reward.action):
        where = f"reward.action[{index}]"
        if term.field not in firsts:
            raise UserError(f"{where}: found {term.field!r}, expected one of {', '.join(firsts)}")
        size = writer.sizes[term.field]
        numbers = slice(firsts[term.field], firsts[term.field] + size)
        weights[numbers] = spread(term.weight, size, f"{where}: weight")
        setpoints[numbers] = spread(term.setpoint, size, f"{where}: setpoint")
    return weights, setpoints
