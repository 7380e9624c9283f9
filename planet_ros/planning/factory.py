"""From settings to the planner that they are of."""

from __future__ import annotations

from types import MappingProxyType
from typing import TypeAlias

from numpy.typing import ArrayLike

from .cem import Cem, CemSettings
from .icem import Icem, IcemSettings
from .planner import Planner

AnyPlannerSettings: TypeAlias = CemSettings | IcemSettings
"""The settings of any planner."""

KINDS = MappingProxyType[str, type[AnyPlannerSettings]]({"cem": CemSettings, "icem": IcemSettings})
"""Each planner's settings, by the name that it has in a configuration."""


def make_planner(
    settings: AnyPlannerSettings, low: ArrayLike, high: ArrayLike, *, seed: int
) -> Planner:
    """Make the planner that ``settings`` are of.

    low, high: (A,), finite, ``low < high``. Raises ValueError if they are not, TypeError for
    settings of no planner.
    """
    if isinstance(settings, CemSettings):
        return Cem(low, high, settings, seed=seed)
    if isinstance(settings, IcemSettings):
        return Icem(low, high, settings, seed=seed)
    kinds = ", ".join(kind.__name__ for kind in KINDS.values())
    raise TypeError(f"found settings of {type(settings).__name__}, expected one of {kinds}")
