"""A bundle from a run's checkpoint, without learning further."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planet_ros.bundle.manifest import Evaluation
from planet_ros.bundle.runtime import Bundle
from planet_ros.config import LearnerSettings, load_settings
from planet_ros.environments import EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.models import WorldModel
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
    learner = _learner(path, overrides)
    # An evaluation was made with the run's own planner: it says nothing of another one.
    return learner.export(Evaluation() if overrides else None, path=output)


@dataclass(frozen=True)
class SavedModel:
    """What a run had learned.

    Attributes:
        model: With the averaged weights, those that act.
        settings: Of the run.
        environment: In which it was learned.
    """

    model: WorldModel
    settings: LearnerSettings
    environment: EnvironmentSpec


def open_checkpoint(path: Path, overrides: Mapping[str, Any]) -> SavedModel:
    """The model of a run as it was saved; nothing in the run's folder is touched.

    Args:
        path: Folder of the run.
        overrides: Settings that differ from the run's.

    Raises:
        UserError: The run holds no checkpoint, or the settings do not fit it.
    """
    learner = _learner(path, overrides)
    return SavedModel(learner.averaged, learner.settings, EnvironmentSpec.of(learner.settings))


def _learner(path: Path, overrides: Mapping[str, Any]) -> Learner:
    """The learner of a run without its episodes, and without a hand on what is on disk."""
    run = RunFolder(path)
    if not run.has_checkpoint:
        raise UserError(f"{path}: holds no checkpoint, expected the folder of a run")
    settings = load_settings(run.settings_file, overrides, schema=LearnerSettings)
    checkpoint = read_checkpoint(run.checkpoint)
    environment = EnvironmentSpec.of(settings)
    learner = Learner(settings, checkpoint.state.signature, run, environment=environment)
    learner.restore(checkpoint)
    return learner
