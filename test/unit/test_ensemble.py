"""The ensemble: against the notebook, against slow literal versions, and as a learner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batches import part_of_batch, signature_of
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from planet_ros.config import WorldModelSettings, load_settings
from planet_ros.data import Episode, Replay, Statistics
from planet_ros.models import Ensemble
from planet_ros.models.contract import TorchBatch

LOW = np.array([-2.0, 0.0], dtype=np.float32)
HIGH = np.array([2.0, 10.0], dtype=np.float32)


@pytest.fixture(autouse=True)
def same_random_numbers_and_one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def ensemble(observation: int = 3, **settings: Any) -> Ensemble:
    small = {"members": 3, "hidden_sizes": [8, 6], "predict_continue": False, **settings}
    return Ensemble(signature_of(observation, LOW, HIGH), WorldModelSettings(**small))


def episode_of(
    observation: ArrayLike, action: ArrayLike, reward: ArrayLike, **end: bool
) -> Episode:
    return Episode(
        observation={"observation": np.asarray(observation, dtype=np.float32)},
        action=np.asarray(action, dtype=np.float32),
        reward=np.asarray(reward, dtype=np.float64),
        **{"terminated": False, "truncated": True, **end},
    )


def random_episode(rng: np.random.Generator, steps: int = 200, size: int = 3) -> Episode:
    return episode_of(
        rng.normal([5.0, -300.0, 0.01][:size], [0.1, 50.0, 0.001][:size], (steps + 1, size)),
        rng.uniform(LOW, HIGH, (steps, 2)),
        rng.normal(-40.0, 12.0, steps),
    )


def random_batch(model: Ensemble, rng: np.random.Generator, size: int, length: int) -> TorchBatch:
    shape = (model.members, size, length)
    return TorchBatch(
        observation={
            "observation": torch.from_numpy(
                rng.normal(0, 2, (*shape[:2], length + 1, model.belief_size))
            ).float()
        },
        action=torch.from_numpy(rng.uniform(LOW, HIGH, (*shape, 2))).float(),
        reward=torch.from_numpy(rng.normal(size=shape)).float(),
        continues=torch.from_numpy(rng.integers(2, size=shape)).float(),
        mask=torch.ones(shape),
    )


def fit(model: Ensemble, episodes: list[Episode], updates: int, rate: float = 3e-3) -> None:
    """Learn one-step predictions; the rate falls to zero so that what is left is not noise."""
    model.fit_normalization(Statistics.of(episodes))
    sampler, rng = Replay.of(episodes, 1).sampler(), np.random.default_rng(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, updates)
    for _ in range(updates):
        batch = sampler.sample(model.batch_dimensions(64), rng)
        loss, _ = model.loss(
            TorchBatch(
                {name: torch.from_numpy(values) for name, values in batch.observation.items()},
                torch.from_numpy(batch.action),
                torch.from_numpy(batch.reward),
                torch.from_numpy(batch.continues),
                torch.from_numpy(batch.mask),
            ),
            1,
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def predict(model: Ensemble, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Next observation (E, N, O) and reward (E, N) by each member, as the loss sees them."""
    following, reward = model._means(observation, model._network(observation, action))
    assert reward is not None
    return following, reward


class Literal:
    """The ensemble once more, member by member in double precision, from its state alone."""

    def __init__(self, model: Ensemble, settings: dict[str, Any]) -> None:
        self.state = {name: value.double().numpy() for name, value in model.state_dict().items()}
        self.members, self.size = model.members, model.belief_size
        self.layers = len(model.weights)
        self.settings = settings

    def outputs(self, member: int, observation: NDArray[Any], action: NDArray[Any]) -> NDArray[Any]:
        """Raw outputs of one member for one observation (O,) and action (A,)."""
        state = self.state
        hidden = np.concatenate(
            [
                (observation - state["observation_mean"]) * state["observation_factor"],
                (action - state["action_mean"]) * state["action_factor"],
            ]
        )
        activations: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
            "relu": lambda x: np.maximum(x, 0),
            "tanh": np.tanh,
            "silu": lambda x: x / (1 + np.exp(-x)),
            "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
        }
        activation = activations[self.settings.get("activation", "silu")]
        for layer in range(self.layers):
            hidden = (
                hidden @ state[f"weights.{layer}"][member] + state[f"biases.{layer}"][member, 0]
            )
            if layer < self.layers - 1:
                hidden = activation(hidden)
        return hidden

    def step(
        self, member: int, observation: NDArray[Any], action: NDArray[Any]
    ) -> tuple[NDArray[Any], float, NDArray[Any]]:
        """Next observation (O,), reward, and raw outputs."""
        raw = self.outputs(member, observation, action)
        physical = raw[: self.size + 1] * self.state["target_std"] + self.state["target_mean"]
        following = physical[:-1]
        if self.settings.get("target", "change") == "change":
            following = observation + following
        return following, float(physical[-1]), raw


CONFIGURATIONS: list[dict[str, Any]] = [
    {},
    {"members": 1, "activation": "relu", "target": "state", "normalize": False},
    {"activation": "tanh", "predict_continue": True, "head": "gaussian"},
    {"members": 2, "activation": "elu", "target": "state", "head": "gaussian"},
    {"hidden_sizes": [5], "predict_continue": True},
]
each_configuration = pytest.mark.parametrize("settings", CONFIGURATIONS, ids=str)


class NotebookModel(nn.Module):
    """The notebook's ``DynamicsModel``, as it stands there."""

    def __init__(self, state_dim: int, action_dim: int, hidden_dim: int = 200) -> None:
        super().__init__()
        self.fc1 = nn.Linear(state_dim + action_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, hidden_dim)
        self.fc_next_state = nn.Linear(hidden_dim, state_dim)
        self.fc_reward = nn.Linear(hidden_dim, 1)

    def forward(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([state, action], dim=-1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc_next_state(x), self.fc_reward(x)


class TestNotebook:
    @pytest.fixture
    def pair(self, root: Path) -> tuple[Ensemble, NotebookModel]:
        """The notebook's preset and the notebook's model, with the same weights."""
        settings = load_settings(root / "config" / "pendulum_notebook.yaml").world_model
        model = Ensemble(signature_of(3, [-2], [2]), settings)
        notebook = NotebookModel(3, 1)
        last_weight = torch.cat([notebook.fc_next_state.weight, notebook.fc_reward.weight])
        last_bias = torch.cat([notebook.fc_next_state.bias, notebook.fc_reward.bias])
        layers = [
            (notebook.fc1.weight, notebook.fc1.bias),
            (notebook.fc2.weight, notebook.fc2.bias),
            (last_weight, last_bias),
        ]
        with torch.no_grad():
            for index, (weight, bias) in enumerate(layers):
                model.weights[index].copy_(weight.T[None])
                model.biases[index].copy_(bias[None, None])
        model.fit_normalization(Statistics.of([]))  # the preset takes no scales from data
        return model, notebook

    def test_prediction_is_that_of_the_notebook(self, pair: tuple[Ensemble, NotebookModel]) -> None:
        model, notebook = pair
        state, action = torch.randn(40, 3), 2 * torch.randn(40, 1)
        next_state, reward = predict(model, state[None], action[None])
        expected_state, expected_reward = notebook(state, action)
        torch.testing.assert_close(next_state[0], expected_state)
        torch.testing.assert_close(reward[0], expected_reward[:, 0])

    def test_learning_takes_the_same_steps_as_in_the_notebook(
        self, pair: tuple[Ensemble, NotebookModel], root: Path
    ) -> None:
        model, notebook = pair
        training = load_settings(root / "config" / "pendulum_notebook.yaml").training
        optimizers = [
            torch.optim.AdamW(
                model.parameters(),
                lr=training.learning_rate,
                weight_decay=training.weight_decay,
            ),
            torch.optim.Adam(notebook.parameters(), lr=1e-3),
        ]
        for _ in range(3):
            observation = torch.randn(32, 51, 3)
            action, reward = torch.randn(32, 50, 1), torch.randn(32, 50)
            ones = torch.ones(1, 32, 50)
            batch = TorchBatch(
                {"observation": observation[None]}, action[None], reward[None], ones, ones
            )
            loss, _ = model.loss(batch, training.loss_steps)
            # "we simplify and just predict based on the first step of each sequence"
            next_state, predicted = notebook(observation[:, 0], action[:, 0])
            notebook_loss = F.mse_loss(next_state, observation[:, 1]) + F.mse_loss(
                predicted, reward[:, 0, None]
            )
            torch.testing.assert_close(loss, notebook_loss)
            for one, optimizer in zip((loss, notebook_loss), optimizers, strict=True):
                optimizer.zero_grad()
                one.backward()
                optimizer.step()
        state, action = torch.randn(1, 40, 3), torch.randn(1, 40, 1)
        next_state, reward = predict(model, state, action)
        expected_state, expected_reward = notebook(state, action)
        torch.testing.assert_close(next_state, expected_state, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(reward, expected_reward[..., 0], rtol=1e-4, atol=1e-5)

    def test_candidates_are_worth_what_the_notebook_says(
        self, pair: tuple[Ensemble, NotebookModel]
    ) -> None:
        model, notebook = pair
        initial_state, candidate_actions = torch.randn(3), 2 * torch.randn(50, 12, 1)
        rewards, continues, disagreement = model.imagine(initial_state, candidate_actions)
        # From cem_planner:
        total_rewards = torch.zeros(50)
        current_states = initial_state.repeat(50, 1)
        for t in range(12):
            next_states, step_rewards = notebook(current_states, candidate_actions[:, t, :])
            total_rewards += (0.99**t) * step_rewards.squeeze()
            current_states = next_states
        torch.testing.assert_close(
            (rewards * 0.99 ** torch.arange(12)).sum(dim=1), total_rewards, rtol=1e-4, atol=1e-5
        )
        assert continues is None
        assert disagreement is None


@each_configuration
def test_imagination_is_a_rollout_of_each_member_by_itself(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    model = ensemble(**settings)
    model.fit_normalization(Statistics.of([random_episode(rng)]))
    belief, actions = rng.normal([5, -300, 0], [0.1, 50, 0.001]), rng.uniform(LOW, HIGH, (4, 5, 2))
    with torch.no_grad():
        found = model.imagine(torch.from_numpy(belief).float(), torch.from_numpy(actions).float())
    literal = Literal(model, settings)
    rewards = np.empty((model.members, 4, 5))
    continues = np.ones((model.members, 4, 5))
    for member in range(model.members):
        for candidate in range(4):
            observation = belief
            for step in range(5):
                observation, reward, raw = literal.step(
                    member, observation, actions[candidate, step]
                )
                rewards[member, candidate, step] = reward
                if settings.get("predict_continue"):
                    continues[member, candidate, step] = 1 / (1 + np.exp(-raw[-1]))
    expected = (
        rewards.mean(axis=0),
        continues.mean(axis=0) if settings.get("predict_continue") else None,
        rewards.std(axis=0) if model.members > 1 else None,
    )
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            np.testing.assert_allclose(one.numpy(), other, rtol=1e-3, atol=1e-3)


@each_configuration
@pytest.mark.parametrize("loss_steps", [1, 4])
def test_loss_is_that_of_a_slow_literal_version(settings: dict[str, Any], loss_steps: int) -> None:
    rng = np.random.default_rng(0)
    model = ensemble(**settings)
    model.fit_normalization(
        Statistics.of(
            [episode_of(rng.normal(0, 2, (50, 3)), np.zeros((49, 2)), rng.normal(0, 3, 49))]
        )
    )
    batch = random_batch(model, rng, size=3, length=5)
    loss, metrics = model.loss(batch, loss_steps)

    literal = Literal(model, settings)
    std = literal.state["target_std"]
    observation_terms, reward_terms, continue_terms = [], [], []
    for member in range(model.members):
        for sequence in range(3):
            state = batch.observation["observation"][member, sequence, 0].double().numpy()
            for step in range(loss_steps):
                action = batch.action[member, sequence, step].double().numpy()
                state, reward, raw = literal.step(member, state, action)
                actual = (
                    batch.observation["observation"][member, sequence, step + 1].double().numpy()
                )
                goal = float(batch.reward[member, sequence, step])
                terms = (np.append(state - actual, reward - goal) / std) ** 2
                if settings.get("head") == "gaussian":
                    log_variance = 0.5 - np.log1p(np.exp(0.5 - raw[4:8]))
                    log_variance = -14 + np.log1p(np.exp(log_variance + 14))
                    terms = terms / np.exp(log_variance) + log_variance
                observation_terms.extend(terms[:-1])
                reward_terms.append(terms[-1])
                if settings.get("predict_continue"):
                    chance = 1 / (1 + np.exp(-raw[-1]))
                    goes_on = float(batch.continues[member, sequence, step])
                    continue_terms.append(
                        -goes_on * np.log(chance) - (1 - goes_on) * np.log(1 - chance)
                    )
    expected = {
        "observation_loss": np.mean(observation_terms),
        "reward_loss": np.mean(reward_terms),
    }
    if continue_terms:
        expected["continue_loss"] = np.mean(continue_terms)
    expected["loss"] = sum(expected.values())
    assert {name: float(value) for name, value in metrics.items()} == pytest.approx(
        expected, rel=1e-4
    )
    assert float(loss.detach()) == pytest.approx(expected["loss"] * model.members, rel=1e-4)


@each_configuration
def test_gradient_of_each_member_is_what_it_would_be_alone(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    model = ensemble(**settings)
    model.fit_normalization(Statistics.of([random_episode(rng)]))
    batch = random_batch(model, rng, size=6, length=3)
    model.loss(batch, 2)[0].backward()
    for member in range(model.members):
        alone = ensemble(**{**settings, "members": 1})
        alone.load_state_dict(
            {
                name: value[member : member + 1] if "weights" in name or "biases" in name else value
                for name, value in model.state_dict().items()
            }
        )
        own = part_of_batch(batch, slice(member, member + 1))
        alone.loss(own, 2)[0].backward()
        for one, other in zip(model.parameters(), alone.parameters(), strict=True):
            assert one.grad is not None and other.grad is not None
            torch.testing.assert_close(one.grad[member], other.grad[0], rtol=1e-4, atol=1e-6)


def test_members_begin_with_weights_of_their_own() -> None:
    model = ensemble(members=4)
    for weight in model.weights:
        for member in range(1, 4):
            assert not torch.allclose(weight[0], weight[member])


@pytest.mark.parametrize("target", ["change", "state"])
def test_predictions_do_not_depend_on_the_units_of_the_data(target: str) -> None:
    """The same weights say the same of an environment in metres and of it in inches."""
    rng = np.random.default_rng(0)
    scale, offset = np.array([1e-3, 40.0, 1.0]), np.array([0.0, 100.0, -3.0])
    observation = rng.normal(0, 1, (101, 3)).cumsum(axis=0) / 5
    action, reward = rng.uniform(LOW, HIGH, (100, 2)), rng.normal(3, 2, 100)
    si = ensemble(target=target)
    other = Ensemble(
        signature_of(3, LOW * 7 + 1, HIGH * 7 + 1),
        WorldModelSettings(members=3, hidden_sizes=[8, 6], target=target, predict_continue=False),
    )
    parameters = dict(si.named_parameters())
    other.load_state_dict({**other.state_dict(), **parameters})
    si.fit_normalization(Statistics.of([episode_of(observation, action, reward)]))
    other.fit_normalization(
        Statistics.of([episode_of(observation * scale + offset, action * 7 + 1, reward * 500 - 20)])
    )

    start, taken = observation[:20], action[:20]
    with torch.no_grad():
        after, gain = predict(
            si,
            torch.from_numpy(start).float().expand(3, -1, -1),
            torch.from_numpy(taken).float().expand(3, -1, -1),
        )
        other_after, other_gain = predict(
            other,
            torch.from_numpy(start * scale + offset).float().expand(3, -1, -1),
            torch.from_numpy(taken * 7 + 1).float().expand(3, -1, -1),
        )
    np.testing.assert_allclose(
        (other_after.numpy() - offset) / scale, after.numpy(), rtol=1e-3, atol=1e-3
    )
    np.testing.assert_allclose((other_gain.numpy() + 20) / 500, gain.numpy(), rtol=1e-3, atol=1e-3)


def linear_episodes(rng: np.random.Generator, count: int) -> list[Episode]:
    """A damped linear system in awkward units: small, large and shifted ones."""
    scale, offset = np.array([0.01, 100.0, 1.0]), np.array([5.0, -300.0, 0.0])
    turn = np.array([[0.9, 0.2, 0.0], [-0.2, 0.9, 0.1], [0.0, 0.0, 0.8]])
    push = np.array([[0.3, 0.0], [0.0, 0.05], [0.2, 0.1]])
    episodes = []
    for _ in range(count):
        state = [rng.normal(0, 1, 3)]
        action = rng.uniform(LOW, HIGH, (50, 2))
        for one in action:
            state.append(turn @ state[-1] + push @ one)
        states = np.array(state)
        reward = 1000 * (states[:-1] @ [1.0, -0.5, 0.2] + action @ [0.1, 0.3])
        episodes.append(episode_of(states * scale + offset, action, reward))
    return episodes


@pytest.mark.parametrize("target", ["change", "state"])
@pytest.mark.timeout(60)
def test_linear_dynamics_in_awkward_units_are_learned(target: str) -> None:
    rng = np.random.default_rng(0)
    model = ensemble(members=2, hidden_sizes=[32], target=target)
    fit(model, linear_episodes(rng, 20), updates=800, rate=1e-2)
    (unseen,) = linear_episodes(rng, 1)
    seen = unseen.observation["observation"]
    with torch.no_grad():
        after, reward = predict(
            model,
            torch.from_numpy(seen[:-1]).expand(2, -1, -1),
            torch.from_numpy(unseen.action).expand(2, -1, -1),
        )
    spread = (seen[1:] - seen[:-1]).std(axis=0)
    error = np.sqrt(np.square(after.numpy() - seen[1:]).mean(axis=(0, 1)))
    assert (error / spread < 0.15).all(), error / spread
    reward_error = np.sqrt(np.square(reward.numpy() - unseen.reward).mean())
    assert reward_error / unseen.reward.std() < 0.05


def test_column_that_never_changes_is_not_divided_by_its_spread_of_zero() -> None:
    rng = np.random.default_rng(0)
    observation = rng.normal(size=(30, 3))
    observation[:, 1] = 7.0
    model = ensemble()
    model.fit_normalization(
        Statistics.of([episode_of(observation, np.zeros((29, 2)), np.full(29, -1.0))])
    )
    for value in model.state_dict().values():
        assert torch.isfinite(value).all()
    assert model.observation_factor[1] == 1
    assert model.target_std[1] == model.target_std[3] == 1


@pytest.mark.timeout(60)
def test_gaussian_head_learns_how_noisy_each_number_is() -> None:
    rng = np.random.default_rng(0)
    noise = {"observation": 0.3, "reward": 20.0}
    observation = rng.uniform(-1, 1, (4001, 1))
    # One step is one episode: what comes after is the start of nothing.
    action = rng.uniform(LOW, HIGH, (4000, 2))
    after = 0.5 * observation[:-1] + 0.1 * action[:, :1] + rng.normal(0, 0.3, (4000, 1))
    reward = 100 * observation[:-1, 0] + rng.normal(0, 20, 4000)
    episodes = [
        episode_of([observation[i], after[i]], action[i : i + 1], reward[i : i + 1])
        for i in range(4000)
    ]
    settings = {"members": 1, "hidden_sizes": [16], "head": "gaussian", "target": "state"}
    model = ensemble(1, **settings)
    fit(model, episodes, updates=700, rate=1e-2)
    literal = Literal(model, settings)
    for start in (-0.7, 0.0, 0.7):
        raw = literal.outputs(0, np.array([start]), (LOW + HIGH) / 2)[2:]
        log_variance = 0.5 - np.log1p(np.exp(0.5 - raw))
        log_variance = -14 + np.log1p(np.exp(log_variance + 14))
        std = np.exp(log_variance / 2) * literal.state["target_std"]
        assert std == pytest.approx(list(noise.values()), rel=0.3)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("noise", [0.0, 0.3, 2.0])
def test_trajectories_are_drawn_with_the_noise_that_is_left(members: int, noise: float) -> None:
    """Of data that is off by `noise` times what the heads say, beyond what the members differ."""
    model = ensemble(members=members, head="gaussian", hidden_sizes=[8])
    count, size, targets = 4000, 3, 4
    observation, action = torch.randn(members, count, 2, size), torch.randn(members, count, 1, 2)
    batch = TorchBatch(
        {"observation": observation},
        action,
        torch.zeros(members, count, 1),
        torch.ones(members, count, 1),
        torch.ones(members, count, 1),
    )
    flat = observation[:, :, 0].flatten(0, 1).expand(members, -1, -1)
    with torch.no_grad():
        output = model._network(flat, action.flatten(0, 2).expand(members, -1, -1))
        following, reward = model._means(flat, output)
        assert reward is not None
        means = torch.cat([following, reward[..., None]], dim=-1)
        said = model._log_variance(output).exp().mean(dim=0)
        spread = noise**2 * said + means.var(dim=0, correction=0)
        truth = means.mean(dim=0) + spread.sqrt() * torch.randn(members * count, targets)
        observation[:, :, 1] = truth[:, :size].reshape(members, count, size)
        batch.reward.copy_(truth[:, size:].reshape(members, count, 1))
        model.fit_noise(batch)
        torch.testing.assert_close(
            model.noise_factor, torch.full((targets,), noise), rtol=0.15, atol=0.25
        )
        if members == 1:
            dream = model.dream(torch.zeros(size), torch.zeros(1, 2), 3000)
            drawn = dream.sampled_observation["observation"][:, 0]
            assert drawn.shape == (3000, size)
            now = model._log_variance(model._network(torch.zeros(1, 1, size), torch.zeros(1, 1, 2)))
            torch.testing.assert_close(
                drawn.std(dim=0),
                now[0, 0, :size].mul(0.5).exp() * model.noise_factor[:size],
                rtol=0.1,
                atol=1e-6,
            )


def test_weights_that_were_saved_before_noise_was_fitted_can_be_loaded() -> None:
    model = ensemble(head="gaussian")
    old = {name: value for name, value in model.state_dict().items() if name != "noise_factor"}
    model.noise_factor.fill_(0.2)
    model.load_state_dict(old)
    assert torch.equal(model.noise_factor, torch.ones_like(model.noise_factor))
    assert "noise_factor" not in ensemble().state_dict()


@pytest.mark.timeout(60)
def test_continue_head_learns_where_episodes_end() -> None:
    rng = np.random.default_rng(0)
    episodes = []
    for _ in range(500):
        start, push = rng.uniform(-1, 1, 1), rng.uniform(LOW, HIGH, (1, 2))
        after = start + push[:, 0]
        ends = bool(after[0] > 1)
        episodes.append(
            episode_of([start, after], push, [0.0], terminated=ends, truncated=not ends)
        )
    model = ensemble(1, members=2, hidden_sizes=[32], predict_continue=True)
    fit(model, episodes, updates=400, rate=1e-2)
    pushes = np.zeros((3, 1, 2), dtype=np.float32)
    pushes[:, 0, 0] = [-1.5, 0.3, 1.8]
    with torch.no_grad():
        continues = model.imagine(torch.zeros(1), torch.from_numpy(pushes)).continues
    assert continues is not None
    continues = continues[:, 0]
    assert continues[0] > 0.95
    assert continues[1] > 0.8
    assert continues[2] < 0.05


@pytest.mark.timeout(60)
def test_members_disagree_more_where_there_was_no_data() -> None:
    rng = np.random.default_rng(0)
    observation = rng.uniform(-1, 1, (401, 1))
    action = rng.uniform(LOW, HIGH, (400, 2))
    episodes = [episode_of(observation, action, np.sin(3 * observation[:-1, 0]))]
    model = ensemble(1, members=5, hidden_sizes=[32], target="state")
    fit(model, episodes, updates=400)
    actions = torch.from_numpy(rng.uniform(LOW, HIGH, (50, 1, 2))).float()

    def disagreement(at: float) -> float:
        with torch.no_grad():
            found = model.imagine(torch.full((1,), at), actions).disagreement
        assert found is not None
        return float(found.mean())

    seen = max(disagreement(at) for at in (-0.8, 0.0, 0.8))
    unseen = min(disagreement(at) for at in (-6.0, 6.0))
    assert unseen > 5 * seen
    assert seen > 0


def test_one_member_has_nobody_to_disagree_with() -> None:
    model = ensemble(members=1)
    assert model.imagine(torch.randn(3), torch.randn(20, 6, 2)).disagreement is None


def test_belief_is_what_was_seen_last() -> None:
    model = ensemble()
    seen = torch.randn(3)
    assert torch.equal(model.observe(torch.randn(3), torch.randn(2), {"observation": seen}), seen)
    assert torch.equal(model.initial_belief(), torch.zeros(3))
    assert model.belief_size == 3


def test_every_number_of_members_gets_batches_of_the_right_shape() -> None:
    assert ensemble(members=4).batch_dimensions(7) == (4, 7)
