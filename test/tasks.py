"""Tasks of no meaning, for tests of models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from planet_ros.data import Signature
from planet_ros.models import ActionTerm, ObservationTerm, QuadraticReward, Task


def quadratic(signature: Signature) -> Task:
    """Of two plain numbers, an angle and an action, with constant set-points."""
    return Task(
        signature,
        QuadraticReward.of(
            signature,
            [
                ObservationTerm("joints", 1, 0.02, setpoint=3.0),
                ObservationTerm("target", 0, 2.0, "angle", setpoint=0.7),
                ObservationTerm("target", 2, 0.5, setpoint=-80.0),
            ],
            [ActionTerm(1, 0.3, setpoint=2.0)],
        ),
    )


def reaching(signature: Signature) -> Task:
    """Looks at all that there is, ends known too."""
    name = signature.parts("vector")[0].name

    def reward(before: Any, action: Tensor, after: Any, goal: Tensor | None) -> Tensor:
        assert goal is not None
        distance = (torch.cat([after[name], action], dim=-1) - goal).square().mean(dim=-1)
        return -0.05 * distance - (after[name] - before[name]).abs().mean(dim=-1)

    def terminated(after: Any, goal: Tensor | None) -> Tensor:
        assert goal is not None
        return after[name][..., 0] > goal[..., 0]

    return Task(signature, reward, terminated)


def ending(signature: Signature) -> Task:
    """Knows the end alone."""
    return Task(signature, None, lambda after, goal: after["joints"][..., 0] > 5)
