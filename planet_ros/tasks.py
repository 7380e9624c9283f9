"""What is to be achieved where no sum of terms over fields says it: a pattern for one's own.

An interface names such a function by its import path, `planet_ros.tasks:reach`. Whoever learns
imports it and traces it into the model's graph; whoever drives needs the bundle alone. See
`planet_ros.models.Task` for what a function is given.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_LINKS_M = 0.10, 0.11
"""Of the arm, from the shoulder to the elbow and on to the fingertip."""

_LEAD_S = 0.1
"""By how much the arm is behind a target that moves, if it aims at where that is now."""


def reach(
    observation: Mapping[str, Tensor],
    action: Tensor,
    next_observation: Mapping[str, Tensor],
    goal: Tensor,
) -> Tensor:
    """Minus the distance (…) of the arm's fingertip to where the target will shortly be, m.

    Args:
        observation: Not used.
        action: Not used.
        next_observation: ``joints`` (…, 6) begins with the angles of shoulder and elbow, rad.
        goal: (…, 4) x and y of the target from the shoulder, m, and its velocity, m/s.
    """
    shoulder, elbow, *_ = next_observation["joints"].unbind(-1)
    upper, lower = _LINKS_M
    x = upper * shoulder.cos() + lower * (shoulder + elbow).cos()
    y = upper * shoulder.sin() + lower * (shoulder + elbow).sin()
    ahead = goal[..., :2] + _LEAD_S * goal[..., 2:]
    # Never quite 0, where the distance has no gradient.
    return -((x - ahead[..., 0]).square() + (y - ahead[..., 1]).square() + 1e-8).sqrt()
