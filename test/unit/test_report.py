"""The report of a run: what is told, of damaged and of hostile files too, in bounded time."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from arrays import float32

from planet_ros.data import Episode, EpisodeStore
from planet_ros.data.store import load_episode, save_episode
from planet_ros.errors import UserError
from planet_ros.report import markup
from planet_ros.report.evidence import gather
from planet_ros.report.forecasting import forecasts_of, load_model
from planet_ros.report.plots import Line, chart, histogram
from planet_ros.report.report import report_page
from planet_ros.report.verdict import Finding, cover_at, findings, overall
from planet_ros.training.export import open_checkpoint

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]
SECTIONS = ["learning", "ahead", "calibration", "trajectories", "episodes", "returns"]
SECTIONS += ["planning", "data", "details"]


def sections(page: str) -> list[str]:
    return re.findall(r'<section id="(\w+)"', page)


def copied(run: Path, target: Path) -> Path:
    shutil.copytree(run, target)
    return target


def problems(page: str) -> str:
    found = re.search(r'id="problems">(.*?)</div>', page)
    return "" if found is None else found[1]


class TestPage:
    def test_has_every_section_and_leaves_the_run_as_it_is(self, tiny_run: Path) -> None:
        def contents() -> dict[Path, bytes]:
            return {file: file.read_bytes() for file in tiny_run.rglob("*") if file.is_file()}

        before = contents()
        page = report_page(tiny_run)
        assert sections(page) == SECTIONS
        assert problems(page) == ""
        assert contents() == before

    def test_of_a_robot_has_names_units_and_what_was_held_out(self, offline_run: Path) -> None:
        page = report_page(offline_run)
        assert sections(page) == SECTIONS
        assert "Robot commanded on efforts" in page
        for shown in (
            "velocity[hinge]",
            "Error on held-out episodes",
            "held-out episodes, of",
            "times as much as on the data",
            "Novelty of plans",
        ):
            assert shown in page
        assert "What it is worth when it acts was not measured" in page

    def test_of_pictures_shows_them(self, picture_run: Path) -> None:
        page = report_page(picture_run)
        assert page.count("data:image/png;base64,") > 30
        assert "Pixels of camera" in page
        assert "camera: predicted" in page

    def test_of_a_bundle_tells_what_it_is_without_torch(
        self, tiny_run: Path, tmp_path: Path, run_python: RunPython
    ) -> None:
        code = """
import sys
from pathlib import Path
from planet_ros.report import markup
from planet_ros.report.plots import Line, chart, histogram
from planet_ros.report.report import report_page
Path(sys.argv[2]).write_text(report_page(Path(sys.argv[1])), encoding="utf-8")
assert not {"torch", "matplotlib", "gymnasium"} & set(sys.modules)
"""
        result = run_python(code, str(tiny_run / "model"), str(tmp_path / "page.html"))
        assert result.returncode == 0, result.stderr
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert sections(page) == ["planning", "details"]
        manifest = json.loads((tiny_run / "model" / "manifest.json").read_bytes())
        assert manifest["graphs"]["imagine"]["sha256"] in page

    def test_command_writes_it_beside_a_bundle_and_into_a_run(
        self, tiny_run: Path, tmp_path: Path, prints: Callable[..., str], fails: Callable[..., str]
    ) -> None:
        run = copied(tiny_run, tmp_path / "run")
        assert prints("report", run).strip() == str(run / "report.html")
        assert prints("report", run / "model").strip() == str(run / "model-report.html")
        assert sections((run / "report.html").read_text(encoding="utf-8")) == SECTIONS
        assert f"{tmp_path}: found another folder, expected the folder of a run" in fails(
            "report", tmp_path
        )
        (tmp_path / "file").touch()
        assert "cannot be written" in fails("report", run, "--output", tmp_path / "file" / "a.html")


class TestHundredEpisodes:
    def test_takes_five_seconds_and_three_megabytes_at_most(
        self, tiny_run: Path, tmp_path: Path
    ) -> None:
        run = copied(tiny_run, tmp_path / "run")
        rng = np.random.default_rng(0)
        first = EpisodeStore(run / "episodes").episodes[0]
        size, actions = first.observation["observation"].shape[1], first.action.shape[1]
        lines = (run / "metrics.jsonl").read_text().splitlines()
        for number in range(6, 106):
            episode = Episode(
                {"observation": float32(rng.normal(size=(201, size)))},
                float32(rng.uniform(-1, 1, (200, actions))),
                rng.normal(size=200),
                terminated=False,
                truncated=True,
            )
            save_episode(episode, run / "episodes" / f"episode-{number:06d}.npz")
            record = {"kind": "episode", "episode": number, "return": episode.total_reward}
            record |= {"environment_steps": 200 * number, "decisions": 200, "random": False}
            lines.append(json.dumps(record))
        (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "planet_ros.cli.main", "report", str(run)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Of the processor: the machine may be busy with something else.
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5
        assert (run / "report.html").stat().st_size < 3_000_000


class TestForecasts:
    def test_errors_are_those_of_the_model_that_acts(self, tiny_run: Path) -> None:
        evidence = gather(tiny_run)
        assert evidence.run is not None and evidence.settings is not None
        model = load_model(evidence.run, evidence.settings, None)
        judges = {5: evidence.episodes[5]}
        found = forecasts_of(model, judges, list(evidence.episodes.values()), 4)
        assert (found.steps, found.episodes) == (10, 1)  # no fewer than ten steps ahead
        same, episode = open_checkpoint(tiny_run, {}).model, judges[5]
        squares = []
        with torch.no_grad():
            beliefs = list(same.filtered(episode))
            for start in range(1, len(episode) - 10 + 1):
                dream = same.dream(
                    beliefs[start], torch.from_numpy(episode.action[start : start + 10]), 0
                )
                truth = episode.observation["observation"][start + 10]
                errors = [*(dream.observation["observation"][9].numpy() - truth)]
                errors.append(dream.reward[9].item() - episode.reward[start + 9])
                squares.append(np.square(errors))
        assert found.starts == len(squares)
        np.testing.assert_allclose(found.error[9], np.sqrt(np.mean(squares, axis=0)), rtol=1e-4)
        assert found.labels[-1] == "reward"

    @pytest.mark.parametrize(("factor", "share"), [(1.0, 0.9), (0.5, 0.59), (3.0, 1.0)])
    def test_share_in_the_interval_is_counted(
        self, tiny_run: Path, monkeypatch: pytest.MonkeyPatch, factor: float, share: float
    ) -> None:
        """Of a model whose error is normal, and which takes it for `factor` times what it is."""
        evidence = gather(tiny_run)
        assert evidence.run is not None and evidence.settings is not None
        model = load_model(evidence.run, evidence.settings, None)
        rng = np.random.default_rng(0)
        episode = Episode(
            {"observation": float32(rng.normal(size=(401, model.signature.vector_size)))},
            np.zeros((400, model.signature.actions), np.float32),
            rng.normal(size=400),
            terminated=False,
            truncated=True,
        )

        def guess(belief: Any, actions: Any, samples: int, goal: Any) -> Any:
            shape = samples, len(actions), model.signature.vector_size
            sampled = {"observation": torch.randn(shape) * factor}
            return dataclasses.replace(
                original(belief, actions, 0),
                observation={"observation": torch.zeros(shape[1:])},
                reward=torch.zeros(len(actions)),
                sampled_observation=sampled,
                sampled_reward=torch.randn(shape[:2]) * factor,
            )

        original = model.dream
        monkeypatch.setattr(model, "dream", guess)
        found = forecasts_of(model, {0: episode}, [episode], 10)
        assert cover_at(found) == pytest.approx(share, abs=0.04)
        np.testing.assert_allclose(found.spread, factor, rtol=0.15)
        words = [one.text for one in findings(evidence, found, None, [])]
        expected = {1.0: "knows how sure", 0.5: "too sure of itself", 3.0: "better than it thinks"}
        assert any(expected[factor] in one for one in words)

    def test_no_function_that_a_document_names_is_imported(
        self, offline_run: Path, tmp_path: Path, make_module: Callable[..., None]
    ) -> None:
        run = copied(offline_run, tmp_path / "run")
        make_module("hostile_reward", "raise SystemExit('it was imported')\n")
        text = (run / "interface.yaml").read_text(encoding="utf-8")
        start = text.index("reward:")
        text = text[:start] + "reward: {kind: function, function: 'hostile_reward:judge'}\n"
        (run / "interface.yaml").write_text(text, encoding="utf-8")
        page = report_page(run)
        assert "hostile_reward" not in sys.modules
        assert "ahead" in sections(page)


class TestDamage:
    def test_damaged_lines_and_episodes_are_named(self, tiny_run: Path, tmp_path: Path) -> None:
        run = copied(tiny_run, tmp_path / "run")
        with (run / "metrics.jsonl").open("a") as file:
            file.write('[]\n{"kind": "episode", "return": NaN, "environment_steps": 1}\n')
            file.write('{"kind": "fit", "environment_steps": 1e999}\n{"kind": "of somebody"}\n')
            file.write('{"kind": "fit", "environment_steps": 130, "loss": "x"}\n' + "[" * 100_000)
            file.write('\n{"kind": "episode", "ret')
        episodes = run / "episodes"
        (episodes / "episode-000001.npz").write_bytes(
            (episodes / "episode-000001.npz").read_bytes()[:200]
        )
        (episodes / "episode-000002.npz").unlink()
        os.mkfifo(episodes / "episode-000002.npz")
        save_episode(
            Episode({"other": np.zeros((4, 9), np.float32)}, np.zeros((3, 1), np.float32),
                    np.zeros(3), False, True),
            episodes / "episode-000003.npz",
        )  # fmt: skip
        count = len((tiny_run / "metrics.jsonl").read_text().splitlines())
        page = report_page(run)
        assert sections(page) == SECTIONS
        said = problems(page)
        assert f"metrics.jsonl, line {count + 1}: is no object with a kind" in said
        assert f"line {count + 2}: of the kind episode, without a finite number as return" in said
        assert f"line {count + 3}: of the kind fit, without" in said
        assert f"line {count + 6}: is not JSON" in said and f"line {count + 7}: is not" in said
        assert "episodes/episode-000001.npz: not a whole" in said
        assert "episodes/episode-000002.npz: found no regular file" in said
        assert "episode 3: found" in said
        assert said.count("<li") == 8  # a kind that is not known is no damage

    @pytest.mark.parametrize(
        "missing",
        ["settings.yaml", "model", "checkpoint", "episodes", "metrics.jsonl",
         "checkpoint/tensors.npz", "model/imagine.onnx"],
    )  # fmt: skip
    def test_report_is_made_of_what_is_left(
        self, tiny_run: Path, tmp_path: Path, missing: str
    ) -> None:
        run = copied(tiny_run, tmp_path / "run")
        target = run / missing
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        page = report_page(run)
        assert {"learning", "details"} <= {
            *sections(page),
            *(["learning"] * (missing[:3] == "met")),
        }
        if missing != "metrics.jsonl":
            assert problems(page)

    def test_model_larger_than_its_checkpoint_takes_no_memory(
        self, tiny_run: Path, tmp_path: Path
    ) -> None:
        run = copied(tiny_run, tmp_path / "run")
        settings = (run / "settings.yaml").read_text(encoding="utf-8")
        many = re.sub(r"hidden_sizes:\n( +)- 32", r"hidden_sizes: [4096, 4096]", settings)
        many = re.sub(r"members: 2", "members: 16", many)
        assert "4096" in many and "members: 16" in many
        (run / "settings.yaml").write_text(many, encoding="utf-8")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert "is not of the model that settings.yaml describes" in problems(report_page(run))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB

    def test_arrays_that_unpack_to_more_than_there_is_are_not_read(
        self, tiny_run: Path, tmp_path: Path
    ) -> None:
        run = copied(tiny_run, tmp_path / "run")
        path = run / "episodes" / "episode-000001.npz"
        np.savez_compressed(path, action=np.zeros(30_000_000))
        assert "240000128 bytes unpacked, expected at most" in problems(report_page(run))

    def test_texts_of_strangers_do_nothing(self, tiny_run: Path, tmp_path: Path) -> None:
        run = copied(tiny_run, tmp_path / "<b onclick=alert(1)>")
        evil = "</script><script>window.hacked=1</script>"
        settings = (run / "settings.yaml").read_text(encoding="utf-8")
        settings = settings.replace("PlanetRosTest/PointMass-v0", evil)
        (run / "settings.yaml").write_text(settings, encoding="utf-8")
        shutil.rmtree(run / "model")
        with (run / "metrics.jsonl").open("a") as file:
            record = {"kind": "evaluation", "environment_steps": 1, "source": evil + "\u202e"}
            file.write(json.dumps(record | {"mean_return": 1.0, "worst_return": 0.5}) + "\n")
        page = report_page(run)
        assert "window.hacked=1" in page  # it is shown
        assert page.count("<script>") == 1
        assert "<b onclick" not in page
        assert "\u202e" not in page


def test_verdict_is_as_good_as_the_worst_of_what_was_found() -> None:
    good, fair, bad = (Finding(grade, "") for grade in ("good", "fair", "bad"))
    assert overall([good])[0] == "good"
    assert overall([good, fair])[0] == "fair"
    assert overall([good, bad, fair])[0] == "bad"


def test_angle_that_jumps_is_a_finding(tiny_run: Path, tmp_path: Path) -> None:
    run = copied(tiny_run, tmp_path / "run")
    for file in sorted((run / "episodes").iterdir())[:3]:
        episode = load_episode(file)
        turning = np.linspace(0, 4 * np.pi, len(episode) + 1)
        seen = episode.observation["observation"].copy()
        seen[:, 0] = np.angle(np.exp(1j * turning))
        save_episode(dataclasses.replace(episode, observation={"observation": seen}), file)
    for file in sorted((run / "episodes").iterdir())[3:]:
        file.unlink()
    assert report_page(run).count("jumps by 6.283, as an angle does that is wrapped") == 2


def test_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found nothing, expected the folder of a run"):
        gather(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (50.0, "50"),
        (1234.56, "1235"),
        (-0.01999, "−0.02"),
        (0.0, "0"),
        (1e-9, "1.00e−09"),
        (-3e12, "−3.00e+12"),
        (float("nan"), "—"),
        (float("inf"), "—"),
        (None, "—"),
    ],
)
def test_numbers_are_short(value: float | None, shown: str) -> None:
    assert markup.number(value) == shown


def test_charts_bear_whatever_they_are_given() -> None:
    strange = [np.nan, np.inf, -1e300, 1e29, 0.0, 5.0]
    drawn = chart("<b>", [Line("<i>", range(6), strange, dots=True)], x="x", y="y")
    assert "nan" not in drawn and "inf" not in drawn and "<b>" not in drawn and "<i>" not in drawn
    assert drawn.count("<path") == 2
    assert chart("none", [Line("a", [1.0], [np.nan])], x="x", y="y") == ""
    assert histogram("none", {"a": []}, x="x", y="y") == ""
    one = chart("one", [Line("a", [3.0], [7.0], dots=True)], x="x", y="y")
    assert '<path class="p c1" d="M' in one
    assert '<rect class="b c1"' in histogram("same", {"a": [2.0] * 9}, x="x", y="y")
    # The one peak among a million values is drawn.
    many = np.zeros(1_000_000)
    many[123_456] = 9.0
    long = chart("many", [Line("a", np.arange(len(many)), many)], x="x", y="y")
    assert len(long) < 30_000 and "9.0" in long
