"""What `planet-ros` refuses, and what it says where a package is missing."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planet_ros.cli import commands
from planet_ros.cli.main import build_parser, main
from planet_ros.config import load_settings

ALLOW = ["--allow-python", "tiny_environments"]
COMMANDS = ["train", "evaluate", "export", "imagine", "info", "config", "delay", "demo"]
POINT_MASS = ["--env-id", "PlanetRosTest/PointMass-v0"]
MODULES = ["--set", 'env_modules=["tiny_environments"]']


class TestBadInput:
    @pytest.mark.parametrize(
        ("assignment", "reason"),
        [
            ("planner.horizn=3", "planner.horizn: unknown setting (did you mean planner.horizon?)"),
            ("planner.horizon", "found 'planner.horizon', expected NAME=VALUE"),
            ("planner.horizon=three", "planner.horizon: found 'three', expected an integer"),
            ("planner.horizon=0", "planner.horizon: found 0, expected an integer (1 ≤ value"),
            ("planner.horizon=", "planner.horizon: found '', expected an integer"),
            ("planner.elites=50", "planner.elites: found 50, expected at most planner.candidates"),
            ("world_model.normalize=1", "world_model.normalize: found 1"),
            ("world_model.hidden_sizes=64", "world_model.hidden_sizes: found 64, expected a list"),
            ("controller.safe_command=3", "controller.safe_command: found 3, expected a list"),
            ("controller.safe_command=null", "controller.safe_command: found None"),
            ("planner.discount=NaN", "planner.discount: found nan"),
            ("env_kwargs=[]", "env_kwargs: found '[]', expected a JSON object"),
        ],
    )
    @pytest.mark.parametrize("command", ["train", "config"])
    def test_setting_is_refused_with_the_reason(
        self, fails: Callable[..., str], tmp_path: Path, command: str, assignment: str, reason: str
    ) -> None:
        arguments = ["--output", tmp_path / "run"] if command == "train" else []
        message = fails(command, *arguments, "--set", assignment)
        assert message.startswith(f"planet-ros {command}: error: ")
        assert reason in message
        assert not (tmp_path / "run").exists()

    def test_unknown_setting_in_a_file_is_refused_with_the_file(
        self, fails: Callable[..., str], tmp_path: Path
    ) -> None:
        (tmp_path / "a.yaml").write_text("/**:\n  ros__parameters:\n    planer: {horizon: 3}\n")
        message = fails("train", "--config", tmp_path / "a.yaml")
        assert f"{tmp_path / 'a.yaml'}: planer.horizon: unknown setting" in message
        assert "did you mean planner.horizon?" in message

    def test_missing_file_of_settings_is_refused(
        self, fails: Callable[..., str], tmp_path: Path
    ) -> None:
        assert "a.yaml: cannot be read" in fails("train", "--config", tmp_path / "a.yaml")

    def test_unknown_environment_is_refused_with_the_closest_one(
        self, fails: Callable[..., str], tmp_path: Path
    ) -> None:
        message = fails("train", "--env-id", "Pendulun-v1", "--output", tmp_path / "run")
        assert "'Pendulun-v1' is not registered (did you mean Pendulum-v1?)" in message
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("command", [["evaluate", "--model"], ["info"]])
    def test_missing_bundle_is_refused(
        self, fails: Callable[..., str], tmp_path: Path, command: list[str]
    ) -> None:
        message = fails(*command, tmp_path / "model")
        assert f"{tmp_path / 'model'}: found nothing, expected the folder of a bundle" in message

    def test_damaged_bundle_is_refused(
        self, fails: Callable[..., str], tiny_run: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(tiny_run / "model", tmp_path / "model")
        (tmp_path / "model" / "imagine.onnx").write_bytes(b"")
        assert "imagine.onnx: found 0 bytes" in fails("info", tmp_path / "model")

    def test_output_folder_that_holds_a_run_is_refused(
        self, fails: Callable[..., str], tiny_run: Path
    ) -> None:
        message = fails("train", *POINT_MASS, *MODULES, "--output", tiny_run)
        assert f"{tiny_run}: already holds a run" in message
        assert "--resume" in message

    @pytest.mark.parametrize("how", ["option", "setting"])
    def test_nothing_to_resume_is_refused(
        self, fails: Callable[..., str], tmp_path: Path, how: str
    ) -> None:
        folder = tmp_path / "run"
        output = ["--output", folder] if how == "option" else ["--set", f"training.output={folder}"]
        assert f"--resume: {folder} holds no run" in fails("train", "--resume", *output)

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("ThreeNumbers", "found 'observation' of float32 [3], expected 'observation'"),
            ("OneAction", "found 1 numbers of action, expected 2"),
            ("WideActions", "found actions from [-100. -100.] to [100. 100.], expected the range"),
        ],
    )
    def test_environment_that_the_bundle_does_not_fit_is_refused(
        self, fails: Callable[..., str], tiny_run: Path, name: str, reason: str
    ) -> None:
        arguments = ["--model", tiny_run / "model", "--env-id", f"PlanetRosTest/{name}-v0"]
        message = fails("evaluate", *ALLOW, *arguments)
        assert f"PlanetRosTest/{name}-v0" in message
        assert reason in message
        assert str(tiny_run / "model") in message

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (["--episodes", "0"], "--episodes: found 0, expected at least 1"),
            (["--episodes", "many"], "--episodes"),
            (["--env-kwargs", "[1]"], "--env-kwargs: found '[1]', expected a JSON object"),
            (["--env-kwargs", "{"], "--env-kwargs: found '{', expected a JSON object"),
            (["--env-kwargs", '{"gravity": 1}'], "gravity"),
            (["--set", "planner.horizon=9"], "planner.horizon: found 9, but"),
            (["--set", "planner.elites=17"], "planner.elites: found 17, expected at most"),
        ],
    )
    def test_evaluation_that_cannot_be_is_refused(
        self, fails: Callable[..., str], tiny_run: Path, arguments: list[str], reason: str
    ) -> None:
        assert reason in fails("evaluate", *ALLOW, "--model", tiny_run / "model", *arguments)

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (["--context", "0"], "--context: found 0, expected at least 1"),
            (["--steps", "0"], "--steps: found 0, expected at least 1"),
            (["--samples", "-3"], "--samples: found -3, expected at least 1"),
            (["--episode", "77"], "episode 77: not in"),
            (["--context", "40"], "has 21 frames, expected at least 41"),
        ],
    )
    def test_prediction_that_cannot_be_is_refused(
        self, fails: Callable[..., str], tiny_run: Path, arguments: list[str], reason: str
    ) -> None:
        assert reason in fails("imagine", "--run", tiny_run, *arguments)
        assert not (tiny_run / "imagined").exists()

    def test_prediction_without_a_checkpoint_is_refused(
        self, fails: Callable[..., str], tmp_path: Path
    ) -> None:
        assert f"{tmp_path}: holds no checkpoint" in fails("imagine", "--run", tmp_path)

    def test_unknown_section_of_settings_is_refused_with_the_closest(
        self, fails: Callable[..., str]
    ) -> None:
        assert "no setting starts with 'horizon'" in fails("config", "horizon")

    @pytest.mark.parametrize("arguments", [[], ["fly"], ["evaluate"], ["train", "--stepz", "3"]])
    def test_command_line_that_makes_no_sense_is_refused_with_the_usage(
        self, fails: Callable[..., str], arguments: list[str]
    ) -> None:
        assert "usage: planet-ros" in fails(*arguments)


WITHOUT = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None  # importing it fails, as where it is not installed
from planet_ros.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


class TestMissingPackages:
    @pytest.mark.parametrize("package", ["torch", "gymnasium"])
    def test_training_without_a_package_says_which_and_how_to_get_it(
        self, run_python: Callable[..., Any], tmp_path: Path, package: str
    ) -> None:
        result = run_python(WITHOUT, package, "train", "--output", str(tmp_path / "run"))
        assert result.returncode == 2
        assert package in result.stderr
        assert "pip install '.[train]'" in result.stderr
        assert "Traceback" not in result.stderr
        assert not (tmp_path / "run").exists()

    def test_evaluation_needs_no_torch(
        self, run_python: Callable[..., Any], tiny_run: Path
    ) -> None:
        model = str(tiny_run / "model")
        options = ["--episodes", "1", "--json"]
        result = run_python(WITHOUT, "torch,onnx", "evaluate", *ALLOW, "--model", model, *options)
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["steps"] == 20

    @pytest.mark.parametrize("command", [["info", "MODEL"], ["config", "--markdown"]])
    def test_looking_at_things_needs_no_package_of_the_learner(
        self, run_python: Callable[..., Any], tiny_run: Path, command: list[str]
    ) -> None:
        arguments = [one.replace("MODEL", str(tiny_run / "model")) for one in command]
        result = run_python(WITHOUT, "torch,onnx,gymnasium,matplotlib", *arguments)
        assert result.returncode == 0, result.stderr


class TestExamples:
    """What `--help` teaches can be typed."""

    @staticmethod
    def examples(command: str, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        lines = (
            capsys.readouterr().out.partition("examples:\n")[2].replace("\\\n", " ").splitlines()
        )
        return [shlex.split(line, comments=True) for line in lines if line.startswith("  planet-")]

    @pytest.mark.parametrize(
        "command", ["train", "evaluate", "export", "imagine", "info", "config", "delay", "demo"]
    )
    def test_name_options_and_settings_that_exist(
        self,
        root: Path,
        command: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(root)
        found = self.examples(command, capsys)
        assert found
        for program, *arguments in found:
            assert program == "planet-ros"
            typed = arguments[: next((i for i, one in enumerate(arguments) if one in "|>"), None)]
            options = build_parser().parse_args(typed)
            if "set" in options:
                config = getattr(options, "config", None)
                load_settings(config, commands._assignments(options.set))

    def test_of_another_environment_explores_what_it_must(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A heavy car that is pushed at random never reaches the top, and learns to do nothing."""
        (car,) = [
            one for one in self.examples("train", capsys) if "MountainCarContinuous-v0" in one
        ]
        settings = load_settings(
            None, commands._assignments(build_parser().parse_args(car[1:]).set)
        )
        assert settings.training.random_noise_beta == 2
        assert (settings.training.random_steps, settings.planner.horizon) == (3000, 80)
