"""Bundles of robots that have learned nothing, but act."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from planet_ros.bundle.export import BundleExporter
from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.config import PlannerSettings, WorldModelSettings
from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.interface.signature import signature_of
from planet_ros.models import Ensemble
from planet_ros.ros.types import make

HORIZON = 6
PLANNER: dict[str, Any] = {"candidates": 8, "iterations": 1}


def interface_of_robot(name: str, **changes: Any) -> Interface:
    """The document of a simulated robot, with other values at its top."""
    return Interface.model_validate({**load_interface(name).model_dump(), **changes})


def robot_bundle(
    folder: Path, robot: str | Interface, *, bears: Interface | None = None, **planner: Any
) -> Bundle:
    """Write and load a bundle for a simulated robot, or for one of another document.

    What it `bears` may be still another one, as of a machine where more is installed.
    """
    interface = load_interface(robot) if isinstance(robot, str) else robot
    signature = signature_of(interface, make)
    torch.manual_seed(0)
    settings = WorldModelSettings(members=2, hidden_sizes=[8], predict_continue=False)
    model = Ensemble(signature, settings)
    BundleExporter(model, HORIZON).export(
        folder,
        {
            "model_kind": "ensemble",
            "horizon": HORIZON,
            "signature": signature,
            "planner": PlannerSettings(horizon=HORIZON, **{**PLANNER, **planner}),
            "interface": bears or interface,
        },
    )
    return load_bundle(folder)
