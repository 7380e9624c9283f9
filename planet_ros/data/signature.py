"""What goes in and out of a model: the named parts of observation and action, and the period.

The one description of an interface. An environment has one, a model is made for one, a bundle's
manifest and a checkpoint hold one, and whatever arrives is compared with one by `Signature.check`.
As JSON it is the object of these dataclasses' fields (docs/bundle.md, "Signature").

An observation is a mapping from the names of parts to arrays, `Parts`; an action is one vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planet_ros.errors import UserError

Parts: TypeAlias = Mapping[str, NDArray[Any]]
"""An observation: arrays by the names of its parts."""

Role: TypeAlias = Literal["vector", "image", "goal"]

VECTOR_PART, IMAGE_PART = "observation", "image"
"""What a vector, and an image, is called where nobody gives it another name."""

MAX_NUMBERS = 2**26
"""Numbers in one part at most: an image of 67 megapixels in grey."""

MAX_PARTS = 64
MAX_ACTIONS = 1024
PERIOD_RANGE_S = 0.001, 60.0

MAX_DELAY = 100
"""Periods that an action may take to act, at most."""

_OTHER_INPUTS = {"belief", "action", "actions"}  # of a bundle's graphs, beside the parts
_DTYPES: dict[str, str] = {"vector": "float32", "image": "uint8", "goal": "float32"}
_DIMENSIONS = {"vector": 1, "image": 3, "goal": 1}


@dataclass(frozen=True)
class NamedNumber:
    """One number of a vector.

    Attributes:
        name: Such as ``angular velocity``.
        unit: SI, such as ``rad/s``; empty: that of the part.
    """

    name: str
    unit: str = ""


@dataclass(frozen=True)
class ObservationPart:
    """A vector or an image that is seen, or a goal that is given.

    Attributes:
        name: Unique among the parts.
        shape: (n,) of a vector or a goal; height, width and channels of an image.
        role: What it is.
        dtype: ``float32``; ``uint8`` of an image.
        unit: Of all its numbers; empty: not known, or not the same for all.
        numbers: Name and unit of each number of a vector; empty: not known.

    Raises:
        ValueError: The shape or the type is not the role's, or the names do not fit.
    """

    name: str
    shape: tuple[int, ...]
    role: Role = "vector"
    dtype: Literal["float32", "uint8"] = "float32"
    unit: str = ""
    numbers: tuple[NamedNumber, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or self.name in _OTHER_INPUTS:
            raise ValueError(f"found the name {self.name!r}, expected any but {_OTHER_INPUTS}")
        if (
            self.dtype != _DTYPES[self.role]
            or len(self.shape) != _DIMENSIONS[self.role]
            or not all(size >= 1 for size in self.shape)
            or math.prod(self.shape) > MAX_NUMBERS
        ):
            raise ValueError(
                f"found {self.name} of {self.dtype} {list(self.shape)} in the role {self.role}, "
                "expected float32 with one dimension, or an image of uint8 with height, width and "
                f"channels, of at most {MAX_NUMBERS} numbers"
            )
        if self.numbers and len(self.numbers) != self.shape[0]:
            raise ValueError(
                f"found {len(self.numbers)} names for the {self.shape[0]} numbers of {self.name}"
            )

    def label(self, index: int) -> str:
        """Name and unit of a number of a vector, for a person: ``angular velocity [rad/s]``."""
        number = self.numbers[index] if self.numbers else NamedNumber(f"{self.name} {index}")
        unit = number.unit or self.unit
        return f"{number.name} [{unit}]" if unit else number.name


@dataclass(frozen=True)
class ActionPart:
    """One number of the action.

    Attributes:
        name: Such as ``torque``.
        low: Least, finite as float32.
        high: Greatest, likewise, and more than `low`.
        unit: SI, such as ``N m``; empty: not known.
        max_rate: Largest change per second, more than 0; None: any.

    Raises:
        ValueError: The range is empty or not finite, or the rate is no positive number.
    """

    name: str
    low: float
    high: float
    unit: str = ""
    max_rate: float | None = None

    def __post_init__(self) -> None:
        largest = float(np.finfo(np.float32).max)
        if not -largest <= self.low < self.high <= largest:
            raise ValueError(
                f"found {self.name} from {self.low:g} to {self.high:g}, expected finite float32 "
                "numbers with low < high"
            )
        if self.max_rate is not None and not 0 < self.max_rate <= largest:
            raise ValueError(
                f"found {self.name} with a rate of {self.max_rate:g}, expected more than 0"
            )


@dataclass(frozen=True)
class Layout:
    """Shapes and types of an observation and an action, as found somewhere.

    Attributes:
        observation: Shape and dtype of each part, by name.
        actions: Numbers A of the action.
    """

    observation: Mapping[str, tuple[tuple[int, ...], str]]
    actions: int

    @classmethod
    def of(cls, observation: Parts, action: NDArray[Any], *, leading: int = 0) -> Layout:
        """That of arrays, without as many `leading` dimensions (of time or of a batch)."""
        return cls(
            {
                name: (value.shape[leading:], value.dtype.name)
                for name, value in observation.items()
            },
            action.shape[-1],
        )


@dataclass(frozen=True)
class Signature:
    """The interface of an environment, a robot or a model.

    Attributes:
        observation: Its parts, at least one, in the order that a model takes them in.
        action: Its numbers, at least one.
        period_s: Seconds between two actions.
        delay_periods: Periods until an action acts, beyond the one that it is sent in.

    Raises:
        ValueError: A part is said twice, there are none or too many, nothing but goals, or more
            than one of these, or the period or the delay is out of bounds.
    """

    observation: tuple[ObservationPart, ...]
    action: tuple[ActionPart, ...]
    period_s: float
    delay_periods: int = 0

    def __post_init__(self) -> None:
        names = [part.name for part in self.observation]
        if not 1 <= len(names) <= MAX_PARTS or len(set(names)) < len(names):
            raise ValueError(
                f"found the parts {names} of the observation, expected 1 to {MAX_PARTS} with "
                "different names"
            )
        goals = [part.name for part in self.parts("goal")]
        if len(goals) > 1 or len(goals) == len(names):
            raise ValueError(
                f"found the goals {goals} among the parts {names}, expected at most one, beside "
                "something that is seen"
            )
        if not 1 <= len(self.action) <= MAX_ACTIONS:
            raise ValueError(f"found {len(self.action)} actions, expected 1 to {MAX_ACTIONS}")
        shortest, longest = PERIOD_RANGE_S
        if not shortest <= self.period_s <= longest:
            raise ValueError(
                f"period_s: found {self.period_s:g}, expected {shortest:g} to {longest:g} seconds"
            )
        if not 0 <= self.delay_periods <= MAX_DELAY:
            raise ValueError(
                f"delay_periods: found {self.delay_periods}, expected 0 to {MAX_DELAY}"
            )

    @cached_property
    def low(self) -> NDArray[np.float32]:
        """(A,) least action."""
        return _constant([part.low for part in self.action])

    @cached_property
    def high(self) -> NDArray[np.float32]:
        """(A,) greatest action."""
        return _constant([part.high for part in self.action])

    @cached_property
    def middle(self) -> NDArray[np.float32]:
        """(A,) middle of the range: what is taken to have been done where nothing was yet."""
        return _constant((self.low + self.high) / 2)

    @cached_property
    def max_change(self) -> NDArray[np.float32]:
        """(A,) largest change from one action to the next; infinite where any is allowed."""
        rates = [np.inf if part.max_rate is None else part.max_rate for part in self.action]
        return _constant(np.array(rates) * self.period_s)

    @property
    def actions(self) -> int:
        """Numbers A of the action."""
        return len(self.action)

    def parts(self, role: Role) -> tuple[ObservationPart, ...]:
        """The parts of a role, in their order."""
        return tuple(part for part in self.observation if part.role == role)

    @cached_property
    def goal(self) -> ObservationPart | None:
        """The part that is given and not seen; None where there is none."""
        return next(iter(self.parts("goal")), None)

    @cached_property
    def seen(self) -> tuple[ObservationPart, ...]:
        """The parts that are seen: all but the goal."""
        return tuple(part for part in self.observation if part.role != "goal")

    @cached_property
    def vector_size(self) -> int:
        """Numbers O in all vectors together; 0 where images are all that is seen."""
        return sum(part.shape[0] for part in self.parts("vector"))

    @cached_property
    def images(self) -> dict[str, tuple[int, int, int]]:
        """Height, width and channels of each image, by name."""
        return {
            part.name: (part.shape[0], part.shape[1], part.shape[2]) for part in self.parts("image")
        }

    @cached_property
    def layout(self) -> Layout:
        """Shapes and types alone."""
        return Layout(
            {part.name: (part.shape, part.dtype) for part in self.observation}, self.actions
        )

    def zeros(self) -> dict[str, NDArray[Any]]:
        """An observation of zeros, with a goal of zeros where there is one."""
        return {part.name: np.zeros(part.shape, part.dtype) for part in self.observation}

    def split(self, observation: Parts) -> tuple[Parts, NDArray[np.float32] | None]:
        """The parts that are seen, and the goal (G,); None where none is, or is given."""
        if self.goal is None:
            return observation, None
        seen = {part.name: observation[part.name] for part in self.seen}
        return seen, observation.get(self.goal.name)

    def check(self, found: Signature | Layout, where: str) -> None:
        """See that something has this signature: the one check of what fits what.

        Names and units are for people and may differ; so may the order of parts, which have names,
        and the period.

        Args:
            found: Another signature, whose ranges of actions are compared too, or the layout of
                arrays.
            where: What was found there, for the error.

        Raises:
            UserError: A part is missing, one too many, or of another shape or type, or the actions
                are others; the text names the part, what was found and what was expected.
        """
        layout = found.layout if isinstance(found, Signature) else found
        if layout == self.layout and not isinstance(found, Signature):
            return  # the usual case, at every step
        for name in {**self.layout.observation, **layout.observation}:
            expected, actual = self.layout.observation.get(name), layout.observation.get(name)
            if actual != expected:
                raise UserError(
                    f"{where}: found {_part_text(name, actual)}, expected "
                    f"{_part_text(name, expected)}; learn from, and act in, the same environment "
                    "with the same wrappers"
                )
        if layout.actions != self.actions:
            raise UserError(
                f"{where}: found {layout.actions} numbers of action, expected {self.actions}"
            )
        if isinstance(found, Signature) and not (
            np.allclose(found.low, self.low) and np.allclose(found.high, self.high)
        ):
            raise UserError(
                f"{where}: found actions from {found.low} to {found.high}, expected the range "
                f"{self.low} to {self.high}"
            )


def _part_text(name: str, kind: tuple[tuple[int, ...], str] | None) -> str:
    return f"no {name!r}" if kind is None else f"{name!r} of {kind[1]} {list(kind[0])}"


def _constant(values: ArrayLike) -> NDArray[np.float32]:
    array = np.array(values, dtype=np.float32)
    array.setflags(write=False)
    return array
