"""From a name in a configuration to a planner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike

from .cem import Cem
from .icem import Icem
from .planner import Planner


def make_planner(
    kind: str, low: ArrayLike, high: ArrayLike, *, seed: int, **settings: Any
) -> Planner:
    """Make the planner called ``kind``: 'cem' or 'icem'.

    low, high: (A,), finite, ``low < high``. settings: keyword arguments of `Cem` or `Icem`. Raises
    ValueError for an unknown kind or a value out of range, TypeError for a setting that the kind
    does not have.
    """
    kinds: dict[str, Callable[..., Planner]] = {"cem": Cem, "icem": Icem}
    if kind not in kinds:
        raise ValueError(f"unknown planner {kind!r}: expected one of {', '.join(sorted(kinds))}")
    return kinds[kind](low, high, seed=seed, **settings)
