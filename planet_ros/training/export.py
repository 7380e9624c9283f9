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
from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.messages.fields import Make
from planet_ros.models import WorldModel
from planet_ros.training.checkpoint import read_checkpoint
from planet_ros.training.learner import Learner
from planet_ros.training.run import RunFolder
from planet_ros.training.tasks import task_of


def export_checkpoint(
    path: Path, output: Path, overrides: Mapping[str, Any], make: Make | None = None
) -> Bundle:
    """Write the bundle of a run's checkpoint.

    Args:
        path: Folder of the run.
        output: Folder of the new bundle; must not exist.
        overrides: Settings that differ from the run's, such as ``planner.horizon``.
        make: Gives empty messages, for a run that learned from a robot.

    Raises:
        UserError: The run holds no checkpoint, the settings do not fit it, or `output` exists.
    """
    if output.exists():
        raise UserError(f"{output}: already exists; choose another folder")
    learner = _learner(path, overrides, make)
    if "planner.disagreement_penalty" in overrides:
        learner.penalty = None
    if "planner.horizon" in overrides:
        learner.disagreement = None  # which was measured over another one
    # An evaluation was made with the run's own planner: it says nothing of another one.
    return learner.export(Evaluation() if overrides else None, path=output)


@dataclass(frozen=True)
class SavedModel:
    """What a run had learned.

    Attributes:
        model: With the averaged weights, those that act.
        settings: Of the run.
        environment: In which it was learned; None: on a robot.
    """

    model: WorldModel
    settings: LearnerSettings
    environment: EnvironmentSpec | None


def open_checkpoint(
    path: Path, overrides: Mapping[str, Any], make: Make | None = None
) -> SavedModel:
    """The model of a run as it was saved; nothing in the run's folder is touched.

    Args:
        path: Folder of the run.
        overrides: Settings that differ from the run's.
        make: Gives empty messages, for a run that learned from a robot.

    Raises:
        UserError: The run holds no checkpoint, or the settings do not fit it.
    """
    learner = _learner(path, overrides, make)
    return SavedModel(learner.averaged, learner.settings, learner.environment)


def _learner(path: Path, overrides: Mapping[str, Any], make: Make | None) -> Learner:
    """The learner of a run without its episodes, and without a hand on what is on disk."""
    run = RunFolder(path)
    if not run.has_checkpoint:
        raise UserError(f"{path}: holds no checkpoint, expected the folder of a run")
    settings = load_settings(run.settings_file, overrides, schema=LearnerSettings)
    checkpoint = read_checkpoint(run.checkpoint)
    signature, robot, task = checkpoint.state.signature, _robot(run), None
    if robot is not None:
        if make is None:
            raise UserError(f"{path}: found the run of a robot, expected the types of its messages")
        task = task_of(robot, signature, make)
    learner = Learner(
        settings,
        signature,
        run,
        environment=EnvironmentSpec.of(settings) if robot is None else None,
        interface=robot,
        task=task,
    )
    learner.restore(checkpoint)
    return learner


def _robot(run: RunFolder) -> Interface | None:
    """What the run learned from, if that is a robot."""
    return load_interface(run.interface_file) if run.interface_file.exists() else None
