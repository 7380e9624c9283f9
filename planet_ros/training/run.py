"""The folder of a run, and what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from planet_ros.config import LearnerSettings, save_settings
from planet_ros.errors import UserError
from planet_ros.files import mend

# As each of its users says it: the command line, `ros2 launch`, a parameter file.
CONTINUE = "add --resume, in a launch resume:=true (training.resume),"
ELSEWHERE = "choose another folder with --output, in a launch output:= (training.output)"


class RunFolder:
    """Paths of a run; the README says what the files hold."""

    def __init__(self, path: Path) -> None:
        """Name a folder, without a look at it."""
        self.path = path

    @classmethod
    def start(cls, path: Path, *, resume: bool = False) -> RunFolder:
        """Make the folder, or open it again; it becomes a run's with `save_settings`.

        Raises:
            UserError: It holds a run and `resume` is not set, holds a part of one, or is a file.
        """
        run = cls(path)
        if path.exists() and not path.is_dir():
            raise UserError(f"{path}: found a file, expected a folder for the run")
        if run.settings_file.exists() and not resume:
            raise UserError(
                f"{path}: already holds a run; {CONTINUE} to continue it, or {ELSEWHERE}"
            )
        if resume:
            mend(run.checkpoint)
        holds_episodes = next(run.episodes.glob("episode-*.npz"), None) is not None
        if not run.settings_file.exists() and (holds_episodes or run.has_checkpoint):
            raise UserError(
                f"{path}: found {'episodes' if holds_episodes else 'a checkpoint'}, but no "
                f"{run.settings_file.name}; nothing of it is overwritten: put the settings back to "
                f"continue that run, or {ELSEWHERE}"
            )
        if holds_episodes and not run.has_checkpoint:
            raise UserError(
                f"{path}: found episodes, but no checkpoint to continue from; {ELSEWHERE}"
            )
        path.mkdir(parents=True, exist_ok=True)
        return run

    def save_settings(self, settings: LearnerSettings) -> None:
        """Write the settings down."""
        save_settings(settings, self.settings_file)

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
    def settings_file(self) -> Path:
        """The settings of the run."""
        return self.path / "settings.yaml"

    @property
    def metrics_file(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def curves_file(self) -> Path:
        """The learning curves."""
        return self.path / "learning_curves.png"

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
