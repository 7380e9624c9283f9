"""What a model dreams: open-loop prediction in the units of the environment, and the filter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from planet_ros.config import RssmSettings, WorldModelSettings
from planet_ros.data import ActionPart, Episode, ObservationPart, Signature
from planet_ros.data.statistics import Statistics
from planet_ros.models import Ensemble, Rssm, WorldModel

LOW = np.array([-2.0, 0.0], dtype=np.float32)
HIGH = np.array([2.0, 10.0], dtype=np.float32)
CAMERA = {"camera": (5, 4, 3)}
PATHS = ["both", "stochastic", "deterministic"]


@pytest.fixture(autouse=True)
def same_random_numbers_and_one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


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
