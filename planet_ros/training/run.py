"""The folder of a run, and what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from planet_ros.config import LearnerSettings, save_settings
from planet_ros.errors import UserError
from planet_ros.files import mend, write_whole
from planet_ros.interface.description import DESCRIPTION_FILE, Description, description_text
from planet_ros.interface.document import Interface
from planet_ros.interface.files import INTERFACE_FILE, interface_text
from planet_ros.training.lock import RunLock

# As each of its users says it: the command line, `ros2 launch`, a parameter file.
CONTINUE = "add --resume, in a launch resume:=true (training.resume),"
ELSEWHERE = "choose another folder with --output, in a launch output:= (training.output)"


class RunFolder:
    """Paths of a run; the README says what the files hold."""

    def __init__(self, path: Path) -> None:
        """Name a folder, without a look at it."""
        self.path = path
        self.lock = RunLock(path)
        self.note = ""
        """What a person should know of how it was found."""

    @classmethod
    def of(cls, output: str | Path) -> RunFolder:
        """The one that the setting ``training.output`` names; ``~`` is the home folder.

        Raises:
            UserError: There is no such home folder.
        """
        try:
            return cls(Path(output).expanduser())
        except RuntimeError as error:
            raise UserError(f"training.output: found {str(output)!r}: {error}") from None

    @classmethod
    def start(cls, output: str | Path, *, resume: bool = False) -> RunFolder:
        """Make the folder, or open it again; it becomes a run's with `save_settings`.

        It is locked then, until `RunLock.release`.

        Raises:
            UserError: It holds a run and `resume` is not set, holds a part of one, is a file,
                cannot be made or written, or another process trains into it.
        """
        run = cls.of(output)
        if run.path.exists() and not run.path.is_dir():
            raise UserError(f"{run.path}: found a file, expected a folder for the run")
        run._check_free(resume)
        try:
            run.path.mkdir(parents=True, exist_ok=True)
            run.note = run.lock.take()
        except OSError as error:
            raise UserError(
                f"{run.path}: cannot be made or written: {error.strerror}; {ELSEWHERE}"
            ) from None
        try:
            if resume:
                mend(run.checkpoint)
            run._check_free(resume)  # once more, now that nobody else can change it
            run._check_whole()
        except BaseException:
            run.lock.release()
            raise
        return run

    def _check_free(self, resume: bool) -> None:
        """Refuse a run that nobody asked to continue, and episodes without their settings."""
        if self.settings_file.exists():
            if resume:
                return
            raise UserError(
                f"{self.path}: already holds a run; {CONTINUE} to continue it, or {ELSEWHERE}"
            )
        if self._holds_episodes or self.has_checkpoint:
            found = "episodes" if self._holds_episodes else "a checkpoint"
            raise UserError(
                f"{self.path}: found {found}, but no {self.settings_file.name}; nothing of it is "
                f"overwritten: put the settings back to continue that run, or {ELSEWHERE}"
            )

    def _check_whole(self) -> None:
        if self._holds_episodes and not self.has_checkpoint:
            raise UserError(
                f"{self.path}: found episodes, but no checkpoint to continue from; {ELSEWHERE}"
            )

    @property
    def _holds_episodes(self) -> bool:
        return next(self.episodes.glob("episode-*.npz"), None) is not None

    def save_settings(self, settings: LearnerSettings) -> None:
        """Write the settings down."""
        save_settings(settings, self.settings_file)

    def save_interface(self, interface: Interface) -> None:
        """Write down what the robot is: the document that the settings name may change later."""
        write_whole(self.interface_file, interface_text(interface).encode())

    def save_description(self, description: Description) -> None:
        """Write down what the episodes are of, where there is neither robot nor environment."""
        write_whole(self.path / DESCRIPTION_FILE, description_text(description).encode())

    @property
    def bundle(self) -> Path:
        """The bundle that the controller takes."""
        return self.path / "model"

    @property
    def checkpoint(self) -> Path:
        """Weights, optimizer, random state and counters."""
        return self.path / "checkpoint"

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to continue."""
        return self.checkpoint.is_dir()

    @property
    def episodes(self) -> Path:
        """All experience."""
        return self.path / "episodes"

    @property
    def held_out(self) -> Path:
        """Episodes that are not learned from, where there was no environment to be judged in."""
        return self.path / "held_out"

    @property
    def best(self) -> Path:
        """Checkpoint of the model that predicts these best."""
        return self.path / "best"

    @property
    def settings_file(self) -> Path:
        """The settings of the run."""
        return self.path / "settings.yaml"

    @property
    def interface_file(self) -> Path:
        """The document about the robot, where one was learned from."""
        return self.path / INTERFACE_FILE

    @property
    def metrics_file(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def curves_file(self) -> Path:
        """The learning curves."""
        return self.path / "learning_curves.png"

    @property
    def tensorboard(self) -> Path:
        """The metrics for TensorBoard, where they are wanted."""
        return self.path / "tensorboard"

    def metrics(self) -> list[dict[str, Any]]:
        """Every whole line of the metrics."""
        if not self.metrics_file.exists():
            return []
        records = []
        for line in self.metrics_file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:  # cut short when the machine went down
                continue
        return records
