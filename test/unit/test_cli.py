"""The command `planet-ros`: what it prints, what it refuses, and the code it ends with."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_environments
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from planet_ros import __version__
from planet_ros.bundle.runtime import load_bundle
from planet_ros.cli.main import main
from planet_ros.config import Settings, load_settings, reference_markdown, save_settings
from planet_ros.data import EpisodeStore
from planet_ros.report import curves

ALLOW = ["--allow-python", "tiny_environments"]
COMMANDS = ["train", "evaluate", "export", "imagine", "info", "config", "delay", "policy", "demo"]
POINT_MASS = ["--env-id", "PlanetRosTest/PointMass-v0"]
MODULES = ["--set", 'env_modules=["tiny_environments"]']


pytestmark = pytest.mark.usefixtures("same_signal_handler")

QUICK_RUN = [
    *POINT_MASS,
    *MODULES,
    *("--set", "world_model.hidden_sizes=[8]"),
    *("--set", "world_model.members=1"),
    *("--set", "training.random_steps=40"),
    *("--set", "training.updates=3"),
    *("--set", "training.evaluation_episodes=0"),
    *("--set", "planner.horizon=2"),
]


class TestTrain:
    @pytest.mark.slow
    def test_options_reach_the_settings_and_standard_output_stays_clean(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "run"
        arguments = ["--steps", "60", "--seed", "4", "--output", str(folder)]
        assert main(["train", *QUICK_RUN, *arguments]) == 0
        output = capsys.readouterr()
        assert output.out == ""
        assert f"bundle: {folder / 'model'}" in output.err
        assert "[60/60 steps" in output.err
        settings = load_settings(folder / "settings.yaml")
        assert settings.env_id == "PlanetRosTest/PointMass-v0"
        assert (settings.seed, settings.training.steps) == (4, 60)
        assert settings.world_model.hidden_sizes == [8]

        # Going on needs nothing but the folder; the other settings are those of the run.
        assert main(["train", "--resume", "--output", str(folder), "--steps", "80"]) == 0
        assert EpisodeStore(folder / "episodes").steps == 80
        assert load_settings(folder / "settings.yaml").seed == 4

    def test_ctrl_c_ends_with_130_and_says_how_to_go_on(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        folder = tmp_path / "run"

        def interrupted(*_: Any) -> Any:
            # What a supervisor sends counts as Ctrl-C.
            signal.raise_signal(signal.SIGTERM)

        with monkeypatch.context() as patch:
            patch.setattr(tiny_environments.PointMass, "step", interrupted)
            code = main(["train", *QUICK_RUN, "--steps", "60", "--output", str(folder)])
        error = capsys.readouterr().err
        assert code == 130
        assert f"continue with: planet-ros train --resume --output {folder}" in error
        assert "Traceback" not in error
        assert main(["train", "--resume", "--output", str(folder), "--steps", "40"]) == 0

    def test_a_run_goes_on_with_other_settings_only_where_they_are_meant(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder, file = tmp_path / "run", tmp_path / "other.yaml"
        assert main(["train", *QUICK_RUN, "--steps", "40", "--output", str(folder)]) == 0
        going_on = ["train", "--resume", "--output", str(folder), "--steps", "60"]
        content = (folder / "settings.yaml").read_text()
        file.write_text(content.replace("learning_rate: 0.001", "learning_rate: 0.002"))
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

        assert main([*going_on, "--config", str(file)]) == 2
        error = capsys.readouterr().err
        assert (
            "other settings than it was begun with: training.learning_rate: 0.001 → 0.002;" in error
        )
        assert main([*going_on, "--data", str(folder)]) == 2
        assert "a run keeps the data that it began with" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

        meant = ["--set", "training.learning_rate=0.002"]
        assert main([*going_on, "--config", str(file), *meant]) == 0
        assert "changed: training.learning_rate: 0.001 → 0.002" in capsys.readouterr().err
        assert main([*going_on, "--config", str(file)]) == 0  # as it is by now
        assert "changed" not in capsys.readouterr().err
        assert not load_settings(folder / "settings.yaml").training.accept_changes

    def test_curves_are_drawn_at_the_end_and_after_ctrl_c(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "run"
        steps = iter(range(45))
        original = tiny_environments.PointMass.step

        def interrupted(point: Any, action: Any) -> Any:
            if next(steps, None) is None:
                signal.raise_signal(signal.SIGTERM)
            return original(point, action)

        with monkeypatch.context() as patch:
            patch.setattr(tiny_environments.PointMass, "step", interrupted)
            assert main(["train", *QUICK_RUN, "--steps", "80", "--output", str(folder)]) == 130
        first = (folder / "learning_curves.png").read_bytes()
        assert main(["train", "--resume", "--output", str(folder)]) == 0
        assert (folder / "learning_curves.png").read_bytes() != first

    def test_curves_that_cannot_be_drawn_cost_a_warning_and_no_run(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def broken(*_: Any) -> Any:
            raise OSError("no space left")

        folder = tmp_path / "run"
        monkeypatch.setattr(curves, "new_figure", broken)
        assert main(["train", *QUICK_RUN, "--steps", "60", "--output", str(folder)]) == 0
        error = capsys.readouterr().err
        assert f"warning: {folder / 'learning_curves.png'} could not be drawn (OSError" in error
        assert load_bundle(folder / "model").manifest.environment_steps == 60

    def test_a_run_that_is_refused_is_left_as_it_is(
        self, fails: Callable[..., str], tiny_run: Path, tmp_path: Path
    ) -> None:
        run = tmp_path / "run"
        shutil.copytree(tiny_run, run)
        (run / "learning_curves.png").write_bytes(b"of the owner")
        before = contents(run)
        fails("train", *POINT_MASS, *MODULES, "--output", run)
        assert contents(run) == before


def contents(folder: Path) -> dict[Path, bytes]:
    """All files in a folder."""
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


class TestEvaluate:
    def test_json_is_the_last_line_and_has_the_documented_keys(
        self, prints: Callable[..., str], tiny_run: Path
    ) -> None:
        arguments = ["--model", tiny_run / "model", "--episodes", "3", "--json"]
        result = json.loads(prints("evaluate", *ALLOW, *arguments).splitlines()[-1])
        assert set(result) == {"returns", "mean", "worst", "steps", "decisions", "cut", "tick_ms"}
        assert set(result["tick_ms"]) == {"p50", "p99", "max"}
        assert len(result["returns"]) == 3
        assert result["mean"] == pytest.approx(sum(result["returns"]) / 3)
        assert result["worst"] == min(result["returns"])
        assert result["steps"] == result["decisions"] == 60
        assert 0 < result["tick_ms"]["p50"] <= result["tick_ms"]["p99"] <= result["tick_ms"]["max"]

    def test_episode_i_starts_from_seed_plus_i(
        self, prints: Callable[..., str], tiny_run: Path
    ) -> None:
        arguments = ["--model", tiny_run / "model", "--env-id", "PlanetRosTest/SeedEcho-v0"]
        output = prints(
            "evaluate", *ALLOW, *arguments, "--episodes", "4", "--seed", "700", "--json"
        )
        assert json.loads(output.splitlines()[-1])["returns"] == [700, 701, 702, 703]

    def test_default_is_ten_episodes_from_seed_1000(
        self, prints: Callable[..., str], tiny_run: Path
    ) -> None:
        arguments = ["--model", tiny_run / "model", "--env-id", "PlanetRosTest/SeedEcho-v0"]
        output = prints("evaluate", *ALLOW, *arguments, "--json")
        assert json.loads(output)["returns"] == list(range(1000, 1010))

    def test_same_seed_gives_the_same_returns_whatever_came_before(
        self, prints: Callable[..., str], tiny_run: Path
    ) -> None:
        def returns(seed: int, episodes: int) -> list[float]:
            options = ["--seed", seed, "--episodes", episodes, "--json"]
            output = prints("evaluate", *ALLOW, "--model", tiny_run / "model", *options)
            found: list[float] = json.loads(output)["returns"]
            return found

        assert returns(20, 3)[1:] == returns(21, 2)

    def test_environment_arguments_replace_those_of_the_bundle(
        self, prints: Callable[..., str], tiny_run: Path
    ) -> None:
        options = ["--env-kwargs", '{"limit": 0.5}', "--episodes", "2", "--json"]
        output = prints("evaluate", *ALLOW, "--model", tiny_run / "model", *options)
        assert json.loads(output)["steps"] == 2  # every start is beyond that limit

    def test_planner_can_be_another_one(self, prints: Callable[..., str], tiny_run: Path) -> None:
        def returns(*options: str) -> list[float]:
            arguments = ["--model", tiny_run / "model", "--episodes", "1", "--json"]
            found: list[float] = json.loads(prints("evaluate", *ALLOW, *arguments, *options))[
                "returns"
            ]
            return found

        assert returns("--set", "planner.kind=cem") != returns()

    def test_words_for_a_person_without_json(
        self, prints: Callable[..., str], tiny_run: Path
    ) -> None:
        output = prints("evaluate", *ALLOW, "--model", tiny_run / "model", "--episodes", "1")
        assert output.startswith("return: mean -")
        assert "decision: p50" in output

    def test_gif_shows_the_first_episode(
        self, prints: Callable[..., str], tiny_run: Path, tmp_path: Path
    ) -> None:
        gif = tmp_path / "episode.gif"
        prints("evaluate", *ALLOW, "--model", tiny_run / "model", "--episodes", "1", "--gif", gif)
        with GifImageFile(gif) as picture:
            assert picture.format == "GIF"
            assert picture.n_frames > 5
            played_ms = 0
            for frame in range(picture.n_frames):
                picture.seek(frame)
                played_ms += picture.info["duration"]
        assert played_ms == 21 * 40  # in real time


class TestImagine:
    def test_json_is_the_last_line_and_names_what_was_written(
        self, prints: Callable[..., str], tiny_run: Path, tmp_path: Path
    ) -> None:
        arguments = [
            "--run",
            tiny_run,
            "--output",
            tmp_path / "a",
            "--episode",
            "2",
            "--steps",
            "7",
        ]
        result = json.loads(prints("imagine", *arguments, "--json").splitlines()[-1])
        assert set(result) == {"episode", "context", "steps", "files", "errors"}
        assert (result["episode"], result["context"], result["steps"]) == (2, 5, 7)
        assert result["files"] == [str(tmp_path / "a" / "episode-000002-curves.png")]
        assert [errors["steps"] for errors in result["errors"]] == [1, 5, 7]
        for errors in result["errors"]:
            assert set(errors) == {"steps", "reward", "observation", "starts"}
        with Image.open(result["files"][0]) as picture:
            assert picture.format == "PNG"

    def test_words_for_a_person_without_json(
        self, prints: Callable[..., str], tiny_run: Path, tmp_path: Path
    ) -> None:
        run = tmp_path / "run"
        shutil.copytree(tiny_run, run)
        output = prints("imagine", "--run", run).splitlines()
        assert output[0] == str(run / "imagined" / "episode-000005-curves.png")
        assert output[1].startswith("episode 5: 5 frames seen, 16 predicted")
        assert output[2].split() == ["steps", "reward", "observation", "starts"]
        assert [line.split()[0] for line in output[3:]] == ["1", "5", "15", "16"]


class TestOtherCommands:
    def test_export_and_imagine_leave_the_run_as_it_is(
        self, prints: Callable[..., str], tiny_run: Path, tmp_path: Path
    ) -> None:
        before = contents(tiny_run)
        # Less room than the run holds: whoever only reads prunes nothing for that.
        little = ["--set", "data.capacity_steps=20"]
        prints("export", "--run", tiny_run, "--output", tmp_path / "bundle", *little)
        prints("imagine", "--run", tiny_run, "--output", tmp_path / "pictures")
        assert contents(tiny_run) == before

    def test_info_shows_names_and_units(self, prints: Callable[..., str], tmp_path: Path) -> None:
        names = ["--set", 'env_observation_names=["x [m]", "y [m]"]']
        names += ["--set", 'env_action_names=["push x [N]", "push y"]']
        assert (
            main(["train", *QUICK_RUN, *names, "--steps", "40", "--output", str(tmp_path / "a")])
            == 0
        )
        output = prints("info", tmp_path / "a" / "model").splitlines()
        start = output.index("observation:    observation: vector of 2")
        assert [line.strip() for line in output[start + 1 : start + 5]] == [
            "x [m]",
            "y [m]",
            "action:         push x, -1 to 1 N",
            "push y, -1 to 1",
        ]

    def test_info_prints_the_manifest_as_json(
        self, prints: Callable[..., str], tiny_run: Path
    ) -> None:
        found = json.loads(prints("info", tiny_run / "model", "--json"))
        assert found == json.loads((tiny_run / "model" / "manifest.json").read_text())

    def test_info_names_environment_and_worth(
        self, prints: Callable[..., str], tiny_run: Path
    ) -> None:
        output = prints("info", tiny_run / "model")
        manifest = load_bundle(tiny_run / "model").manifest
        assert "PlanetRosTest/PointMass-v0" in output
        assert "120 environment steps, 6 episodes, seed 0" in output
        assert f"mean return {manifest.evaluation.mean_return:.1f}" in output

    def test_export_writes_a_bundle_that_evaluates(
        self, prints: Callable[..., str], tiny_run: Path, tmp_path: Path
    ) -> None:
        target = tmp_path / "short"
        output = prints(
            "export", "--run", tiny_run, "--output", target, "--set", "planner.horizon=2"
        )
        assert output.strip() == str(target)
        assert load_bundle(target).manifest.horizon == 2
        prints("evaluate", *ALLOW, "--model", target, "--episodes", "1")

    def test_config_prints_the_reference_page(self, prints: Callable[..., str]) -> None:
        assert prints("config", "--markdown") == reference_markdown()

    def test_config_prints_the_values_of_a_file(
        self, prints: Callable[..., str], tmp_path: Path
    ) -> None:
        save_settings(Settings(seed=77), tmp_path / "a.yaml")
        output = prints("config", "--config", tmp_path / "a.yaml")
        assert "seed = 77\n" in output
        assert "planner.horizon = 20\n" in output

    def test_config_prints_one_section(self, prints: Callable[..., str]) -> None:
        output = prints("config", "planner", "--set", "planner.horizon=3")
        names = [line.split(" = ")[0] for line in output.splitlines() if " = " in line[:60]]
        assert "planner.horizon = 3\n" in output
        assert names
        assert all(name.startswith("planner.") for name in names)

    def test_version_is_that_of_the_package(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["--version"])
        assert caught.value.code == 0
        assert capsys.readouterr().out == f"planet-ros {__version__}\n"

    @pytest.mark.parametrize("command", COMMANDS)
    def test_help_contains_an_example(
        self, capsys: pytest.CaptureFixture[str], command: str
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            main([command, "--help"])
        assert caught.value.code == 0
        examples = capsys.readouterr().out.partition("examples:\n")[2]
        assert examples.startswith(f"  planet-ros {command}")

    def test_help_lists_every_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["--help"])
        output = capsys.readouterr().out
        assert all(f"    {command} " in output for command in COMMANDS)
