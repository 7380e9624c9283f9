"""Spaces as Minari writes them down: read here, so that none of any size is made unasked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.data import NamedNumber, ObservationPart
from planet_ros.data.signature import IMAGE_PART, MAX_NUMBERS, VECTOR_PART
from planet_ros.datasets.foreign import part_of, shape_of
from planet_ros.errors import UserError
from planet_ros.messages.fields import shortened


@dataclass(frozen=True)
class Box:
    """A space of arrays."""

    shape: tuple[int, ...]
    image: bool
    low: NDArray[np.float32]
    high: NDArray[np.float32]


class Space:
    """The spaces of a data set, as its metadata have them.

    Attributes:
        parts: Of the observation, by name, in the order of the space.
        is_dict: Whether the observation is a dictionary of them.
        action: Of the action; low and high are flat.
    """

    def __init__(self, metadata: dict[str, Any], name: str) -> None:
        space = _parsed(metadata, "observation_space", name)
        self.is_dict = space.get("type") == "Dict"
        where = f"{name}: observation"
        if self.is_dict:
            found = space.get("subspaces")
            if not isinstance(found, dict) or not found:
                raise UserError(f"{where}: found a dictionary of nothing, expected spaces")
            self.parts = {key: _box(one, f"{where} {key}") for key, one in found.items()}
        else:
            box = _box(space, where)
            self.parts = {IMAGE_PART if box.image else VECTOR_PART: box}
        for key, box in self.parts.items():
            if not box.image and len(box.shape) != 1:
                raise UserError(
                    f"{where} {key}: found arrays of shape {list(box.shape)}, expected vectors, or "
                    "pictures of uint8, height × width × channels"
                )
        action = _parsed(metadata, "action_space", name)
        kind = action.get("type")
        if kind != "Box":
            raise UserError(
                f"{name}: found {'discrete ' if 'Discrete' in str(kind) else ''}actions "
                f"({shortened(kind)}), expected a Box: plans are made of numbers"
            )
        self.action = _box(action, f"{name}: action")

    def observation(self, name: str) -> tuple[ObservationPart, ...]:
        """Its parts as an environment has them: all vectors joined, then each picture."""
        vectors = {key: box.shape[0] for key, box in self.parts.items() if not box.image}
        parts = []
        if vectors:
            part = part_of(VECTOR_PART, (sum(vectors.values()),), image=False, where=name)
            parts.append(ObservationPart(part.name, part.shape, numbers=self._numbers(vectors)))
        return (
            *parts,
            *(
                part_of(key, box.shape, image=True, where=name)
                for key, box in self.parts.items()
                if box.image
            ),
        )

    def _numbers(self, vectors: dict[str, int]) -> tuple[NamedNumber, ...]:
        if not self.is_dict:
            return ()
        return tuple(
            NamedNumber(key if size == 1 else f"{key} {index}")
            for key, size in vectors.items()
            for index in range(size)
        )


def _parsed(metadata: dict[str, Any], key: str, name: str) -> dict[str, Any]:
    text = metadata.get(key)
    try:
        space = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        space = None
    if not isinstance(space, dict):
        raise UserError(f"{name}: found no {key} in its metadata, expected one as Minari writes it")
    return space


def _box(space: Any, where: str) -> Box:
    if not isinstance(space, dict) or space.get("type") != "Box":
        kind = space.get("type") if isinstance(space, dict) else space
        raise UserError(
            f"{where}: found {shortened(kind)}, expected a Box; "
            "gymnasium.wrappers:FlattenObservation makes one where the data set is collected"
        )
    shape = shape_of(space.get("shape"), where)
    size = int(np.prod(shape, dtype=object)) if shape else 1
    if not 1 <= size <= MAX_NUMBERS:
        raise UserError(f"{where}: found {size} numbers, expected 1 to {MAX_NUMBERS}")
    ends = []
    for key in ("low", "high"):
        try:
            with np.errstate(over="ignore"):
                values = np.asarray(space.get(key), dtype=np.float64).astype(np.float32)
            ends.append(np.broadcast_to(values, shape).ravel())
        except (TypeError, ValueError):
            raise UserError(f"{where}: {key}: expected numbers of the shape of the space") from None
    image = space.get("dtype") == "uint8" and len(shape) == 3
    return Box(shape, image, ends[0], ends[1])
