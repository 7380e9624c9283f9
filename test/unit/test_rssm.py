"""The recurrent state-space model: against literal versions, exact answers, and as a learner."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from batches import part_of_batch, signature_of
from numpy.typing import NDArray
from torch import Tensor

from planet_ros.bundle.export import BundleExporter, _replace_weights
from planet_ros.config import RssmSettings
from planet_ros.data import Episode, Replay, Statistics
from planet_ros.models.contract import Imagined, TorchBatch
from planet_ros.models.rssm import Rssm

LOW = np.array([-2.0, 0.0], dtype=np.float32)
HIGH = np.array([2.0, 10.0], dtype=np.float32)
PATHS = ["both", "stochastic", "deterministic"]
each_path = pytest.mark.parametrize("path", PATHS)


@pytest.fixture(autouse=True)
def same_random_numbers_and_one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def rssm(observation: int = 3, predict_continue: bool = False, **settings: Any) -> Rssm:
    small = {"deterministic_size": 7, "stochastic_size": 4, "hidden_size": 9, **settings}
    return Rssm(signature_of(observation, LOW, HIGH), RssmSettings(**small), predict_continue)


def random_episode(rng: np.random.Generator, steps: int = 200) -> Episode:
    return Episode(
        observation={
            "observation": rng.normal(
                [5.0, -300.0, 0.01], [0.1, 50.0, 0.001], (steps + 1, 3)
            ).astype(np.float32)
        },
        action=rng.uniform(LOW, HIGH, (steps, 2)).astype(np.float32),
        reward=rng.normal(-40.0, 12.0, steps),
        terminated=False,
        truncated=True,
    )


def fitted(rng: np.random.Generator, **settings: Any) -> Rssm:
    model = rssm(**settings)
    model.fit_normalization(Statistics.of([random_episode(rng)]))
    return model


def batch_of(episodes: list[Episode]) -> TorchBatch:
    return TorchBatch(
        observation={
            name: torch.from_numpy(np.stack([episode.observation[name] for episode in episodes]))
            for name in episodes[0].observation
        },
        action=torch.from_numpy(np.stack([episode.action for episode in episodes])),
        reward=torch.from_numpy(np.stack([episode.reward for episode in episodes])).float(),
        continues=torch.from_numpy(
            np.random.default_rng(0).integers(2, size=(len(episodes), len(episodes[0])))
        ).float(),
        mask=torch.ones(len(episodes), len(episodes[0])),
    )


def filtered(model: Rssm, observation: Mapping[str, Tensor], action: Tensor) -> Tensor:
    """Beliefs (L + 1, B) after each of L + 1 observations, by the public filter alone."""
    belief, beliefs = model.initial_belief(), []
    for step, taken in enumerate([torch.tensor(model.signature.middle), *action]):
        belief = model.observe(belief, taken, at(observation, step))
        beliefs.append(belief)
    return torch.stack(beliefs)


def at(observation: Mapping[str, Any], step: int | slice) -> dict[str, Tensor]:
    """One observation, or some, of a sequence."""
    return {name: torch.as_tensor(values[step]) for name, values in observation.items()}


class Literal:
    """The model once more, from its state alone, one vector at a time in double precision."""

    def __init__(self, model: Rssm) -> None:
        self.state = {name: value.double().numpy() for name, value in model.state_dict().items()}
        self.settings = model.settings
        self.has_state = model.settings.path != "stochastic"
        self.has_noise = model.settings.path != "deterministic"
        self.size = model.settings.deterministic_size if self.has_state else 0

    def dense(self, name: str, *inputs: NDArray[Any]) -> NDArray[Any]:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return np.concatenate(inputs) @ weight + bias

    def active(self, x: NDArray[Any]) -> NDArray[Any]:
        if self.settings.activation == "silu":
            return x / (1 + np.exp(-x))
        assert self.settings.activation == "elu"
        return np.where(x > 0, x, np.expm1(x))

    def gaussian(self, output: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        if not self.has_noise:
            return output, np.ones_like(output)
        mean, raw = np.split(output, 2)
        return mean, np.log1p(np.exp(raw)) + self.settings.min_std

    def advance(
        self, belief: NDArray[Any], action: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Deterministic state and context after an action (A,) in its own units."""
        state, latent = belief[: self.size], belief[self.size :]
        scaled = (action - self.state["action_mean"]) * self.state["action_factor"]
        hidden = self.active(self.dense("transition", latent, scaled))
        if not self.has_state:
            return state, hidden
        reset, update, candidate = np.split(self.dense("gates", hidden, state), 3)
        candidate = np.tanh(candidate / (1 + np.exp(-reset)))
        keep = 1 - 1 / (1 + np.exp(-update))
        state = keep * state + (1 - keep) * candidate
        return state, state

    def prior(self, context: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.gaussian(
            self.dense("prior_output", self.active(self.dense("prior_hidden", context)))
        )

    def posterior(
        self, context: NDArray[Any], observation: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        seen = (observation - self.state["observation_mean"]) * self.state["observation_factor"]
        encoded = self.active(self.dense("encoder", seen))
        hidden = self.active(self.dense("posterior_hidden", context, encoded))
        return self.gaussian(self.dense("posterior_output", hidden))

    def head(self, name: str, belief: NDArray[Any]) -> NDArray[Any]:
        hidden = self.active(self.dense(f"{name}.hidden", belief))
        return self.dense(f"{name}.output", hidden)

    def observe(
        self, belief: NDArray[Any], action: NDArray[Any], observation: NDArray[Any]
    ) -> NDArray[Any]:
        state, context = self.advance(belief, action)
        return np.concatenate([state, self.posterior(context, observation)[0]])


CONFIGURATIONS: list[dict[str, Any]] = [
    {},
    {"path": "stochastic", "predict_continue": True},
    {"path": "deterministic"},
    {"activation": "silu", "predict_continue": True, "disagreement_samples": 3, "min_std": 0.4},
    {"path": "stochastic", "disagreement_samples": 2},
]
each_configuration = pytest.mark.parametrize("settings", CONFIGURATIONS, ids=str)


@each_configuration
def test_filter_and_imagination_are_those_of_a_slow_literal_version(
    settings: dict[str, Any],
) -> None:
    rng = np.random.default_rng(0)
    model = fitted(rng, **settings)
    literal = Literal(model)
    episode = random_episode(rng, steps=6)
    expected = np.zeros(model.belief_size)
    for action, observation in zip(
        [(LOW + HIGH) / 2, *episode.action], episode.observation["observation"], strict=True
    ):
        expected = literal.observe(expected, action, observation)
    with torch.no_grad():
        belief = filtered(
            model, at(episode.observation, slice(None)), torch.from_numpy(episode.action)
        )[-1]
        np.testing.assert_allclose(belief.numpy(), expected, rtol=1e-4, atol=1e-5)
        actions = rng.uniform(LOW, HIGH, (4, 5, 2))
        found = model.imagine(belief, torch.from_numpy(actions).float())

    rewards, continues, disagreement = np.empty((4, 5)), np.ones((4, 5)), np.zeros((4, 5))
    scale = literal.state["reward_std"], literal.state["reward_mean"]
    for candidate in range(4):
        now = expected
        for step in range(5):
            state, context = literal.advance(now, actions[candidate, step])
            mean, std = literal.prior(context)
            now = np.concatenate([state, mean])
            rewards[candidate, step] = literal.head("reward", now)[0] * scale[0] + scale[1]
            if settings.get("predict_continue"):
                logit = literal.head("continuation", now)[0]
                continues[candidate, step] = 1 / (1 + np.exp(-logit))
            if settings.get("disagreement_samples"):
                drawn = [
                    literal.head("reward", np.concatenate([state, mean + std * noise[0]]))[0]
                    for noise in literal.state["disagreement_noise"]
                ]
                disagreement[candidate, step] = np.std(drawn) * scale[0]
    assert_same_imagined(
        found,
        (
            rewards,
            continues if settings.get("predict_continue") else None,
            disagreement if settings.get("disagreement_samples") else None,
        ),
        rtol=1e-4,
    )


def assert_same_imagined(found: Any, expected: Any, rtol: float) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-4)


@each_path
@pytest.mark.parametrize("free_nats", [0.0, 1.5])
def test_loss_is_that_of_a_slow_literal_version(path: str, free_nats: float) -> None:
    rng = np.random.default_rng(0)
    model = fitted(
        rng,
        path=path,
        free_nats=free_nats,
        predict_continue=True,
        observation_std=0.5,
        reward_std=0.2,
        kl_weight=0.3,
    )
    episodes = [random_episode(rng, steps=5) for _ in range(3)]
    batch, noise = batch_of(episodes), torch.randn(6, 3, 4)
    with torch.no_grad():
        loss, metrics = model._loss(batch, noise)

    literal = Literal(model)
    terms: dict[str, list[float]] = {
        "observation_loss": [],
        "reward_loss": [],
        "kl": [],
        "continue_loss": [],
    }
    for sequence, episode in enumerate(episodes):
        belief = np.zeros(model.belief_size)
        for step, action in enumerate([(LOW + HIGH) / 2, *episode.action]):
            state, context = literal.advance(belief, action)
            seen = episode.observation["observation"][step]
            mean, std = literal.posterior(context, seen)
            prior_mean, prior_std = literal.prior(context)
            spread = std if literal.has_noise else 0
            latent = mean + spread * noise[step, sequence].double().numpy()
            belief = np.concatenate([state, latent])
            normal = literal.state["observation_mean"], literal.state["observation_factor"]
            error = literal.head("decoder", belief) - (seen - normal[0]) * normal[1]
            terms["observation_loss"].append(np.sum(error**2) / 2 / 0.5**2)
            kl = np.sum(
                np.log(prior_std / std)
                + (std**2 + (mean - prior_mean) ** 2) / (2 * prior_std**2)
                - 0.5
            )
            terms["kl"].append(max(kl, free_nats))
            if step:
                reward = (episode.reward[step - 1] - literal.state["reward_mean"]) / (
                    literal.state["reward_std"]
                )
                error = literal.head("reward", belief)[0] - reward
                terms["reward_loss"].append(error**2 / 2 / 0.2**2)
                chance = 1 / (1 + np.exp(-literal.head("continuation", belief)[0]))
                goes_on = float(batch.continues[sequence, step - 1])
                terms["continue_loss"].append(-np.log(chance if goes_on else 1 - chance))
    expected = {name: float(np.mean(values)) for name, values in terms.items()}
    expected["loss"] = sum(expected.values()) - 0.7 * expected["kl"]
    assert {name: float(value) for name, value in metrics.items()} == pytest.approx(
        expected, rel=1e-4
    )
    assert float(loss) == pytest.approx(expected["loss"], rel=1e-4)


@each_path
def test_filter_is_the_training_path_without_noise(path: str) -> None:
    rng = np.random.default_rng(0)
    model = fitted(rng, path=path)
    batch = batch_of([random_episode(rng, steps=30) for _ in range(3)])
    observation = model._normalized_vectors(
        {name: values.transpose(0, 1) for name, values in batch.observation.items()}
    )
    action = model._normalized_action(batch.action.transpose(0, 1))
    drive = model._drive(torch.cat([torch.zeros(1, 3, 2), action]))
    with torch.no_grad():
        embedding = model._embedding(observation, {})
        states, latents, posterior = model._filter(drive, embedding, torch.zeros(31, 3, 4))
        torch.testing.assert_close(latents, posterior.mean)
        for sequence in range(3):
            beliefs = filtered(model, at(batch.observation, sequence), batch.action[sequence])
            expected = model._features(states, posterior.mean)[:, sequence]
            torch.testing.assert_close(beliefs, expected, rtol=1e-4, atol=1e-5)


@each_path
@pytest.mark.parametrize("activation", ["elu", "silu", "tanh", "relu"])
def test_gradient_of_the_filter_is_that_of_autograd(path: str, activation: str) -> None:
    """Step by step with autograd, against the gradient written by hand, in double precision."""
    model = rssm(path=path, activation=activation).double()
    drive, evidence = (torch.randn(6, 5, 9).double().requires_grad_() for _ in range(2))
    noise = torch.randn(6, 5, 4).double()
    model._evidence = lambda observation: observation  # type: ignore
    fast = model._filter(drive, evidence, noise)

    belief = torch.zeros(5, model.belief_size).double()
    steps: list[tuple[Tensor, ...]] = []
    for step in range(6):
        state, context = model._advance(*model._split(belief), drive[step])
        mean, std = model._posterior(context, evidence[step])
        latent = mean if path == "deterministic" else mean + std * noise[step]
        belief = model._features(state, latent)
        steps.append((context, latent, mean, std))
    slow = [torch.stack(values) for values in zip(*steps, strict=True)]
    inputs = [
        drive,
        evidence,
        model.transition.weight,
        *([model.gates.weight, model.gates.bias] if path != "stochastic" else []),
        model.posterior_hidden.weight,
        *model.posterior_output.parameters(),
    ]
    found = [fast[0], fast[1], *fast[2]]
    along = [torch.randn_like(value) for value in slow]
    gradients = []
    for values in (found, slow):
        total = sum((value * weight).sum() for value, weight in zip(values, along, strict=True))
        gradients.append(torch.autograd.grad(total, inputs))  # type: ignore[arg-type]
    for one, other in zip([*found, *gradients[0]], [*slow, *gradients[1]], strict=True):
        torch.testing.assert_close(one, other)


@each_path
def test_loss_of_a_batch_is_the_mean_of_its_sequences_alone(path: str) -> None:
    rng = np.random.default_rng(0)
    model = fitted(rng, path=path, free_nats=1.0)
    batch = batch_of([random_episode(rng, steps=8) for _ in range(4)])
    noise = torch.randn(9, 4, 4)
    whole, _ = model._loss(batch, noise)
    alone = [
        model._loss(
            part_of_batch(batch, slice(one, one + 1)),
            noise[:, one : one + 1],
        )[0]
        for one in range(4)
    ]
    torch.testing.assert_close(whole, torch.stack(alone).mean())


def test_balance_moves_the_gradient_between_prior_and_posterior() -> None:
    """Only the prior's output layer feels the KL alone: its gradient is twice its share."""
    rng = np.random.default_rng(0)
    episodes, noise = [random_episode(rng, steps=5)], torch.randn(6, 1, 4)
    gradients = {}
    for balance in (0.5, 0.8, 1.0, 0.0):
        torch.manual_seed(1)
        model = fitted(np.random.default_rng(1), kl_balance=balance)
        loss, _ = model._loss(batch_of(episodes), noise)
        (gradients[balance],) = torch.autograd.grad(loss, [model.prior_output.weight])
    assert gradients[0.5].abs().max() > 0
    for balance, gradient in gradients.items():
        torch.testing.assert_close(gradient, 2 * balance * gradients[0.5])


def test_overshooting_adds_to_the_loss_and_teaches_the_prior_only_through_rollouts() -> None:
    rng = np.random.default_rng(0)
    model = fitted(rng, overshooting_distance=4, overshooting_weight=0.5, kl_weight=0.2)
    batch = batch_of([random_episode(rng, steps=8) for _ in range(2)])
    loss, metrics = model.loss(batch, 1)
    assert float(metrics["overshooting_kl"]) > 0
    parts = metrics["observation_loss"] + metrics["reward_loss"] + 0.2 * metrics["kl"]
    torch.testing.assert_close(loss.detach(), parts + 0.1 * metrics["overshooting_kl"])
    plain = fitted(rng)
    assert "overshooting_kl" not in plain.loss(batch, 1)[1]


@pytest.mark.parametrize("last", [0, 3])
def test_reward_before_the_first_observation_does_not_exist(last: int) -> None:
    """The heads of reward and continuation see one step less than the decoder."""
    rng = np.random.default_rng(0)
    model = fitted(rng, predict_continue=True)
    batch = batch_of([random_episode(rng, steps=4)])
    scored: dict[str, torch.Size] = {}
    for name in ("decoder", "reward", "continuation"):
        getattr(model, name).register_forward_hook(
            lambda module, inputs, output, name=name: scored.update({name: inputs[0].shape})
        )
    model.loss(batch, 1)
    assert [scored[name][0] for name in ("decoder", "reward", "continuation")] == [5, 4, 4]


class TestAblations:
    def test_without_a_stochastic_path_nothing_is_random(self) -> None:
        rng = np.random.default_rng(0)
        batch = batch_of([random_episode(rng, steps=6)])
        for path, random in (("both", True), ("stochastic", True), ("deterministic", False)):
            model = fitted(rng, path=path, overshooting_distance=3)
            losses = {float(model.loss(batch, 1)[0].detach()) for _ in range(3)}
            assert (len(losses) > 1) == random, path

    def test_without_a_deterministic_path_the_latent_is_all_that_is_carried(self) -> None:
        """With the latent forgotten, the past is gone; with a deterministic state it is not."""
        rng = np.random.default_rng(0)
        for path, remembers in (("stochastic", False), ("both", True), ("deterministic", True)):
            model = fitted(rng, path=path)
            with torch.no_grad():
                model.transition.weight[:4] = 0  # the latent no longer reaches what follows
            observation = random_episode(rng, steps=3).observation
            action = torch.zeros(3, 2)
            # The first observation acts on the deterministic state through the latent alone: let
            # it be the action before it that differs.
            beliefs = []
            for first in (LOW, HIGH):
                belief = model.observe(
                    model.initial_belief(), torch.from_numpy(first), at(observation, 0)
                )
                for step, taken in enumerate(action, start=1):
                    belief = model.observe(belief, taken, at(observation, step))
                beliefs.append(belief.detach())
            assert torch.equal(*beliefs) != remembers, path

    def test_without_a_deterministic_path_there_are_no_gates(self) -> None:
        assert not hasattr(rssm(path="stochastic"), "gates")
        assert rssm(path="stochastic").belief_size == 4
        assert rssm(path="deterministic").belief_size == 11

    @each_path
    def test_every_weight_learns(self, path: str) -> None:
        rng = np.random.default_rng(0)
        model = fitted(rng, path=path, predict_continue=True)
        model.loss(batch_of([random_episode(rng, steps=6) for _ in range(4)]), 1)[0].backward()
        for name, weight in model.named_parameters():
            assert weight.grad is not None and weight.grad.abs().max() > 0, name

    def test_posterior_of_the_deterministic_path_does_not_give_way_to_the_prior(self) -> None:
        rng = np.random.default_rng(0)
        batch = batch_of([random_episode(rng, steps=6)])
        gradients = []
        for weight in (0.1, 50.0):
            torch.manual_seed(3)
            model = fitted(np.random.default_rng(1), path="deterministic", kl_weight=weight)
            loss, _ = model.loss(batch, 1)
            last = torch.autograd.grad(loss, [model.decoder.output.weight, model.encoder.weight])
            gradients.append(last)
        torch.testing.assert_close(gradients[0][0], gradients[1][0])


CAMERAS = {
    "dense": {"camera": (4, 5, 3), "wrist": (2, 2, 1)},
    "convolutional": {"camera": (64, 64, 1)},
}
"""Images that each kind of network takes."""


def seeing(observation: int = 3, network: str = "dense", **settings: Any) -> Rssm:
    small = {"deterministic_size": 7, "stochastic_size": 4, "hidden_size": 9, **settings}
    small |= {"image_hidden_size": 11, "image_network": network}
    return Rssm(signature_of(observation, LOW, HIGH, CAMERAS[network]), RssmSettings(**small))


def seen_episode(
    rng: np.random.Generator, steps: int = 200, observation: int = 3, network: str = "dense"
) -> Episode:
    episode = random_episode(rng, steps)
    vectors = {name: values[:, :observation] for name, values in episode.observation.items()}
    return dataclasses.replace(
        episode,
        observation={
            **(vectors if observation else {}),
            **{
                name: rng.integers(256, size=(steps + 1, *shape), dtype=np.uint8)
                for name, shape in CAMERAS[network].items()
            },
        },
    )


@pytest.mark.parametrize("observation", [0, 3])
@pytest.mark.parametrize("network", CAMERAS)
class TestImages:
    def test_filter_is_the_training_path_without_noise(
        self, network: str, observation: int
    ) -> None:
        rng = np.random.default_rng(0)
        model = seeing(observation, network)
        episodes = [seen_episode(rng, 6, observation, network) for _ in range(3)]
        model.fit_normalization(Statistics.of(episodes))
        batch = batch_of(episodes)
        with torch.no_grad():
            drive = model._drive(
                torch.cat(
                    [torch.zeros(1, 3, 2), model._normalized_action(batch.action.transpose(0, 1))]
                )
            )
            embedding = model._embedding(
                model._normalized_vectors(batch.observation),
                {
                    name: scale(batch.observation[name], 0.0)
                    for name, scale in model.image_scales.items()
                },
            ).transpose(0, 1)
            states, _, posterior = model._filter(drive, embedding, torch.zeros(7, 3, 4))
            for sequence, episode in enumerate(episodes):
                belief = model.initial_belief()
                action = torch.from_numpy((LOW + HIGH) / 2)
                for step in range(7):
                    belief = model.observe(belief, action, at(episode.observation, step))
                    expected = model._features(states, posterior.mean)[step, sequence]
                    torch.testing.assert_close(belief, expected, rtol=1e-4, atol=1e-5)
                    action = batch.action[sequence, min(step, 5)]

    def test_reconstruction_is_scored_in_units_of_the_spread_of_all_pixels(
        self, network: str, observation: int
    ) -> None:
        rng = np.random.default_rng(0)
        model = seeing(observation, network, image_std=2.0, observation_std=0.5)
        episodes = [seen_episode(rng, 6, observation, network) for _ in range(3)]
        model.fit_normalization(Statistics.of(episodes))
        for decoder in [*model.image_decoders.values(), *([model.decoder] if observation else [])]:
            for weight in decoder.parameters():
                weight.data.zero_()
        _, metrics = model.loss(batch_of(episodes), 1)
        # What says nothing of a picture errs by one spread for each of its numbers.
        numbers = sum(math.prod(shape) for shape in CAMERAS[network].values())
        expected = numbers / 2 / 2.0**2 + observation / 2 / 0.5**2
        assert float(metrics["observation_loss"]) == pytest.approx(expected, rel=1e-3)

    def test_every_weight_learns(self, network: str, observation: int) -> None:
        rng = np.random.default_rng(0)
        model = seeing(observation, network)
        episodes = [seen_episode(rng, 6, observation, network) for _ in range(3)]
        model.fit_normalization(Statistics.of(episodes))
        model.loss(batch_of(episodes), 1)[0].backward()
        for name, weight in model.named_parameters():
            assert weight.grad is not None and weight.grad.abs().max() > 0, name

    def test_graphs_say_what_torch_says_after_the_weights_were_replaced(
        self, network: str, observation: int, tmp_path: Path
    ) -> None:
        rng = np.random.default_rng(0)
        model = seeing(observation, network, image_bits=5)
        exporter = BundleExporter(model, 4)
        model.fit_normalization(Statistics.of([seen_episode(rng, 50, observation, network)]))
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.5)
        observe = TestExport.session(exporter, "observe", model)
        episode = seen_episode(rng, 50, observation, network)
        belief, torch_belief = np.zeros(model.belief_size, np.float32), model.initial_belief()
        with torch.no_grad():
            for step in range(50):
                inputs = {"belief": belief, "action": episode.action[step]}
                inputs |= {name: values[step] for name, values in episode.observation.items()}
                (belief,) = observe.run(None, inputs)
                torch_belief = model.observe(
                    torch_belief,
                    torch.from_numpy(episode.action[step]),
                    at(episode.observation, step),
                )
                np.testing.assert_allclose(belief, torch_belief.numpy(), atol=1e-4)


@pytest.mark.parametrize(("bits", "levels"), [(1, 2), (5, 32), (8, 256)])
def test_model_sees_as_many_levels_as_it_has_bits(bits: int, levels: int) -> None:
    scale = seeing(image_bits=bits).image_scales["wrist"]
    every = torch.arange(256, dtype=torch.uint8).reshape(64, 2, 2, 1)
    seen = scale(every, 0.5)
    assert len(seen.unique()) == levels
    # By default 0 … 255 are -0.5 … 0.5; the middle of a step stands for all of it.
    assert float((seen - (every / 255.0 - 0.5)).abs().max()) <= (256 / levels) / 255
    upper = scale(every, 1.0) - scale(every, 0.0)
    width = 0.0 if bits == 8 else 256 / levels / 255
    torch.testing.assert_close(upper, torch.full_like(upper, width))


def test_dequantisation_is_random_while_learning_and_fills_the_step() -> None:
    model = seeing(image_bits=5)
    frames = torch.zeros(50, 20, 2, 2, 1, dtype=torch.uint8)
    noise = model._dequantisation(frames)
    assert isinstance(noise, Tensor)
    assert noise.shape == frames.shape
    assert float(noise.min()) < 0.01 and float(noise.max()) > 0.99
    assert model._dequantisation(frames).ne(noise).any()  # type: ignore[union-attr]


@each_path
def test_what_lies_past_the_end_of_an_episode_changes_nothing(path: str) -> None:
    """A short episode beside a long one: its padding has neither loss nor gradient."""
    rng = np.random.default_rng(0)
    model = rssm(path=path, predict_continue=True, overshooting_distance=3)
    model.fit_normalization(Statistics.of([random_episode(rng)]))
    sampler = Replay.of([random_episode(rng, 8), random_episode(rng, 5)], 8).sampler()
    batch = sampler.at(np.array([0, 1]))
    results = []
    for fill in (0.0, 1e3):
        arrays = {
            name: torch.from_numpy(getattr(batch, name).copy())
            for name in ("action", "reward", "continues", "mask")
        }
        seen = torch.from_numpy(batch.observation["observation"].copy())
        seen[1, 6:] += fill
        arrays["action"][1, 5:] += fill
        arrays["reward"][1, 5:] += fill
        torch.manual_seed(3)
        model.zero_grad()
        loss, metrics = model.loss(TorchBatch({"observation": seen}, **arrays), 1)
        loss.backward()
        results.append([loss, *metrics.values(), *(w.grad.clone() for w in model.parameters())])  # type: ignore[union-attr]
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_predictions_do_not_depend_on_the_units_of_the_data() -> None:
    rng = np.random.default_rng(0)
    scale, offset = np.array([1e-3, 40.0, 1.0]), np.array([0.0, 100.0, -3.0])
    centre = np.array([5.0, -300.0, 0.01])
    episode = random_episode(rng, steps=50)
    other_episode = Episode(
        observation={
            name: ((values - centre) * scale + offset).astype(np.float32)
            for name, values in episode.observation.items()
        },
        action=episode.action * 7 + 1,
        reward=episode.reward * 500 - 20,
        terminated=False,
        truncated=True,
    )
    si = rssm(3)
    other = Rssm(signature_of(3, LOW * 7 + 1, HIGH * 7 + 1), si.settings)
    other.load_state_dict({**other.state_dict(), **dict(si.named_parameters())})
    results = []
    for model, data in ((si, episode), (other, other_episode)):
        model.fit_normalization(Statistics.of([data]))
        action = torch.from_numpy(data.action)
        with torch.no_grad():
            belief = filtered(model, at(data.observation, slice(11)), action[:10])[-1]
            reward = model.imagine(belief, action[None, 10:15])[0]
        results.append((belief, reward))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(results[0][1] * 500 - 20, results[1][1], rtol=1e-3, atol=1e-1)


class TestExport:
    @staticmethod
    def session(exporter: BundleExporter, name: str, model: Rssm) -> onnxruntime.InferenceSession:
        graph = exporter._graphs[name]
        _replace_weights(graph, model.state_dict())
        buffer = io.BytesIO(graph.SerializeToString())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(
            buffer.getvalue(), options, providers=["CPUExecutionProvider"]
        )

    @each_configuration
    def test_graphs_say_what_torch_says_after_the_weights_were_replaced(
        self, settings: dict[str, Any]
    ) -> None:
        """Traced with one set of weights and scales, used with another."""
        rng = np.random.default_rng(0)
        model, horizon = rssm(**settings), 12
        exporter = BundleExporter(model, horizon)
        torch.manual_seed(5)
        learned = fitted(rng, **settings)
        model.load_state_dict(learned.state_dict())
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.5)
        observe = self.session(exporter, "observe", model)
        imagine = self.session(exporter, "imagine", model)

        episode = random_episode(rng, steps=50)
        belief, torch_belief = np.zeros(model.belief_size, np.float32), model.initial_belief()
        with torch.no_grad():
            for step, action in enumerate(episode.action, start=1):
                seen = {name: values[step] for name, values in episode.observation.items()}
                (belief,) = observe.run(None, {"belief": belief, "action": action, **seen})
                torch_belief = model.observe(
                    torch_belief, torch.from_numpy(action), at(episode.observation, step)
                )
                np.testing.assert_allclose(belief, torch_belief.numpy(), atol=1e-4)
            for candidates in (1, 2, 3, 40, 2000):
                actions = rng.uniform(LOW, HIGH, (candidates, horizon, 2)).astype(np.float32)
                found = imagine.run(None, {"belief": belief, "actions": actions})
                names = [node.name for node in imagine.get_outputs()]
                expected = model.imagine(torch_belief, torch.from_numpy(actions))
                assert all(value.shape == (candidates, horizon) for value in found)
                # Rewards are around -40 with a spread of 12.
                named = Imagined(**dict(zip(names, found, strict=True)))
                assert_same_imagined(named, expected, rtol=1e-5)

    def test_few_nodes_for_each_step(self) -> None:
        """Each node costs some microseconds: the step of a small model is made of little else."""
        nodes = []
        for horizon in (10, 20):
            graph = BundleExporter(rssm(), horizon)._graphs["imagine"].graph
            nodes.append(sum(node.op_type != "Constant" for node in graph.node))
        assert (nodes[1] - nodes[0]) / 10 <= 17


def train(
    model: Rssm,
    batches: Iterator[TorchBatch],
    updates: int,
    rate: float = 3e-3,
) -> None:
    """Adam, the rate falling to a tenth so that what is left is not noise."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, updates)
    for _ in range(updates):
        loss, _ = model.loss(next(batches), 1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 100.0)
        optimizer.step()
        schedule.step()


class LinearGaussian:
    """A pushed oscillator of which only the position is seen, with noise; steps from rest."""

    TURN = np.array([[0.9, 0.4], [-0.4, 0.9]]) * 0.95
    PUSH = np.array([0.1, 0.4])
    PROCESS = np.diag([0.05, 0.3]) ** 2
    SENSOR = 0.2**2
    LENGTH = 12

    def sequences(self, rng: np.random.Generator, count: int) -> tuple[Any, Any]:
        """Observations (count, L + 1, 1) and actions (count, L, 1) in [-1, 1]."""
        action = rng.uniform(-1, 1, (count, self.LENGTH, 1))
        state = rng.multivariate_normal(np.zeros(2), np.eye(2), count)
        seen = []
        for step in range(self.LENGTH + 1):
            seen.append(state[:, :1] + rng.normal(0, np.sqrt(self.SENSOR), (count, 1)))
            if step < self.LENGTH:
                noise = rng.multivariate_normal(np.zeros(2), self.PROCESS, count)
                state = state @ self.TURN.T + action[:, step] * self.PUSH + noise
        return np.stack(seen, axis=1).astype(np.float32), action.astype(np.float32)

    def log_likelihood(
        self, observation: NDArray[Any], action: NDArray[Any], filtering: bool = True
    ) -> float:
        """Exact mean log p(o[0..L] | actions) by the Kalman filter, in nats a step.

        Without filtering: of each observation by itself, Σ log p(o[t] | actions).
        """
        mean, cover = np.zeros((len(observation), 2)), np.eye(2)
        total = np.zeros(len(observation))
        for step in range(self.LENGTH + 1):
            if step:
                mean = mean @ self.TURN.T + action[:, step - 1] * self.PUSH
                cover = self.TURN @ cover @ self.TURN.T + self.PROCESS
            variance = cover[0, 0] + self.SENSOR
            error = observation[:, step, 0] - mean[:, 0]
            total += -0.5 * (error**2 / variance + np.log(2 * np.pi * variance))
            if not filtering:
                continue
            gain = cover[:, 0] / variance
            mean = mean + error[:, None] * gain
            cover = cover - np.outer(gain, cover[0])
        return float(total.mean()) / (self.LENGTH + 1)


@pytest.mark.slow
def test_bound_stays_below_the_exact_likelihood_and_comes_close() -> None:
    system, rng = LinearGaussian(), np.random.default_rng(0)
    settings = RssmSettings(
        deterministic_size=24,
        stochastic_size=3,
        hidden_size=24,
        kl_weight=1.0,
        min_std=0.01,
        observation_std=0.2,
    )
    model = Rssm(signature_of(1, [-1], [1]), settings)

    def batch(count: int) -> TorchBatch:
        observation, action = map(torch.from_numpy, system.sequences(rng, count))
        ones = torch.ones(action.shape[:2])
        return TorchBatch({"observation": observation}, action, 0 * ones, ones, ones)

    held_out = batch(2000)
    seen = held_out.observation["observation"].numpy()
    with torch.no_grad():
        model.observation_factor.fill_(1 / float(seen.std()))
    exact = system.log_likelihood(seen, held_out.action.numpy())
    without_memory = system.log_likelihood(seen, held_out.action.numpy(), filtering=False)

    def bound() -> float:
        """In nats a step and in the observation's units, with the constants that the loss omits."""
        with torch.no_grad():
            _, metrics = model.loss(held_out, 1)
        constant = np.log(settings.observation_std * np.sqrt(2 * np.pi)) + np.log(seen.std())
        return -float(metrics["observation_loss"] + metrics["kl"] + constant)

    bounds = [bound()]
    for _ in range(2):
        train(model, iter(lambda: batch(32), None), 200)
        bounds.append(bound())
    # Not even a perfect model can beat the truth on fresh data, but for the chance of the draw.
    assert all(value <= exact + 0.01 for value in bounds), (bounds, exact)
    # The posterior sees no observations to come, so that the bound cannot be quite tight.
    assert bounds[-1] >= exact - 0.2, (bounds, exact)
    assert bounds[-1] >= without_memory + 0.3, (bounds, without_memory)


def turning(rng: np.random.Generator, count: int, length: int = 12) -> TorchBatch:
    """A point turns on a circle by half a radian a step, either way; its height alone is seen.

    The reward of a step is the height after it.
    """
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    sense = rng.choice([-0.5, 0.5], (count, 1))
    height = np.sin(phase + sense * np.arange(length + 1)).astype(np.float32)
    return TorchBatch(
        observation={"observation": torch.from_numpy(height[..., None])},
        action=torch.from_numpy(rng.uniform(-1, 1, (count, length, 1)).astype(np.float32)),
        reward=torch.from_numpy(height[:, 1:]),
        continues=torch.ones(count, length),
        mask=torch.ones(count, length),
    )


@pytest.mark.parametrize("path", ["both", "deterministic"])
def test_what_cannot_be_seen_is_remembered(path: str) -> None:
    """Without memory the next height has a variance of sin²(½)·E[cos²] = 0.115 at least."""
    rng = np.random.default_rng(0)
    settings = RssmSettings(deterministic_size=24, stochastic_size=4, hidden_size=24, path=path)
    model = Rssm(signature_of(1, [-1], [1]), settings)
    train(model, iter(lambda: turning(rng, 32), None), 250)
    memoryless = np.sin(0.5) ** 2 / 2
    unseen = turning(rng, 40)
    errors = []
    with torch.no_grad():
        seen = unseen.observation["observation"]
        for observation, action in zip(seen, unseen.action, strict=True):
            belief = filtered(model, {"observation": observation[:9]}, action[:8])[-1]
            expected = model.imagine(belief, action[None, 8:12]).rewards[0]
            errors.append((expected - observation[9:13, 0]).square().numpy())
    error = np.mean(errors, axis=0)
    assert error[0] < memoryless / 4
    if path == "both":
        assert error.max() < memoryless / 4  # four steps ahead
