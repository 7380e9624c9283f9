"""What nodes are started with: the parameter files of this package, and what a bundle says."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from planet_ros.bundle.runtime import Bundle
from planet_ros.errors import UserError
from planet_ros.training.evaluate import environment_of


def find_config(name: str) -> Path:
    """A parameter file of this package: in the checkout, or where it was installed.

    Raises:
        UserError: It is nowhere.
    """
    share = Path("share") / "planet_ros" / "config"
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if prefix]
    folders = [
        Path(__file__).resolve().parents[2] / "config",
        Path(sys.prefix) / share,
        *(Path(prefix) / share for prefix in prefixes),
    ]
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    raise UserError(f"{name} is not in {[str(folder) for folder in folders]}; use --config")


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
