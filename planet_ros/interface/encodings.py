"""How numbers are seen by a model: angles as cosine and sine, rotations as columns of a matrix.

Each function takes numbers (k,) and gives numbers (n,), float64.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from planet_ros.errors import UserError

Numbers = NDArray[np.float64]

SMALLEST_NORM = 1e-6
"""Quaternions are not shorter than this: zeros stand for no rotation at all."""

_ANGLES = ("angle", "yaw")
"""Encodings whose numbers are cosines and sines in turn."""

SIZES: dict[str, tuple[int, int]] = {"quaternion": (4, 6), "yaw": (4, 2)}
"""Numbers in and out of the encodings for which there is no choice."""


def encoded_size(encoding: str, size: int, where: str) -> int:
    """Numbers n that `size` numbers become.

    Raises:
        UserError: The encoding takes another number.
    """
    if encoding in SIZES:
        expected, encoded = SIZES[encoding]
        if size != expected:
            raise UserError(
                f"{where}: found {size} numbers with the encoding {encoding}, expected "
                f"{expected}: x, y, z, w"
            )
        return encoded
    return 2 * size if encoding == "angle" else size


def encoded_names(encoding: str, labels: tuple[str, ...], label: str) -> tuple[str, ...]:
    """What the encoded numbers are called."""
    if encoding == "angle":
        return tuple(f"{function} {one}" for one in labels for function in ("cos", "sin"))
    if encoding == "yaw":
        return f"cos {label}", f"sin {label}"
    if encoding == "quaternion":
        return tuple(f"{label} {row}{column}" for column in "xy" for row in "xyz")
    return labels


def decoded(encoding: str, values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Undo the encoding of numbers (…, n) as far as people want it: angles in radians (…, k)."""
    if encoding in _ANGLES:
        return np.arctan2(values[..., 1::2], values[..., ::2])
    return values


def decoded_names(encoding: str, names: Sequence[str]) -> list[str]:
    """What the numbers that `decoded` gives are called; `names` are those of `encoded_names`."""
    if encoding in _ANGLES:
        return [name.removeprefix("cos ") for name in names[::2]]
    return list(names)


def angles(radians: Numbers) -> Numbers:
    """Cosine and sine of each angle, one after the other: (2 k,)."""
    pairs: Numbers = np.column_stack((np.cos(radians), np.sin(radians))).ravel()
    return pairs


def turned(difference: Numbers) -> Numbers:
    """Differences of angles, the short way round: from -π to π."""
    shortest: Numbers = (difference + np.pi) % (2 * np.pi) - np.pi
    return shortest


def yaw(quaternion: Numbers, where: str) -> Numbers:
    """The rotation about z, in radians (1,), of x, y, z, w.

    Raises:
        UserError: It is no rotation.
    """
    x, y, z, w = _normalised(quaternion, where)
    return np.array([np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))])


def columns(quaternion: Numbers, where: str) -> Numbers:
    """The first two columns (6,) of the rotation matrix of x, y, z, w.

    They change smoothly with the rotation, as no four numbers do, and are the same for a quaternion
    and its opposite (Zhou et al. 2019, On the Continuity of Rotation Representations).

    Raises:
        UserError: It is no rotation.
    """
    x, y, z, w = _normalised(quaternion, where)
    return np.array(
        [
            1 - 2 * (y * y + z * z),
            2 * (x * y + w * z),
            2 * (x * z - w * y),
            2 * (x * y - w * z),
            1 - 2 * (x * x + z * z),
            2 * (y * z + w * x),
        ]
    )


def _normalised(quaternion: Numbers, where: str) -> list[float]:
    norm = float(np.linalg.norm(quaternion))
    if norm < SMALLEST_NORM:
        raise UserError(
            f"{where}: found a quaternion of length {norm:g}, expected 1: the orientation is not "
            "filled in"
        )
    values: list[float] = (quaternion / norm).tolist()
    return values
