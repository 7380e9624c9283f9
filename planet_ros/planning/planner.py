"""The interface of every planner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Evaluate: TypeAlias = Callable[[NDArray[np.float32]], NDArray[Any]]
"""Actions (N, H, A) to returns (N,), higher is better.

The actions are float32, C-contiguous and within the bounds; N differs from call to call. They
belong to the planner: read them, do not change them. A return that is NaN or infinite marks a
candidate that must not be chosen.
"""


class PlanningError(RuntimeError):
    """No plan could be made: no finite return, or returns of the wrong shape."""


@dataclass(frozen=True)
class Plan:
    """What was decided, and how sure whoever decided was.

    Every planner says all of it; what decides without comparing sequences leaves the last three as
    they are.

    actions: (H, A), float32, in the units of the bounds and within them; row 0 is due now.
    expected_return: return of ``actions`` where that very sequence was evaluated; where the plan is
        a mean of elites, the mean of their returns. Always finite; None where none was evaluated.
    elite_spread: standard deviation of the last elites as a fraction of half the range of each
        dimension, averaged over steps and dimensions; 0 when they agree, 0.0 for a single elite,
        never NaN; None where there were no elites.
    candidates: number of sequences evaluated.
    """

    actions: NDArray[np.float32]
    expected_return: float | None = None
    elite_spread: float | None = None
    candidates: int = 0


class Planner(Protocol):
    """Chooses ``horizon`` actions within ``low`` and ``high``, both (A,) float32."""

    horizon: int
    low: NDArray[np.float32]
    high: NDArray[np.float32]

    def plan(self, evaluate: Evaluate) -> Plan:
        """Plan one tick; a planner with a warm start takes each call for one step of time.

        Raises PlanningError if every candidate of an iteration is non-finite, or ``evaluate`` gives
        a wrong shape.
        """

    def reset(self, seed: int | None = None) -> None:
        """Drop the warm start; with ``seed`` also start the random numbers anew."""
