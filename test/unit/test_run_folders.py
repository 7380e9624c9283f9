"""The folder of a run: where it is, whose it is, and what happens when it cannot be written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planet_ros.bundle.runtime import load_bundle
from planet_ros.cli.main import main
from planet_ros.config import Settings, save_settings
from planet_ros.data import EpisodeStore
from planet_ros.errors import UserError
from planet_ros.training.lock import LOCK_FILE
from planet_ros.training.loop import train
from planet_ros.training.run import RunFolder

MakeSettings = Callable[..., Settings]

pytestmark = pytest.mark.usefixtures("same_signal_handler")

POINT_MASS = ["--env-id=PlanetRosTest/PointMass-v0", '--set=env_modules=["tiny_environments"]']

LOCKING = """
import sys, time
from planet_ros.training.run import RunFolder
run = RunFolder.start(sys.argv[1], resume=True)
run.lock.claim()
print("locked", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(root: Path) -> Any:
    """``other(folder)``: another process that trains into a folder."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", LOCKING, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


class TestLock:
    @pytest.mark.parametrize("resume", [True, False])
    def test_second_training_into_a_folder_is_refused_and_changes_nothing(
        self,
        other: Any,
        tmp_path: Path,
        tiny_settings: MakeSettings,
        resume: bool,
    ) -> None:
        folder = tmp_path / "run"
        if resume:
            train(tiny_settings(folder, {"training.steps": 20}))
        process = other(folder)
        before = contents(folder)
        with pytest.raises(UserError) as caught:
            train(tiny_settings(folder, {"training.resume": resume}))
        assert f"{folder}: process {process.pid} on " in str(caught.value)
        assert "is training into it" in str(caught.value)
        assert contents(folder) == before

    def test_lock_of_a_dead_process_is_taken_over_with_a_word(
        self,
        other: Any,
        tmp_path: Path,
        tiny_settings: MakeSettings,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        folder = tmp_path / "run"
        train(tiny_settings(folder, {"training.steps": 20}))
        process = other(folder)
        process.send_signal(signal.SIGKILL)
        process.wait()
        capsys.readouterr()
        train(tiny_settings(folder, {"training.steps": 40, "training.resume": True}))
        said = capsys.readouterr().err
        assert re.search(rf"process {process.pid} on .* did not end properly; going on", said)
        train(tiny_settings(folder, {"training.steps": 60, "training.resume": True}))
        assert "did not end" not in capsys.readouterr().err
        assert EpisodeStore(folder / "episodes").steps == 60

    def test_is_free_again_after_a_run_that_was_refused_or_failed(
        self, other: Any, tiny_run: Path, tiny_settings: MakeSettings, tmp_path: Path
    ) -> None:
        train(tiny_settings(tmp_path / "run", {"training.steps": 20}))
        for wrong in ({}, {"world_model.hidden_sizes": [3], "training.resume": True}):
            with pytest.raises(UserError):
                train(tiny_settings(tmp_path / "run", wrong))
        assert (tmp_path / "run" / LOCK_FILE).read_text() == ""
        other(tmp_path / "run")

    def test_reading_a_run_needs_none(
        self, other: Any, prints: Callable[..., str], tmp_path: Path, tiny_settings: MakeSettings
    ) -> None:
        folder = tmp_path / "run"
        train(tiny_settings(folder, {"training.steps": 60}))
        other(folder)
        prints("info", folder / "model")
        prints("export", "--run", folder, "--output", tmp_path / "bundle")

    def test_without_locks_in_the_file_system_it_goes_on_with_a_word(
        self,
        tmp_path: Path,
        tiny_settings: MakeSettings,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def unsupported(*_: Any) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr("planet_ros.training.lock.fcntl.lockf", unsupported)
        train(tiny_settings(tmp_path / "run", {"training.steps": 20}))
        assert "cannot be locked (Operation not supported)" in capsys.readouterr().err


class TestHomeFolder:
    def test_is_meant_by_a_tilde_in_a_file_and_on_the_command_line(
        self, tmp_path: Path, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        save_settings(tiny_settings(Path("~/a"), {"training.steps": 20}), tmp_path / "a.yaml")
        assert main(["train", "--config", "~/a.yaml"]) == 0
        assert (tmp_path / "a" / "settings.yaml").exists()
        assert main(["train", "--resume", "--set", "training.output=~/a", "--steps", "60"]) == 0
        assert main(["info", "~/a/model"]) == 0
        assert (
            main(["evaluate", *POINT_MASS, "--model=~/a/model", "--episodes=1", "--gif=~/a.gif"])
            == 0
        )
        assert (tmp_path / "a.gif").exists()
        assert not (tmp_path / "~").exists()

    def test_of_nobody_is_refused(self, fails: Callable[..., str]) -> None:
        message = fails("train", "--set", "training.output=~no-such-user-here/run")
        assert "training.output: found '~no-such-user-here/run'" in message
        assert "found '~no-such-user-here/model'" in fails("info", "~no-such-user-here/model")


LIMITED = """
import resource, sys
from planet_ros.cli.main import main
import planet_ros.training.loop, planet_ros.report.curves
most = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
sys.exit(main(sys.argv[2:]))
"""


class TestFullDisk:
    @pytest.mark.parametrize("most_bytes", [100, 20_000])
    def test_ends_with_a_reason_and_the_last_save_counts(
        self,
        run_python: Callable[..., subprocess.CompletedProcess[str]],
        tmp_path: Path,
        tiny_settings: MakeSettings,
        most_bytes: int,
    ) -> None:
        """No file may be longer than this: settings, checkpoint or bundle are."""
        folder = tmp_path / "run"
        train(tiny_settings(folder, {"training.steps": 60}))
        arguments = ["train", "--resume", "--output", str(folder), "--steps", "80"]
        result = run_python(LIMITED, str(most_bytes), *arguments)
        assert result.returncode == 2, result.stderr
        assert f"{folder}: cannot be written: [Errno 27] File too large" in result.stderr
        assert "Traceback" not in result.stderr
        load_bundle(folder / "model")  # the old one or a new one, whole
        assert main(arguments) == 0
        assert EpisodeStore(folder / "episodes").steps == 80

    def test_for_a_new_run_is_a_reason_too(
        self,
        run_python: Callable[..., subprocess.CompletedProcess[str]],
        tmp_path: Path,
        tiny_settings: MakeSettings,
    ) -> None:
        save_settings(tiny_settings(tmp_path / "run"), tmp_path / "a.yaml")
        result = run_python(LIMITED, "50", "train", "--config", str(tmp_path / "a.yaml"))
        assert result.returncode == 2
        assert "cannot be written" in result.stderr
        assert "Traceback" not in result.stderr

    def test_for_a_bundle_is_a_reason_too(
        self,
        run_python: Callable[..., subprocess.CompletedProcess[str]],
        tiny_run: Path,
        tmp_path: Path,
    ) -> None:
        arguments = ["export", "--run", str(tiny_run), "--output", str(tmp_path / "bundle")]
        result = run_python(LIMITED, "1000", *arguments)
        assert result.returncode == 2
        assert "cannot be written: File too large" in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("where", ["/proc/run", "/dev/null/run", "/sys/run"])
def test_folder_that_cannot_be_made_is_refused(
    where: str, tmp_path: Path, fails: Callable[..., str], tiny_settings: MakeSettings
) -> None:
    save_settings(tiny_settings(Path(where)), tmp_path / "a.yaml")
    message = fails("train", "--config", tmp_path / "a.yaml")
    assert re.search(f"{where}: (cannot be made or written: |found )", message)


def test_folder_that_nobody_may_write_into_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any other user than root meets it."""

    def forbidden(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("planet_ros.training.lock.os.open", forbidden)
    with pytest.raises(UserError, match="cannot be made or written: Permission denied; choose an"):
        RunFolder.start(tmp_path / "run")


class TestFilm:
    @pytest.mark.parametrize("json_option", [["--json"], []])
    def test_that_cannot_be_drawn_comes_after_the_results(
        self,
        tiny_run: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        json_option: list[str],
    ) -> None:
        def blind(*_: Any) -> Any:
            raise RuntimeError("gladLoadGL error")

        monkeypatch.setattr("tiny_environments.PointMass.render", blind)
        arguments = ["evaluate", "--model", str(tiny_run / "model"), "--episodes", "1"]
        assert main([*arguments, *POINT_MASS, *json_option, "--gif", str(tmp_path / "a.gif")]) == 2
        output = capsys.readouterr()
        assert output.out.startswith('{"returns": [' if json_option else "return: mean")
        assert (
            "error: --gif: PlanetRosTest/PointMass-v0: cannot be drawn: RuntimeError" in output.err
        )
        assert "gladLoadGL error" in output.err
        assert "MUJOCO_GL is egl" in output.err
        assert "Traceback" not in output.err

    def test_of_an_environment_that_draws_nothing_is_refused(
        self,
        tiny_run: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        fails: Callable[..., str],
    ) -> None:
        monkeypatch.setattr("tiny_environments.PointMass.render", lambda _: None)
        arguments = ["--model", tiny_run / "model", "--episodes", 1, "--gif", tmp_path / "a.gif"]
        message = fails("evaluate", *POINT_MASS, *arguments)
        assert r"render() gave NoneType of shape ()" in message
        assert "must offer render_mode rgb_array" in message

    def test_that_cannot_be_written_is_a_reason(
        self, tiny_run: Path, tmp_path: Path, fails: Callable[..., str]
    ) -> None:
        gif = tmp_path / "no" / "folder" / "a.gif"
        arguments = ["--model", tiny_run / "model", "--episodes", 1, "--gif", gif]
        message = fails("evaluate", *POINT_MASS, *arguments)
        assert f"--gif: {gif} cannot be written: No such file" in message


def test_reader_that_ends_early_is_no_error(root: Path, tmp_path: Path) -> None:
    """As in ``planet-ros config | head -n 1``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "planet_ros.cli.main", "config", "--markdown"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    process.stdout.close()
    time.sleep(0.1)
    _, error = process.communicate(timeout=60)
    assert error == ""
    assert process.returncode == 141
