"""A bundle from a run's checkpoint, without learning further."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from planet_ros.bundle.manifest import Evaluation
from planet_ros.bundle.runtime import Bundle, load_bundle
from planet_ros.config import load_settings
from planet_ros.environments import EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.models import Shapes
from planet_ros.training.checkpoint import read_checkpoint
from planet_ros.training.learner import Learner
from planet_ros.training.run import RunFolder


def export_checkpoint(path: Path, output: Path, overrides: Mapping[str, Any]) -> Bundle:
    """Write the bundle of a run's checkpoint.

    Args:
        path: Folder of the run.
        output: Folder of the new bundle; must not exist.
        overrides: Settings that differ from the run's, such as ``planner.horizon``.

    Raises:
        UserError: The run holds no checkpoint, the settings do not fit it, or `output` exists.
    """
    if output.exists():
        raise UserError(f"{output}: already exists; choose another folder")
    learner = open_checkpoint(path, overrides)
    # An evaluation was made with the run's own planner: it says nothing of another one.
    own = learner.run.bundle
    evaluation = None if overrides or not own.exists() else _evaluation(own)
    return learner.export(evaluation, path=output)


def open_checkpoint(path: Path, overrides: Mapping[str, Any]) -> Learner:
    """The learner of a run as it was saved, without its environment.

    Args:
        path: Folder of the run.
        overrides: Settings that differ from the run's.

    Raises:
        UserError: The run holds no checkpoint, or the settings do not fit it.
    """
    run = RunFolder(path)
    if not run.has_checkpoint:
        raise UserError(f"{path}: holds no checkpoint, expected the folder of a run")
    settings = load_settings(run.settings_file, overrides)
    state, _ = read_checkpoint(run.checkpoint)
    return Learner(
        settings,
        Shapes(
            state["observation_size"],
            np.array(state["low"], dtype=np.float32),
            np.array(state["high"], dtype=np.float32),
            {
                name: (height, width, channels)
                for name, (height, width, channels) in state["images"].items()
            },
        ),
        run,
        environment=EnvironmentSpec.of(settings),
        command_period_s=state["control_period_s"],
    )


def _evaluation(bundle: Path) -> Evaluation:
    return load_bundle(bundle).manifest.evaluation
