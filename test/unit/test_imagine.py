"""Open-loop prediction: what a model dreams, how wrong it is, and the pictures of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from planet_ros.config import RssmSettings, WorldModelSettings
from planet_ros.data import (
    ActionPart,
    Episode,
    EpisodeStore,
    NamedNumber,
    ObservationPart,
    Signature,
)
from planet_ros.data.statistics import Statistics
from planet_ros.data.store import save_episode
from planet_ros.errors import UserError
from planet_ros.models import Ensemble, Rssm, WorldModel
from planet_ros.report import curves, dream_pictures, dreams
from planet_ros.report.attempt import attempt
from planet_ros.report.dream_pictures import draw
from planet_ros.report.dreams import dream_of
from planet_ros.report.gif import save_gif
from planet_ros.training.export import open_checkpoint
from planet_ros.training.run import RunFolder

LOW = np.array([-2.0, 0.0], dtype=np.float32)
HIGH = np.array([2.0, 10.0], dtype=np.float32)
CAMERA = {"camera": (5, 4, 3)}
FRAMES = 21  # of an episode of the point mass
PATHS = ["both", "stochastic", "deterministic"]


@pytest.fixture(autouse=True)
def same_random_numbers_and_one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def picture_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_settings: Callable[..., Any]
) -> Path:
    """Folder of a finished run on the position and a picture; tests must leave it as it is."""
    from planet_ros.training.loop import train

    folder = tmp_path_factory.mktemp("picture") / "run"
    values = {
        "env_id": "PlanetRosTest/PictureAndPosition-v0",
        "world_model.kind": "rssm",
        "rssm.deterministic_size": 16,
        "rssm.stochastic_size": 4,
        "rssm.hidden_size": 16,
        "rssm.image_hidden_size": 16,
        "rssm.disagreement_samples": 3,
        "training.sequence_length": 10,
    }
    train(tiny_settings(folder, values))
    return folder


def signature(images: dict[str, tuple[int, int, int]] | None = None) -> Signature:
    return Signature(
        (
            ObservationPart("observation", (2,)),
            *(
                ObservationPart(name, shape, "image", "uint8")
                for name, shape in (images or {}).items()
            ),
        ),
        tuple(
            ActionPart(f"action_{index}", float(low), float(high))
            for index, (low, high) in enumerate(zip(LOW, HIGH, strict=True))
        ),
        0.05,
    )


def random_episode(steps: int = 12, images: dict[str, tuple[int, int, int]] | None = None) -> Any:
    rng = np.random.default_rng(4)
    vector = rng.normal([5.0, -300.0], [0.1, 50.0], (steps + 1, 2)).astype(np.float32)
    action = rng.uniform(LOW, HIGH, (steps, 2)).astype(np.float32)
    reward = rng.normal(-40.0, 12.0, steps)
    frames = {
        name: rng.integers(90, 160, (steps + 1, *shape)).astype(np.uint8)
        for name, shape in (images or {}).items()
    }
    return Episode({"observation": vector, **frames}, action, reward, False, True)


def ensemble(**settings: Any) -> Ensemble:
    model = Ensemble(signature(), WorldModelSettings(members=3, hidden_sizes=[8], **settings))
    model.fit_normalization(Statistics.of([random_episode(200)]))
    return model


def rssm(images: dict[str, tuple[int, int, int]] | None = None, **settings: Any) -> Rssm:
    small = {"deterministic_size": 7, "stochastic_size": 4, "hidden_size": 9, **settings}
    model = Rssm(signature(images), RssmSettings(**small))
    model.fit_normalization(Statistics.of([random_episode(200, images)]))
    return model


def believed(model: WorldModel, episode: Episode, frame: int) -> torch.Tensor:
    with torch.no_grad():
        return list(model.filtered(episode))[frame]


def at(episode: Episode, frame: int) -> dict[str, torch.Tensor]:
    """What was seen in a frame."""
    return {name: torch.from_numpy(seen[frame]) for name, seen in episode.observation.items()}


class TestDream:
    @pytest.mark.parametrize(
        "model",
        [ensemble, lambda: ensemble(target="state"), *(lambda p=p: rssm(path=p) for p in PATHS)],
    )
    def test_expects_the_rewards_that_the_planner_counts_on(self, model: Any) -> None:
        model, episode = model(), random_episode()
        belief, actions = believed(model, episode, 4), torch.from_numpy(episode.action[4:])
        with torch.no_grad():
            rewards = model.imagine(belief, actions[None]).rewards
            dream = model.dream(belief, actions, 6)
        torch.testing.assert_close(dream.reward, rewards[0], rtol=1e-4, atol=1e-4)
        assert dream.observation.keys() == dream.sampled_observation.keys() == {"observation"}
        assert dream.observation["observation"].shape == (8, 2)
        samples = len(dream.sampled_reward)
        assert dream.sampled_reward.shape == (samples, 8)
        assert dream.sampled_observation["observation"].shape == (samples, 8, 2)

    def test_of_an_ensemble_follows_each_member_on_its_own(self) -> None:
        model, episode = ensemble(), random_episode()
        actions = torch.from_numpy(episode.action[:3])
        start = at(episode, 0)["observation"]
        with torch.no_grad():
            dream = model.dream(start, actions, samples=20)
            disagreement = model.imagine(start, actions[None]).disagreement
            following = start.expand(3, 1, 2)
            for step in range(3):
                output = model._network(following, actions[step].expand(3, 1, 2))
                following, _ = model._means(following, output)
        sampled = dream.sampled_observation["observation"]
        torch.testing.assert_close(sampled[:, 2], following[:, 0])
        torch.testing.assert_close(dream.observation["observation"], sampled.mean(dim=0))
        assert disagreement is not None
        spread = dream.sampled_reward.std(dim=0, correction=0)
        torch.testing.assert_close(spread, disagreement[0], rtol=1e-3, atol=1e-4)

    def test_of_the_recurrent_model_draws_from_the_prior(self) -> None:
        """After one step the two ways to sample are the same, and only then."""
        model, episode = rssm(disagreement_samples=100), random_episode()
        belief, actions = believed(model, episode, 4), torch.from_numpy(episode.action[4:])
        with torch.no_grad():
            # What was drawn in one step is to matter in the next.
            model.transition.weight[: model.settings.stochastic_size] *= 10
            disagreement = model.imagine(belief, actions[None]).disagreement
            dream = model.dream(belief, actions, 4000)
        assert disagreement is not None
        spread = dream.sampled_reward.std(dim=0)
        assert spread[0].item() == pytest.approx(disagreement[0, 0].item(), rel=0.25)
        assert spread[-1] > 1.15 * disagreement[0, -1]

    def test_of_a_model_without_noise_has_no_spread(self) -> None:
        model, episode = rssm(path="deterministic"), random_episode()
        with torch.no_grad():
            dream = model.dream(
                believed(model, episode, 0), torch.from_numpy(episode.action), samples=3
            )
        for sample in dream.sampled_observation["observation"]:
            torch.testing.assert_close(sample, dream.observation["observation"])

    def test_observations_are_in_the_units_of_the_environment(self) -> None:
        model, episode = rssm(), random_episode()
        with torch.no_grad():
            for parameter in model.decoder.parameters():
                parameter.zero_()
            model.decoder.output.bias.copy_(torch.tensor([0.0, 1.0]))
            dream = model.dream(
                believed(model, episode, 0), torch.from_numpy(episode.action), samples=1
            )
        data = random_episode(200).observation["observation"]
        expected = data.mean(axis=0) + np.array([0, data[:, 1].std()])
        np.testing.assert_allclose(dream.observation["observation"][5], expected, rtol=1e-3)

    @pytest.mark.parametrize(
        ("network", "shape"), [("dense", (5, 4, 3)), ("convolutional", (64, 64, 3))]
    )
    def test_images_are_levels_of_the_camera(
        self, network: str, shape: tuple[int, int, int]
    ) -> None:
        camera = {"camera": shape}
        model, episode = rssm(camera, image_network=network), random_episode(images=camera)
        frames = torch.from_numpy(episode.observation["camera"])
        scale: Any = model.image_scales["camera"]
        assert torch.equal(scale.pixels(scale(frames, 0.5)), frames)
        assert scale.pixels(torch.full(shape, 1e6)).unique().tolist() == [255]
        assert scale.pixels(torch.full(shape, -1e6)).unique().tolist() == [0]
        with torch.no_grad():
            dream = model.dream(
                believed(model, episode, 0), torch.from_numpy(episode.action), samples=2
            )
        assert dream.observation["camera"].shape == (12, *shape)
        assert dream.observation["camera"].dtype == torch.uint8


class TestFiltering:
    def test_begins_with_the_middle_action_and_takes_in_every_frame(self) -> None:
        model, episode = rssm(CAMERA), random_episode(images=CAMERA)
        with torch.no_grad():
            beliefs = list(model.filtered(episode))
            first = model.observe(model.initial_belief(), torch.tensor([0.0, 5.0]), at(episode, 0))
            second = model.observe(first, torch.from_numpy(episode.action[0]), at(episode, 1))
        assert torch.equal(beliefs[0], first)
        assert torch.equal(beliefs[1], second)
        assert len(beliefs) == 13


def copy_with_episodes(run: Path, target: Path, *episodes: Episode) -> Path:
    """A run with other episodes in it, numbered from 0."""
    shutil.copytree(run, target)
    shutil.rmtree(target / "episodes")
    (target / "episodes").mkdir()
    for number, episode in enumerate(episodes):
        save_episode(episode, target / "episodes" / f"episode-{number:06d}.npz")
    return target


def shortened(episode: Episode, steps: int) -> Episode:
    return dataclasses.replace(
        episode,
        observation={name: seen[: steps + 1] for name, seen in episode.observation.items()},
        action=episode.action[:steps],
        reward=episode.reward[:steps],
        environment_steps=steps,
    )


def with_observation(episode: Episode, **parts: NDArray[Any]) -> Episode:
    """An episode with other values of some parts."""
    return dataclasses.replace(episode, observation={**episode.observation, **parts})


class TestDreamOf:
    def test_default_goes_to_the_end_of_the_newest_episode(self, tiny_run: Path) -> None:
        dreamt = dream_of(tiny_run)
        assert (dreamt.number, dreamt.context, dreamt.steps) == (5, 5, FRAMES - 5)

    def test_default_passes_over_what_is_too_short(self, tiny_run: Path, tmp_path: Path) -> None:
        whole = EpisodeStore(tiny_run / "episodes").episodes[0]
        lengths = (12, 20, 15, 3)
        episodes = [shortened(whole, steps) for steps in lengths]
        run = copy_with_episodes(tiny_run, tmp_path / "run", *episodes)
        # None has 50 steps to predict: the longest does then.
        assert dream_of(run).number == 1
        assert dream_of(run, steps=10).number == 2
        assert dream_of(run, steps=1, context=3).number == 3
        assert dream_of(run, number=0).steps == 12 - 5 + 1

    def test_a_long_episode_is_predicted_for_so_many_steps(
        self, tiny_run: Path, tmp_path: Path
    ) -> None:
        first = EpisodeStore(tiny_run / "episodes").episodes[0]
        long = Episode(
            observation={"observation": np.tile(first.observation["observation"][:1], (91, 1))},
            action=np.tile(first.action[:1], (90, 1)),
            reward=np.zeros(90),
            terminated=False,
            truncated=True,
        )
        run = copy_with_episodes(tiny_run, tmp_path / "run", long)
        assert dream_of(run).steps == dreams.LONGEST_PREDICTION == 50

    def test_model_sees_the_context_and_nothing_more(
        self, picture_run: Path, tmp_path: Path
    ) -> None:
        episode = EpisodeStore(picture_run / "episodes").episodes[-1]

        def dreamt(changed: int | None) -> NDArray[np.float32]:
            vector = episode.observation["observation"].copy()
            frames = episode.observation["camera"].copy()
            if changed is not None:
                vector[changed] += 1
                frames[changed] = 255 - frames[changed]
            other = with_observation(episode, observation=vector, camera=frames)
            run = copy_with_episodes(picture_run, tmp_path / str(changed), other)
            return dream_of(run, context=4).dream.observation["observation"].numpy()

        expected = dreamt(None)
        assert len(expected) == FRAMES - 4
        np.testing.assert_array_equal(dreamt(4), expected)
        assert np.abs(dreamt(3) - expected).max() > 1e-4

    def test_seed_decides_on_the_samples(self, picture_run: Path) -> None:
        def sampled(seed: int) -> NDArray[np.float32]:
            return dream_of(picture_run, samples=4, seed=seed).dream.sampled_reward.numpy()

        assert sampled(1).shape == (4, FRAMES - 5)
        np.testing.assert_array_equal(sampled(1), sampled(1))
        assert np.abs(sampled(1) - sampled(2)).max() > 0

    def test_errors_are_root_mean_squares_over_the_places_that_reach_so_far(
        self, picture_run: Path
    ) -> None:
        """An episode of 20 steps seen up to frame 16: predictions from 17 to 20 places."""
        dreamt = dream_of(picture_run, number=0, context=17, steps=3)
        frames = dreamt.episode.observation["camera"].astype(int)
        assert np.abs(np.diff(frames[16:], axis=0)).max(axis=(1, 2, 3)).min() > 10  # it moves
        assert [errors["steps"] for errors in dreamt.errors] == [1, 3]
        assert [errors["starts"] for errors in dreamt.errors] == [4, 2]
        model = open_checkpoint(picture_run, {}).averaged
        episode = dreamt.episode
        squares: dict[str, list[float]] = {"reward": [], "observation": [], "images/camera": []}
        for start in (16, 17):
            actions = torch.from_numpy(episode.action[start : start + 3])
            with torch.no_grad():
                dream = model.dream(believed(model, episode, start), actions, 0)
            predicted = {name: values[2].numpy() for name, values in dream.observation.items()}
            truth = {name: values[start + 3] for name, values in episode.observation.items()}
            for name, error in (
                ("reward", dream.reward[2] - episode.reward[start + 2]),
                ("observation", predicted["observation"] - truth["observation"]),
                ("images/camera", predicted["camera"].astype(float) - truth["camera"]),
            ):
                squares[name].append(float(np.square(np.asarray(error, float)).mean()))
        for name, values in squares.items():
            assert dreamt.errors[1][name] == pytest.approx(np.sqrt(np.mean(values)), rel=1e-5)

    def test_leaves_the_run_as_it_is(self, tiny_run: Path) -> None:
        def contents() -> dict[Path, bytes]:
            return {file: file.read_bytes() for file in tiny_run.rglob("*") if file.is_file()}

        before = contents()
        dream_of(tiny_run)
        assert contents() == before

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ({"number": 6}, r"episode 6: not in .*episodes, which holds 0 to 5"),
            ({"context": 21}, r"episode 5, the longest, has 21 frames, expected at least 22"),
            ({"number": 2, "context": 40}, r"episode 2 has 21 frames, expected at least 41: 40 of"),
            ({"steps": 17}, r"has 21 frames, expected at least 22: 5 of context and 17 to predict"),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, tiny_run: Path, arguments: dict[str, int], reason: str
    ) -> None:
        with pytest.raises(UserError, match=reason):
            dream_of(tiny_run, **arguments)

    def test_the_last_frame_can_be_predicted(self, tiny_run: Path) -> None:
        assert dream_of(tiny_run, context=20).steps == 1
        assert dream_of(tiny_run, steps=16).steps == 16

    def test_folder_without_a_checkpoint_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="holds no checkpoint"):
            dream_of(tmp_path)

    def test_run_without_episodes_is_refused(self, tiny_run: Path, tmp_path: Path) -> None:
        run = copy_with_episodes(tiny_run, tmp_path / "run")
        with pytest.raises(UserError, match="holds no episodes"):
            dream_of(run)


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
        with Image.open(files[2]) as gif:
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
        headings = []
        monkeypatch.setattr(
            dream_pictures,
            "_sheet",
            lambda columns: (
                headings.append([column.heading for column in columns]) or Image.new("RGB", (4, 4))
            ),
        )
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
        with Image.open(tmp_path / "a.gif") as gif:
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
        with Image.open(tmp_path / "a.gif") as gif:
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
