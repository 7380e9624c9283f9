"""What every world model keeps to, whatever is inside; a new kind of model joins `MODELS`.

So does a task: `TASKS` makes one for the models that are named there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batches import floats, signature_of
from own_model import LinearQuadratic
from tasks import ending, quadratic, reaching
from torch import Tensor

from planet_ros.bundle.export import BundleExporter
from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import PlannerSettings, RssmSettings, WorldModelSettings
from planet_ros.data import Episode, Replay, Signature, Statistics
from planet_ros.models import Ensemble, Rssm, Task, WorldModel
from planet_ros.models.contract import Imagined, TorchBatch

LOW, HIGH = floats([-2, 0]), floats([2, 10])
CANDIDATES, HORIZON = 6, 5
CAMERA = {"camera": (4, 5, 3)}

Make = Callable[[Signature, "Task | None"], WorldModel]


def ensemble(**settings: Any) -> Make:
    values = {"members": 3, "hidden_sizes": [8, 6], "predict_continue": False, **settings}
    return lambda signature, task: Ensemble(signature, WorldModelSettings(**values), task)


def rssm(predict_continue: bool = False, **settings: Any) -> Make:
    sizes = {"deterministic_size": 7, "stochastic_size": 4, "hidden_size": 9}
    values = RssmSettings(**{**sizes, "image_hidden_size": 11, **settings})
    return lambda signature, task: Rssm(signature, values, predict_continue, task)


ONE, TWO = {"observation": 3}, {"joints": 2, "target": 3}
MODELS: dict[str, tuple[Make, dict[str, int], dict[str, tuple[int, int, int]]]] = {
    "ensemble": (ensemble(), ONE, {}),
    "ensemble of two vectors": (ensemble(predict_continue=True), TWO, {}),
    "ensemble, gaussian": (ensemble(head="gaussian", predict_continue=True), ONE, {}),
    "ensemble, gaussian, next state": (ensemble(head="gaussian", target="state"), TWO, {}),
    "ensemble of one member": (ensemble(members=1), ONE, {}),
    "rssm": (rssm(), ONE, {}),
    "rssm of two vectors": (rssm(True, disagreement_samples=3), TWO, {}),
    "rssm of images": (rssm(image_bits=5), {}, {**CAMERA, "wrist": (2, 2, 1)}),
    "rssm of vectors and images": (rssm(True), TWO, CAMERA),
    "rssm, stochastic path": (rssm(path="stochastic", disagreement_samples=2), ONE, {}),
    "rssm, deterministic path": (rssm(path="deterministic"), ONE, CAMERA),
    "linear, of examples/own_model.py": (
        lambda signature, task: LinearQuadratic(signature),
        TWO,
        {},
    ),
    "ensemble with a quadratic task": (ensemble(), TWO, {}),
    "ensemble with a goal": (ensemble(predict_continue=True), TWO, {}),
    "ensemble of one member, gaussian, with a goal": (
        ensemble(members=1, head="gaussian", target="state"),
        ONE,
        {},
    ),
    "ensemble that knows the end": (ensemble(predict_continue=True), TWO, {}),
    "rssm with a quadratic task": (rssm(disagreement_samples=3), TWO, CAMERA),
    "rssm with a goal": (rssm(True, disagreement_samples=2), ONE, {}),
}


TASKS: dict[str, tuple[Callable[[Signature], Task], int]] = {
    "ensemble with a quadratic task": (quadratic, 0),
    "ensemble with a goal": (reaching, 4),
    "ensemble of one member, gaussian, with a goal": (reaching, 5),
    "ensemble that knows the end": (ending, 0),
    "rssm with a quadratic task": (quadratic, 0),
    "rssm with a goal": (reaching, 5),
}
"""Tasks, and numbers of their goals, of those of `MODELS` that have one."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Case:
    """A model with scales taken from data, and a seed for all that is random."""

    def __init__(self, kind: str, seed: int = 0) -> None:
        make, vectors, images = MODELS[kind]
        task_of, goal = TASKS.get(kind, (None, 0))
        self.make = lambda signature: make(signature, task_of and task_of(signature))
        self.signature = signature_of(vectors, LOW, HIGH, images, goal=goal)
        self.rng = np.random.default_rng(seed)
        self.goal = torch.tensor(self.rng.normal(3, 4, goal), dtype=torch.float32) if goal else None
        torch.manual_seed(seed)
        self.model = self.make(self.signature)
        self.episodes = [self.episode() for _ in range(3)]
        self.model.fit_normalization(Statistics.of(self.episodes))

    def episode(self, steps: int = 40) -> Episode:
        observation: dict[str, Any] = {}
        for index, part in enumerate(self.signature.parts("vector")):
            values = self.rng.normal(5 - 100 * index, 2 + 30 * index, (steps + 1, *part.shape))
            observation[part.name] = values.astype(np.float32)
        for name, shape in self.signature.images.items():
            observation[name] = self.rng.integers(256, size=(steps + 1, *shape), dtype=np.uint8)
        if self.goal is not None:
            observation["wanted"] = np.tile(self.goal.numpy(), (steps + 1, 1))
        return Episode(
            observation=observation,
            action=self.actions(steps)[0],
            reward=self.rng.normal(-40, 12, steps),
            terminated=False,
            truncated=True,
        )

    def actions(self, steps: int = HORIZON, candidates: int = 1) -> Any:
        """(N, H, A) within the range."""
        return self.rng.uniform(LOW, HIGH, (candidates, steps, 2)).astype(np.float32)

    def start(self) -> tuple[Tensor, Tensor]:
        """A belief (B,) that an episode led to, and candidates (N, H, A)."""
        with torch.no_grad():
            *_, belief = self.model.filtered(self.episodes[0])
        return belief, torch.from_numpy(self.actions(candidates=CANDIDATES))

    def imagine(self, belief: Tensor, actions: Tensor, model: WorldModel | None = None) -> Imagined:
        return (model or self.model).imagine(belief, actions, self.goal)

    def batch(self, length: int = 6) -> TorchBatch:
        sampler = Replay.of(self.episodes, length).sampler()
        drawn = sampler.sample(self.model.batch_dimensions(8), self.rng)
        return TorchBatch(
            {name: torch.from_numpy(values) for name, values in drawn.observation.items()},
            *map(torch.from_numpy, (drawn.action, drawn.reward, drawn.continues, drawn.mask)),
        )


@pytest.fixture(params=MODELS)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def assert_equal(one: tuple[Tensor | None, ...], other: tuple[Tensor | None, ...]) -> None:
    for first, second in zip(one, other, strict=True):
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)


def test_model_knows_its_signature_and_the_size_of_its_belief(case: Case) -> None:
    model = case.model
    assert model.kind and isinstance(model.kind, str)
    assert model.signature == case.signature
    assert model.initial_belief().shape == (model.belief_size,)
    assert not model.initial_belief().any()


@torch.no_grad()
def test_filter_gives_a_belief_for_each_observation_of_an_episode(case: Case) -> None:
    model, episode = case.model, case.episodes[0]
    belief, expected = model.initial_belief(), []
    for step in range(len(episode) + 1):
        # Before the first observation the middle of the range is taken to have been done.
        action = episode.action[step - 1] if step else (LOW + HIGH) / 2
        seen = {name: torch.from_numpy(v[step]) for name, v in episode.observation.items()}
        belief = model.observe(belief, torch.from_numpy(action), seen)
        expected.append(belief)
    found = torch.stack(list(model.filtered(episode)))
    assert found.shape == (len(episode) + 1, model.belief_size)
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    torch.testing.assert_close(found, torch.stack(expected))


@torch.no_grad()
def test_belief_depends_on_every_part_and_not_on_the_order_of_parts(case: Case) -> None:
    model, episode = case.model, case.episodes[0]
    belief, action = case.start()[0], torch.zeros(2)
    seen = {name: torch.from_numpy(values[3]) for name, values in episode.observation.items()}
    expected = model.observe(belief, action, seen)
    turned = dict(reversed(seen.items()))
    torch.testing.assert_close(model.observe(belief, action, turned), expected, rtol=0, atol=0)
    for part in case.signature.seen:
        other = {**seen, part.name: torch.from_numpy(episode.observation[part.name][4])}
        assert not torch.allclose(model.observe(belief, action, other), expected), part.name
    # A goal is not something seen: nothing is believed because of it.
    seen.pop("wanted", None)
    torch.testing.assert_close(model.observe(belief, action, seen), expected, rtol=0, atol=0)


@torch.no_grad()
def test_imagination_has_its_shapes_and_bounds(case: Case) -> None:
    belief, actions = case.start()
    found = case.imagine(belief, actions)
    for value in found:
        if value is not None:
            assert value.shape == (CANDIDATES, HORIZON)
            assert value.dtype == torch.float32
            assert value.isfinite().all()
    if found.continues is not None:
        assert (found.continues >= 0).all() and (found.continues <= 1).all()
    if found.disagreement is not None:
        assert (found.disagreement >= 0).all()
        assert found.disagreement.max() > 1e-3


@torch.no_grad()
def test_same_question_has_the_same_answer(case: Case) -> None:
    model = case.model
    belief, actions = case.start()
    before = belief.clone(), actions.clone()
    answers = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        beliefs = torch.stack(list(model.filtered(case.episodes[1])))
        answers.append((beliefs, *case.imagine(belief, actions)))
    for one, other in zip(*answers, strict=True):
        assert one is None or torch.equal(one, other)
    assert torch.equal(belief, before[0]) and torch.equal(actions, before[1])


@torch.no_grad()
def test_each_candidate_is_imagined_by_itself(case: Case) -> None:
    belief, actions = case.start()
    together = case.imagine(belief, actions)
    for candidate in range(CANDIDATES):
        alone = case.imagine(belief, actions[candidate : candidate + 1])
        of_it = (None if v is None else v[candidate : candidate + 1] for v in together)
        assert_equal(alone, tuple(of_it))


@torch.no_grad()
def test_what_is_done_later_changes_nothing_earlier(case: Case) -> None:
    belief, actions = case.start()
    whole = case.imagine(belief, actions)
    for steps in (1, 3):
        part = case.imagine(belief, actions[:, :steps])
        assert_equal(part, tuple(None if value is None else value[:, :steps] for value in whole))
    later = actions.clone()
    later[:, -1] = 1.0
    assert not torch.allclose(case.imagine(belief, later).rewards, whole.rewards)


@torch.no_grad()
def test_dream_expects_the_rewards_that_are_planned_with(case: Case) -> None:
    belief, actions = case.start()
    rewards = case.imagine(belief, actions).rewards
    for candidate in (0, 3):
        dream = case.model.dream(belief, actions[candidate], 2, case.goal)
        torch.testing.assert_close(dream.reward, rewards[candidate], rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_what_is_predicted_is_what_a_dream_expects(case: Case) -> None:
    belief, actions = case.start()
    predicted = case.model.predict(belief, actions[1])
    if predicted is None:  # of pictures alone, or by a model that says none
        assert not case.signature.vector_size or case.model.kind == "linear_quadratic"
        return
    dream = case.model.dream(belief, actions[1], 2, case.goal).observation
    expected = case.model.joined_vectors(dream)
    torch.testing.assert_close(predicted, expected, rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_dream_shows_every_part(case: Case) -> None:
    belief, actions = case.start()
    dream = case.model.dream(belief, actions[0], 2, case.goal)
    assert set(dream.observation) == {part.name for part in case.signature.seen}
    samples = len(dream.sampled_reward)
    assert samples >= 1
    assert dream.sampled_reward.shape == (samples, HORIZON)
    for part in case.signature.seen:
        shown = dream.observation[part.name]
        assert shown.shape == (HORIZON, *part.shape)
        assert shown.dtype == (torch.uint8 if part.role == "image" else torch.float32)
        if part.role == "vector":
            drawn = dream.sampled_observation[part.name]
            assert drawn.shape == (samples, HORIZON, *part.shape)
            # In its own units: far from zero, where the data are.
            mean = np.concatenate([e.observation[part.name] for e in case.episodes]).mean(axis=0)
            spread = 32.0 if mean.max() < 0 else 2.0
            assert np.abs(shown.numpy() - mean).max() < 20 * spread


@torch.no_grad()
@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind not in TASKS])
def test_units_of_the_data_change_nothing_but_the_units(kind: str) -> None:
    """The same weights say the same of an environment in metres and of it in inches."""
    case = Case(kind)
    signature = signature_of(
        {part.name: part.shape[0] for part in case.signature.parts("vector")},
        LOW * 7 + 1,
        HIGH * 7 + 1,
        case.signature.images,
    )
    other = case.make(signature)
    scales = {"observation_mean", "observation_factor", "action_mean", "action_factor"}
    weights = {k: v for k, v in case.model.state_dict().items() if k not in scales}
    other.load_state_dict({**other.state_dict(), **weights})
    episodes = [
        Episode(
            observation={
                name: values if values.ndim == 4 else values * np.float32(0.25) + 2
                for name, values in episode.observation.items()
            },
            action=episode.action * 7 + 1,
            reward=episode.reward * 500 - 20,
            terminated=False,
            truncated=True,
        )
        for episode in case.episodes
    ]
    other.fit_normalization(Statistics.of(episodes))
    _, actions = case.start()
    *_, belief = case.model.filtered(case.episodes[0])
    *_, other_belief = other.filtered(episodes[0])
    found, expected = (
        other.imagine(other_belief, actions * 7 + 1),
        case.imagine(belief, actions),
    )
    torch.testing.assert_close(found.rewards, expected.rewards * 500 - 20, rtol=1e-3, atol=1.0)
    if expected.disagreement is not None and found.disagreement is not None:
        torch.testing.assert_close(
            found.disagreement, expected.disagreement * 500, rtol=1e-3, atol=1.0
        )
    if expected.continues is not None and found.continues is not None:
        torch.testing.assert_close(found.continues, expected.continues, rtol=1e-3, atol=1e-3)


def test_loss_is_one_number_that_every_weight_feels(case: Case) -> None:
    loss, metrics = case.model.loss(case.batch(), 3)
    assert loss.shape == ()
    assert {"loss", "observation_loss"} <= set(metrics)
    assert ("reward_loss" in metrics) == case.model.learns_reward  # what is known is not learned
    assert all(value.isfinite() and not value.requires_grad for value in metrics.values())
    loss.backward()
    for name, weight in case.model.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name


def test_learning_lowers_the_loss(case: Case) -> None:
    batch = case.batch()
    optimizer = torch.optim.Adam(case.model.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        torch.manual_seed(0)
        loss, _ = case.model.loss(batch, 3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


@torch.no_grad()
def test_state_holds_all_that_was_learned(case: Case) -> None:
    torch.manual_seed(9)
    other = case.make(case.signature)
    belief, actions = case.start()
    assert not torch.allclose(
        case.imagine(belief, actions, other).rewards, case.imagine(belief, actions).rewards
    )
    other.load_state_dict(case.model.state_dict())
    for one, two in zip(
        (*case.model.filtered(case.episodes[0]), *case.imagine(belief, actions)),
        (*other.filtered(case.episodes[0]), *case.imagine(belief, actions, other)),
        strict=True,
    ):
        assert (one is None) == (two is None)
        assert one is None or two is None or torch.equal(one, two)


@torch.no_grad()
def test_bundle_says_what_the_model_says_after_weights_were_replaced(
    case: Case, tmp_path: Path
) -> None:
    """Traced with one set of weights and scales, exported with another."""
    model = case.make(case.signature)
    exporter = BundleExporter(model, HORIZON)
    model.load_state_dict(case.model.state_dict())
    for weight in model.parameters():
        weight.mul_(1.5)
    exporter.export(
        tmp_path / "model",
        {
            "model_kind": "any",
            "horizon": HORIZON,
            "signature": case.signature,
            "planner": PlannerSettings(horizon=HORIZON),
        },
    )
    bundle = load_bundle(tmp_path / "model")
    assert bundle.manifest.signature == case.signature
    assert bundle.manifest.belief_size == model.belief_size
    episode = case.episodes[0]
    belief = bundle.model.initial_belief()
    before = np.concatenate([case.signature.middle[None], episode.action])
    for step, expected in enumerate(model.filtered(episode)):
        seen = {part.name: episode.observation[part.name][step] for part in case.signature.seen}
        belief = bundle.model.observe(belief, before[step], seen)
        np.testing.assert_allclose(belief, expected.numpy(), rtol=1e-4, atol=1e-4)
    goal = None if case.goal is None else case.goal.numpy()
    for candidates in (1, 2, 40):
        actions = case.actions(candidates=candidates)
        found = bundle.model.imagine(belief, actions, goal)
        wanted = case.imagine(torch.from_numpy(belief), torch.from_numpy(actions), model)
        assert found._fields == wanted._fields
        for value, number in zip(found, wanted, strict=True):
            assert (value is None) == (number is None)
            if value is not None and number is not None:
                assert value.shape == (candidates, HORIZON)
                scale = max(float(number.abs().max()), 1.0)
                np.testing.assert_allclose(value, number.numpy(), rtol=1e-4, atol=1e-4 * scale)
    predicted = model.predict(torch.from_numpy(belief), torch.from_numpy(actions[0]))
    vectors = None if bundle.predict is None else bundle.predict(belief, actions[0])
    assert_equal((None if vectors is None else torch.from_numpy(vectors),), (predicted,))


@torch.no_grad()
@pytest.mark.parametrize("kind", [kind for kind, (_, goal) in TASKS.items() if goal])
def test_another_goal_is_another_reward_of_the_same_future(kind: str) -> None:
    case = Case(kind)
    belief, actions = case.start()
    before = case.imagine(belief, actions)
    assert case.goal is not None
    case.goal += 5
    after = case.imagine(belief, actions)
    assert not torch.allclose(after.rewards, before.rewards)
    assert case.model.task is not None
    # The rewards are those of the observations that a dream shows, judged by the task; of several
    # members they are a mean, and the dream shows only theirs.
    for candidate in (0, 3):
        dream = case.model.dream(belief, actions[candidate], 0, case.goal)
        name = case.signature.parts("vector")[0].name
        shown = torch.cat([dream.observation[name], actions[candidate]], dim=-1)
        if isinstance(case.model, Rssm) or case.model.members == 1:
            bound = -0.05 * (shown - case.goal).square().mean(dim=-1)
            assert (after.rewards[candidate] <= bound + 1e-3).all()
