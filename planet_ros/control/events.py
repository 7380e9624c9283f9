"""What goes into the control loop, and what comes out."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planet_ros.bundle.runtime import Bundle
from planet_ros.control.policy import FilteredPlan
from planet_ros.data import Parts
from planet_ros.planning import Plan

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Observation:
    """What a state source said.

    Attributes:
        parts: (n,) float32, finite, of each vector, (height, width, channels) uint8 of each image.
        received_s: When it arrived, on the clock of the loop.
        stamp_ns: When it was true, on the source's clock; the command that answers it bears it.
        limit_s: Age from which it is stale; None: that of the settings.
        first: It is the first of an episode: whatever was believed before does not hold.
        episode: Number of the episode, where the source says.
    """

    parts: Parts
    received_s: float
    stamp_ns: int
    limit_s: float | None = None
    first: bool = False
    episode: int | None = None


class Origin(enum.Enum):
    """Where a command comes from."""

    PLAN = "plan"
    LATE_PLAN = "late plan"
    SAFE = "safe"


@dataclass(frozen=True)
class Command:
    """What to publish.

    Attributes:
        action: (A,) within the limits.
        origin: Where it comes from.
        stamp_ns: Stamp of the newest observation when it was decided; 0 before any.
        reason: Why it is not the first action of a fresh plan; empty if it is.
    """

    action: Array
    origin: Origin
    stamp_ns: int
    reason: str = ""


@dataclass
class Counters:
    """What happened since the controller was activated."""

    commands: int = 0
    safe_commands: int = 0
    missed_deadlines: int = 0
    failed_plans: int = 0
    stale_spells: int = 0


NOVEL = 5.0
"""Novelty of plans that leave what the data covers; models of enough data have 1 to 4."""


@dataclass(frozen=True)
class MadePlan:
    """A plan that the loop goes by, for who watches.

    Attributes:
        plan: What was decided.
        bundle: With which it was made.
        stamp_ns: Stamp of the observation that it was made from.
    """

    plan: Plan
    bundle: Bundle
    stamp_ns: int

    @property
    def novelty(self) -> float | None:
        """How far the model's members disagree on it, in parts of what they do on their data.

        1 is as in training; None where there is nobody to disagree, or the bundle does not say.
        """
        known = self.bundle.manifest.data_disagreement
        if known is None or not isinstance(self.plan, FilteredPlan):
            return None
        return None if self.plan.disagreement is None else self.plan.disagreement / known
