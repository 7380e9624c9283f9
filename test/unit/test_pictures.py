"""Pictures of runs and of predicted episodes, and what happens where they cannot be drawn."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from planet_ros.data import Episode, NamedNumber, ObservationPart
from planet_ros.report import curves, dream_pictures
from planet_ros.report.attempt import attempt
from planet_ros.report.dream_pictures import draw
from planet_ros.report.dreams import dream_of
from planet_ros.report.gif import save_gif
from planet_ros.training.run import RunFolder

FRAMES = 21  # of an episode of the point mass


def with_observation(episode: Episode, **parts: NDArray[Any]) -> Episode:
    """An episode with other values of some parts."""
    return dataclasses.replace(episode, observation={**episode.observation, **parts})


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are drawn, instead of their files."""
    drawn: list[Any] = []
    for where in (dream_pictures, curves):
        monkeypatch.setattr(where, "save_figure", lambda figure, path: drawn.append(figure))
    return drawn


def lines(axes: Any) -> dict[str, NDArray[Any]]:
    return {line.get_label(): np.asarray(line.get_ydata(), float) for line in axes.get_lines()}


class TestPictures:
    def test_curves_show_truth_and_prediction_of_every_number(
        self, picture_run: Path, tmp_path: Path, figures: list[Any]
    ) -> None:
        dreamt = dream_of(picture_run, context=4, steps=10)
        draw(dreamt, tmp_path)
        panels = figures[0].axes
        assert [axes.get_title() for axes in panels] == [
            "reward",
            "position 0",
            "position 1",
        ]
        np.testing.assert_allclose(lines(panels[0])["truth"][1:], dreamt.episode.reward[:13])
        truth = dreamt.episode.observation["observation"][:14, 1]
        np.testing.assert_allclose(lines(panels[2])["truth"], truth)
        predicted = next(line for line in panels[2].get_lines() if line.get_label() == "predicted")
        assert predicted.get_xdata().tolist() == list(range(4, 14))
        np.testing.assert_allclose(
            predicted.get_ydata(), dreamt.dream.observation["observation"][:, 1]
        )
        labels = panels[0].get_legend_handles_labels()[1]
        assert labels == ["seen", "10% to 90% of 20 trajectories", "truth", "predicted"]

    def test_many_numbers_are_cut_to_what_can_be_read(
        self, tmp_path: Path, figures: list[Any], tiny_run: Path
    ) -> None:
        dreamt = dream_of(tiny_run)
        vector = ObservationPart("observation", (60,))
        many = dataclasses.replace(
            dreamt,
            signature=dataclasses.replace(dreamt.signature, observation=(vector,)),
            episode=with_observation(
                dreamt.episode, observation=np.zeros((FRAMES, 60), np.float32)
            ),
            dream=dataclasses.replace(
                dreamt.dream,
                observation={"observation": torch.zeros(16, 60)},
                sampled_observation={"observation": torch.zeros(2, 16, 60)},
            ),
        )
        draw(many, tmp_path)
        assert len(figures[0].axes) == 24

    def test_panels_bear_names_and_units(
        self, tmp_path: Path, figures: list[Any], tiny_run: Path
    ) -> None:
        dreamt = dream_of(tiny_run)
        numbers = (NamedNumber("x", "m"), NamedNumber("y"))
        vector = ObservationPart("observation", (2,), numbers=numbers)
        named = dataclasses.replace(dreamt.signature, observation=(vector,))
        draw(dataclasses.replace(dreamt, signature=named), tmp_path)
        assert [axes.get_title() for axes in figures[0].axes] == ["reward", "x [m]", "y"]

    def test_gif_shows_each_frame_and_where_prediction_begins(
        self, picture_run: Path, tmp_path: Path
    ) -> None:
        dreamt = dream_of(picture_run, context=4, steps=10)
        files = draw(dreamt, tmp_path / "new" / "folder")
        assert [file.name for file in files] == [
            "episode-000005-curves.png",
            "episode-000005-camera.png",
            "episode-000005-camera.gif",
        ]
        where = 84 + 10 + 96, 36 + 192 + 6 + 96  # the middle of the picture that was predicted
        with GifImageFile(files[2]) as gif:
            assert gif.n_frames == 14
            for frame in range(14):
                gif.seek(frame)
                blank = gif.convert("RGB").getpixel(where) == (238, 238, 238)
                assert blank == (frame < 4), frame

    def test_pixels_are_enlarged_and_not_blurred(self, picture_run: Path) -> None:
        dreamt = dream_of(picture_run, context=4, steps=10)
        pictures = dream_pictures._column(dreamt, "camera", 7, 32).pictures
        truth = dreamt.episode.observation["camera"][7, :, :, 0]
        predicted = dreamt.dream.observation["camera"][3, :, :, 0].numpy()
        difference = np.abs(truth.astype(int) - predicted.astype(int))
        for name, image in (
            ("truth", truth),
            ("predicted", predicted),
            ("difference", difference),
        ):
            picture = pictures[name]
            assert picture is not None
            expected = np.kron(image, np.ones((4, 4), int))
            np.testing.assert_array_equal(np.asarray(picture)[:, :, 1], expected)

    def test_strip_has_the_end_of_the_context_and_at_most_ten_predictions(
        self, picture_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        headings: list[list[str]] = []

        def sheet(columns: Any) -> Image.Image:
            headings.append([column.heading for column in columns])
            return Image.new("RGB", (4, 4))

        monkeypatch.setattr(dream_pictures, "_sheet", sheet)
        dreamt = dream_of(picture_run, context=4, steps=15)
        dream_pictures._draw_strip(dreamt, "camera", tmp_path / "strip.png")
        ahead = [f"{steps} ahead" for steps in range(1, 16, 2)]
        assert headings == [["seen", "seen", *ahead]]

    def test_colours_stay(self, picture_run: Path, tmp_path: Path) -> None:
        red = np.zeros((FRAMES, 8, 8, 3), np.uint8)
        red[..., 0] = 200
        dreamt = dream_of(picture_run)
        dreamt = dataclasses.replace(dreamt, episode=with_observation(dreamt.episode, camera=red))
        picture = dream_pictures._column(dreamt, "camera", 0, 32).pictures["truth"]
        assert picture is not None
        assert picture.getpixel((3, 3)) == (200, 0, 0)


class TestLearningCurves:
    def test_each_part_of_the_loss_and_each_error_is_a_line(
        self, picture_run: Path, figures: list[Any]
    ) -> None:
        curves.plot_learning_curves(RunFolder(picture_run))
        returns, loss, errors = figures[0].axes
        run = RunFolder(picture_run)
        fits = [record for record in run.metrics() if record["kind"] == "fit"]
        assert "return" in lines(returns)
        assert set(lines(loss)) == {"loss", "observation loss", "reward loss", "kl"}
        np.testing.assert_allclose(lines(loss)["kl"], [fit["kl"] for fit in fits])
        # The first fit knows no steps that it has not seen.
        np.testing.assert_allclose(
            lines(errors)["one step ahead"], [fit["one_step_reward_error"] for fit in fits[1:]]
        )
        assert loss.get_yscale() == "log"

    def test_loss_below_zero_is_drawn_too(self, tmp_path: Path, figures: list[Any]) -> None:
        run = RunFolder(tmp_path)
        for loss in (1.0, -2.0):
            record = {"kind": "fit", "environment_steps": 10, "loss": loss}
            with run.metrics_file.open("a") as file:
                file.write(json.dumps(record) + "\n")
        curves.plot_learning_curves(run)
        assert figures[0].axes[1].get_yscale() == "linear"

    def test_without_steps_fits_stand_side_by_side_with_their_held_out_error(
        self, offline_run: Path, figures: list[Any]
    ) -> None:
        run = RunFolder(offline_run)
        curves.plot_learning_curves(run)
        _, loss, errors = figures[0].axes
        fits = [record for record in run.metrics() if record["kind"] == "fit"]
        assert len(fits) > 2
        for axes, name, key in (
            (loss, "loss", "loss"),
            (errors, "held-out error", "held_out_error"),
        ):
            assert axes.get_xlabel() == "fit"
            (line,) = (one for one in axes.get_lines() if one.get_label() == name)
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, len(fits) + 1))
            np.testing.assert_allclose(line.get_ydata(), [fit[key] for fit in fits])

    def test_damaged_lines_are_left_out(self, tmp_path: Path, figures: list[Any]) -> None:
        run = RunFolder(tmp_path)
        whole = {"kind": "fit", "environment_steps": 10, "loss": 2.0}
        run.metrics_file.write_text(f'[]\n{{"kind": "fit"}}\n{json.dumps(whole)}\n{{"kind": "epi')
        curves.plot_learning_curves(run)
        np.testing.assert_array_equal(lines(figures[0].axes[1])["loss"], [2.0])

    def test_run_that_has_nothing_yet_can_be_drawn(self, tmp_path: Path) -> None:
        curves.plot_learning_curves(RunFolder(tmp_path))
        with Image.open(tmp_path / "learning_curves.png") as picture:
            assert picture.width > 1000


class TestFilms:
    @pytest.mark.parametrize("period_s", [0.008, 0.02, 0.033, 0.05, 0.1, 0.2])
    def test_gif_lasts_as_long_as_the_episode(self, tmp_path: Path, period_s: float) -> None:
        # Each differs from the one before: equal ones would become one.
        frames = [np.full((20, 30, 3), 5 * (index % 50), np.uint8) for index in range(240)]
        save_gif(frames, tmp_path / "a.gif", period_s=period_s)
        with GifImageFile(tmp_path / "a.gif") as gif:
            durations = []
            for frame in range(gif.n_frames):
                gif.seek(frame)
                durations.append(gif.info["duration"] / 1000)
            assert gif.size == (200, 133)
        assert sum(durations) == pytest.approx(len(frames) * period_s, rel=0.07)
        assert min(durations) >= 0.04  # players show no more than 20 to 25 frames a second

    def test_gif_shows_every_frame_that_comes_slowly_enough(self, tmp_path: Path) -> None:
        frames = [np.full((20, 20, 3), 20 * index, np.uint8) for index in range(12)]
        save_gif(frames, tmp_path / "a.gif", period_s=0.05, width=20)
        with GifImageFile(tmp_path / "a.gif") as gif:
            assert gif.n_frames == 12
            gif.seek(7)
            assert gif.convert("RGB").getpixel((3, 3)) == (140, 140, 140)


class TestAttempt:
    def test_gives_whether_it_was_drawn_and_says_nothing_then(self, tmp_path: Path) -> None:
        said: list[str] = []
        assert attempt(tmp_path / "a.png", lambda: None, said.append)
        assert not said

    @pytest.mark.parametrize("error", [ImportError("no matplotlib"), OSError("disk full")])
    def test_picture_that_fails_is_a_warning(self, tmp_path: Path, error: Exception) -> None:
        def fail() -> None:
            raise error

        said: list[str] = []
        assert not attempt(tmp_path / "a.png", fail, said.append)
        assert said == [
            f"{tmp_path / 'a.png'} could not be drawn ({type(error).__name__}: {error}); "
            "all else is saved"
        ]

    def test_ctrl_c_is_no_failure_of_the_picture(self, tmp_path: Path) -> None:
        def interrupted() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            attempt(tmp_path / "a.png", interrupted, print)
