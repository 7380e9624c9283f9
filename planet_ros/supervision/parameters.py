"""What nodes are started with, by what a bundle says."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from planet_ros.bundle.runtime import Bundle
from planet_ros.training.evaluate import environment_of


def simulation_of(bundle: Bundle, allowed: Collection[str] = ()) -> dict[str, Any]:
    """Parameters by which ``gym_bridge`` simulates what a bundle was learned in.

    Args:
        bundle: Whoever made it.
        allowed: Python modules that it may name; see `environment_of`.

    Raises:
        UserError: The manifest names no environment, or Python that was not allowed.
    """
    spec = environment_of(bundle, allowed)
    return {
        "env_id": spec.id,
        "env_kwargs": json.dumps(spec.kwargs),
        "env_modules": list(spec.modules),
        "env_wrappers": list(spec.wrappers),
    }
