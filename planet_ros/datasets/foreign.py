"""What data sets of other projects have in common: what is in one, and episodes of its arrays.

Whatever they say of themselves is a stranger's word: sizes are looked at before anything of that
size is made.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from planet_ros.data import Episode
from planet_ros.data.signature import (
    MAX_ACTIONS,
    ActionPart,
    NamedNumber,
    ObservationPart,
    Signature,
)
from planet_ros.errors import UserError
from planet_ros.interface import files
from planet_ros.messages.fields import shortened

MAX_EPISODES = 10**6
MAX_STEPS = 10**7
"""Of one episode."""

MAX_EPISODE_BYTES = 2**32
"""Of one episode in memory."""

MAX_JSON_BYTES = 2**26

Image: TypeAlias = NDArray[np.uint8]
Fit: TypeAlias = Callable[[str, Image], Image]
"""What becomes of a picture (height, width, channels) of a part."""


@dataclass(frozen=True)
class Contents:
    """What is in a data set.

    Attributes:
        observation: Its parts.
        action: Name and unit of each number.
        low: (A,) least action; minus infinity where the data set says none.
        high: (A,) greatest, likewise.
        episodes: How many there are.
        rewards: Whether there are any.
        period_s: Seconds between two actions; None: the data set does not say.
        environment: Gymnasium's id of where it was collected; empty: nobody says.
        signature: As planet_ros wrote it into the data set; None: it is another's.
    """

    observation: tuple[ObservationPart, ...]
    action: tuple[NamedNumber, ...]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    episodes: int
    rewards: bool = True
    period_s: float | None = None
    environment: str = ""
    signature: Signature | None = None

    def signature_with(
        self, low: NDArray[np.float32], high: NDArray[np.float32], period_s: float
    ) -> Signature:
        """Its signature: its own, or one with such a range of actions.

        Raises:
            ValueError: A range is empty, or the period is out of bounds.
        """
        if self.signature is not None:
            return replace(self.signature, period_s=period_s)
        parts = zip(self.action, low, high, strict=True)
        actions = tuple(
            ActionPart(one.name, float(least), float(greatest), one.unit)
            for one, least, greatest in parts
        )
        return Signature(self.observation, actions, period_s)


class DataSet(ABC):
    """A data set that is open.

    Attributes:
        name: As a person says it.
        contents: What is in it.
        notes: What a person should know of it; more while it is read.
    """

    name: str
    contents: Contents
    notes: list[str]

    @abstractmethod
    def episodes(self, fit: Fit) -> Iterator[Episode]:
        """All of them, one after the other.

        Args:
            fit: Is given every picture, and gives it as it is wanted.

        Raises:
            UserError: One cannot be read, or is not what the data set says.
        """


def missing(library: str, extra: str) -> UserError:
    """That a library is not installed, and what to do."""
    return UserError(
        f"{library} is not installed, which reads and writes such data sets: "
        f"pip install 'planet_ros[{extra}]', or '.[{extra}]' in the folder of planet_ros"
    )


def first_line(error: BaseException) -> str:
    """Of what a library says is wrong."""
    lines = str(error).splitlines()
    return shortened(lines[0] if lines and lines[0] else type(error).__name__)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        UserError: It is none, is too large or cannot be read.
    """
    value = files.read_json(path, MAX_JSON_BYTES)
    if not isinstance(value, dict):
        raise UserError(f"{path}: found {type(value).__name__}, expected a JSON object")
    return value


def shape_of(value: Any, where: str) -> tuple[int, ...]:
    """A shape as JSON has it.

    Raises:
        UserError: It is none.
    """
    fine = isinstance(value, list) and all(type(one) is int and one >= 0 for one in value)
    if not fine:
        raise UserError(f"{where}: found the shape {shortened(value)}, expected a list of sizes")
    return tuple(value)


def part_of(name: str, shape: tuple[int, ...], *, image: bool, where: str) -> ObservationPart:
    """A vector or an image.

    Raises:
        UserError: The name or the shape is not one that a model can have.
    """
    try:
        if image:
            if len(shape) != 3 or shape[2] not in (1, 3):
                raise ValueError(
                    f"found pictures of shape {list(shape)}, expected height × width × channels, "
                    "1 (grey) or 3 (RGB)"
                )
            return ObservationPart(name, shape, role="image", dtype="uint8")
        return ObservationPart(name, shape)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def check_actions(count: int, where: str) -> None:
    """See that there are actions, and not too many.

    Raises:
        UserError: There are none, or more than a model may have.
    """
    if not 1 <= count <= MAX_ACTIONS:
        raise UserError(f"{where}: found {count} numbers of action, expected 1 to {MAX_ACTIONS}")


def check_size(steps: int, shapes: Sequence[tuple[int, ...]], where: str) -> None:
    """See that an episode is one that memory holds.

    Args:
        steps: Of it.
        shapes: Of its parts, as they are kept.
        where: Whose, for the error.

    Raises:
        UserError: It is not.
    """
    nbytes = steps * sum(math.prod(shape) for shape in shapes)
    if steps > MAX_STEPS or nbytes > MAX_EPISODE_BYTES:
        raise UserError(
            f"{where}: found {steps} steps of {nbytes} numbers, expected at most {MAX_STEPS} of "
            f"{MAX_EPISODE_BYTES}; an interface (--interface) with smaller pictures helps"
        )


def episode_of(
    observation: Mapping[str, NDArray[Any]],
    action: NDArray[Any],
    reward: NDArray[Any],
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
    *,
    where: str,
    environment_steps: int = -1,
) -> Episode:
    """An episode of arrays, up to its first end.

    Args:
        observation: (T + 1, …) of each part.
        action: (T, …) of any shape.
        reward: (T,).
        terminated: (T,) whether the step ended it.
        truncated: (T,) whether it was cut after the step.
        where: Whose, for the error.
        environment_steps: As `Episode` has it.

    Raises:
        UserError: They do not fit together, or a number is not finite as float32.
    """
    ends = np.flatnonzero(terminated | truncated)
    steps = int(ends[0]) + 1 if len(ends) else len(reward)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            kept = {
                name: values[: steps + 1]
                if values.ndim == 4
                else np.array(values[: steps + 1], dtype=np.float32, order="C")
                for name, values in observation.items()
            }
            actions = np.array(action[:steps], dtype=np.float32).reshape(steps, -1)
        return Episode(
            kept,
            actions,
            np.array(reward[:steps], dtype=np.float64),
            terminated=bool(terminated[steps - 1]),
            truncated=bool(truncated[steps - 1]),
            environment_steps=environment_steps if steps == len(reward) else -1,
        )
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
