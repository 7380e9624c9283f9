"""Environments that are taken, those that are refused, and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import tiny_environments
from numpy.typing import NDArray

from planet_ros.config import settings_from
from planet_ros.data import ObservationPart, Step
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.errors import UserError

OWN_MODULE = """
import gymnasium
from tiny_environments import PointMass

gymnasium.register("PlanetRosTest/OfMyOwn-v0", entry_point=PointMass, max_episode_steps=3)
"""


def environment(name: str, **spec: Any) -> Environment:
    return Environment(EnvironmentSpec(f"PlanetRosTest/{name}-v0", **spec))


def refusal(spec: EnvironmentSpec) -> str:
    with pytest.raises(UserError) as caught:
        Environment(spec)
    return str(caught.value)


def test_unknown_id_is_refused_with_the_closest_one() -> None:
    message = refusal(EnvironmentSpec("PlanetRosTest/PointMess-v0"))
    assert "'PlanetRosTest/PointMess-v0' is not registered" in message
    assert "did you mean PlanetRosTest/PointMass-v0?" in message
    assert "env_modules" in message


@pytest.mark.parametrize(
    ("name", "part", "found", "advice"),
    [
        ("DiscreteActions", "actions", "Discrete(3)", "env_wrappers"),
        ("FloatPicture", "observations", "Box(0.0, 1.0, (8, 8, 1), float32)", "of uint8 height"),
        ("UnboundedActions", "actions", "[-inf -inf] to [inf inf]", "BoundedAction"),
    ],
)
def test_spaces_that_cannot_be_learned_are_refused_with_a_way_out(
    name: str, part: str, found: str, advice: str
) -> None:
    message = refusal(EnvironmentSpec(f"PlanetRosTest/{name}-v0"))
    assert f"found {part}" in message
    assert found in message
    assert advice in message


def test_argument_that_the_environment_does_not_take_is_refused_by_name() -> None:
    message = refusal(EnvironmentSpec("PlanetRosTest/PointMass-v0", kwargs={"gravity": 3}))
    assert "'PlanetRosTest/PointMass-v0' with {'gravity': 3} cannot be made" in message
    assert "unexpected keyword argument 'gravity'" in message


def test_argument_that_the_environment_itself_refuses_is_an_error() -> None:
    message = refusal(EnvironmentSpec("PlanetRosTest/PointMass-v0", kwargs={"limit": -1}))
    assert "cannot be made: ValueError: limit: found -1" in message


def test_environment_without_rendering_can_be_learned() -> None:
    assert vector(environment("OneAction").reset(seed=0)).shape == (2,)


def test_arguments_reach_the_environment() -> None:
    made = environment("PointMass", kwargs={"limit": 0.5})
    made.reset(seed=0)
    assert made.step(np.zeros(2)).terminated


def test_module_of_the_users_own_is_imported_before_the_environment_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "module_of_my_own.py").write_text(OWN_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    values = {"env_id": "PlanetRosTest/OfMyOwn-v0", "env_modules": ["module_of_my_own"]}
    try:
        made = Environment(EnvironmentSpec.of(settings_from(values)))
        assert vector(made.reset(seed=0)).shape == (2,)
    finally:
        gymnasium.registry.pop("PlanetRosTest/OfMyOwn-v0", None)
        sys.modules.pop("module_of_my_own", None)


@pytest.mark.parametrize("name", ["no_such_module_here", ""])
def test_module_that_cannot_be_imported_is_refused_by_name(name: str) -> None:
    message = refusal(EnvironmentSpec("PlanetRosTest/PointMass-v0", modules=(name,)))
    assert f"env_modules: module {name!r} cannot be imported" in message


def test_wrappers_are_applied_in_order_inside_first() -> None:
    made = environment(
        "DictObservation",
        wrappers=(
            "gymnasium.wrappers:FlattenObservation",
            'gymnasium.wrappers:TimeLimit {"max_episode_steps": 2}',
        ),
    )
    assert made.signature.vector_size == 2
    made.reset(seed=0)
    assert [made.step(np.zeros(2)).truncated for _ in range(2)] == [False, True]


def test_wrapper_can_give_bounds_to_actions() -> None:
    made = environment(
        "WideActions",
        wrappers=('gymnasium.wrappers:RescaleAction {"min_action": -2, "max_action": 4}',),
    )
    np.testing.assert_array_equal(made.signature.low, [-2, -2])
    np.testing.assert_array_equal(made.signature.high, [4, 4])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("gymnasium.wrappers:NoSuchWrapper", "expected module:Class"),
        ("gymnasium.wrappers", "expected module:Class"),
        (":TimeLimit", "cannot be imported"),
        ("no_such_module_here:Wrapper", "'no_such_module_here' cannot be imported"),
        ("gymnasium.wrappers:TimeLimit {max: 1}", "cannot be applied"),
        ('gymnasium.wrappers:TimeLimit {"steps": 1}', "cannot be applied"),
        ("gymnasium.wrappers:TimeLimit [1]", "cannot be applied"),
    ],
)
def test_wrapper_that_cannot_be_applied_is_refused(text: str, reason: str) -> None:
    message = refusal(EnvironmentSpec("PlanetRosTest/PointMass-v0", wrappers=(text,)))
    assert "env_wrappers: " in message
    assert reason in message


class TestObservation:
    def test_vectors_of_a_dictionary_become_one(self) -> None:
        made = environment("DictObservation")
        plain = environment("PointMass")
        assert made.signature.layout == plain.signature.layout
        np.testing.assert_array_equal(vector(made.reset(seed=3)), vector(plain.reset(seed=3)))

    @pytest.mark.parametrize("channels", [1, 3])
    def test_an_image_alone_is_called_image(self, channels: int) -> None:
        made = environment("Picture", kwargs={"channels": channels})
        (image,) = made.signature.observation
        assert image == ObservationPart("image", (8, 8, channels), "image", "uint8")
        for take in (lambda: made.reset(seed=3), lambda: made.step(np.ones(2))):
            step = take()
            assert step.observation.keys() == {"image"}
            np.testing.assert_array_equal(step.observation["image"], tiny(made).picture())

    def test_images_of_a_dictionary_keep_their_names_beside_the_vector(self) -> None:
        made = environment("PictureAndPosition", kwargs={"name": "eye"})
        assert (made.signature.vector_size, made.signature.images) == (2, {"eye": (8, 8, 1)})
        step = made.reset(seed=3)
        assert step.observation.keys() == {"observation", "eye"}
        plain = environment("PointMass").reset(seed=3)
        np.testing.assert_array_equal(vector(step), vector(plain))
        np.testing.assert_array_equal(step.observation["eye"], tiny(made).picture())

    def test_an_image_is_not_called_what_the_vector_is(self) -> None:
        kwargs = {"name": "observation"}
        message = refusal(EnvironmentSpec("PlanetRosTest/PictureAndPosition-v0", kwargs))
        assert "found an image called 'observation' in the dictionary" in message
        assert "expected another name, such as 'image'" in message

    @pytest.mark.filterwarnings("ignore:.*:UserWarning:gymnasium")
    def test_an_image_of_another_shape_than_promised_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = environment("Picture")
        made.reset(seed=0)
        monkeypatch.setattr(tiny(made), "picture", lambda: np.zeros((8, 4, 1), np.uint8))
        with pytest.raises(UserError) as caught:
            made.step(np.zeros(2))
        assert "PlanetRosTest/Picture-v0: step 1 of the episode: found 'image'" in str(caught.value)
        assert "uint8 [8, 4, 1], expected 'image' of uint8 [8, 8, 1]" in str(caught.value)

    @pytest.mark.filterwarnings("ignore:.*:UserWarning:gymnasium")
    def test_a_vector_of_another_length_than_promised_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = environment("PointMass")
        made.reset(seed=0)
        monkeypatch.setattr(tiny(made), "observation", lambda: np.zeros(3, np.float32))
        with pytest.raises(UserError, match=r"float32 \[3\], expected 'observation' of float32"):
            made.step(np.zeros(2))


def tiny(made: Environment) -> Any:
    return made.gym.unwrapped


def vector(step: Step) -> NDArray[np.float32]:
    return step.observation["observation"]


def labels(made: Environment) -> tuple[list[str], list[str]]:
    """Names and units of observation and action, for a person."""
    signature = made.signature
    (part,) = signature.parts("vector")
    actions = [f"{one.name} [{one.unit}]" if one.unit else one.name for one in signature.action]
    return [part.label(index) for index in range(part.shape[0])], actions


@pytest.fixture
def mujoco(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is there, and its MUJOCO_LOG.TXT goes into a folder of the test."""
    pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)


class TestNames:
    """A user reads ``torque [N m]`` in plots and manifests, and not ``action_0``."""

    @pytest.mark.parametrize(
        ("env_id", "observation", "action"),
        [
            (
                "Pendulum-v1",
                ["cos(angle)", "sin(angle)", "angular velocity [rad/s]"],
                ["torque [N m]"],
            ),
            ("MountainCarContinuous-v0", ["position", "velocity"], ["force"]),
        ],
    )
    def test_of_known_environments(
        self, env_id: str, observation: list[str], action: list[str]
    ) -> None:
        assert labels(Environment(EnvironmentSpec(env_id))) == (observation, action)

    def test_of_mujoco_come_from_the_model(self, mujoco: None) -> None:
        observation, action = labels(Environment(EnvironmentSpec("InvertedPendulum-v5")))
        assert observation == [
            "slider [m]",
            "hinge [rad]",
            "slider velocity [m/s]",
            "hinge velocity [rad/s]",
        ]
        assert action == ["slide"]  # behind a gear of 100: 1 is 100 N

    def test_of_a_mujoco_motor_without_gear_have_a_unit(self, mujoco: None) -> None:
        made = Environment(EnvironmentSpec("Pusher-v5"))
        assert made.signature.action[0].name == "r_shoulder_pan_joint"
        assert {part.unit for part in made.signature.action} == {"N m"}

    def test_of_a_mujoco_observation_count_from_what_is_not_skipped(self, mujoco: None) -> None:
        made = Environment(EnvironmentSpec("HalfCheetah-v5"))
        observation, _ = labels(made)
        assert len(observation) == made.signature.vector_size == 17
        assert observation[0] == "rootz [m]"
        assert observation[7:9] == ["ffoot [rad]", "rootx velocity [m/s]"]

    def test_of_an_environment_that_says_nothing_count(self) -> None:
        assert labels(environment("PointMass")) == (
            ["observation 0", "observation 1"],
            ["action_0", "action_1"],
        )

    def test_of_an_environment_of_ones_own_are_its_attributes(self) -> None:
        assert labels(environment("Named")) == (["x [m]", "y [m]"], ["push x [m]", "push y [m]"])

    def test_of_a_dictionary_are_its_keys(self) -> None:
        assert labels(environment("DictObservation"))[0] == ["x", "y"]
        made = environment("PictureAndPosition")
        assert labels(made)[0] == ["position 0", "position 1"]

    def test_of_the_settings_come_first(self) -> None:
        made = environment(
            "Named",
            observation_names=("east [km]", "north"),
            action_names=("push east [N]", "push north [N]"),
        )
        assert labels(made) == (["east [km]", "north"], ["push east [N]", "push north [N]"])

    def test_of_the_settings_reach_the_environment(self) -> None:
        values = {
            "env_id": "PlanetRosTest/PointMass-v0",
            "env_observation_names": ["x [m]", "y [m]"],
            "env_action_names": ["push x [N]", "push y [N]"],
        }
        made = Environment(EnvironmentSpec.of(settings_from(values)))
        assert labels(made) == (["x [m]", "y [m]"], ["push x [N]", "push y [N]"])

    @pytest.mark.parametrize(
        ("names", "reason"),
        [
            (
                {"observation_names": ("x",)},
                "env_observation_names: found 1 names, ['x'], expected",
            ),
            ({"action_names": ("a", "b", "c")}, "env_action_names: found 3 names"),
            ({"action_names": ("a", "[N]")}, "env_action_names: found '[N]', expected NAME or"),
            ({"action_names": ("a", "b [N")}, "env_action_names: found 'b [N', expected NAME or"),
            ({"action_names": ("a", " ")}, "env_action_names: found ' ', expected NAME or"),
        ],
    )
    def test_that_do_not_fit_are_refused(self, names: dict[str, Any], reason: str) -> None:
        message = refusal(EnvironmentSpec("PlanetRosTest/PointMass-v0", **names))
        assert reason in message

    def test_of_the_environment_that_do_not_fit_are_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tiny_environments.Named, "action_names", ["push"])
        message = refusal(EnvironmentSpec("PlanetRosTest/Named-v0"))
        assert "PlanetRosTest/Named-v0: action_names: found 1 names, ['push']" in message

    @pytest.mark.parametrize(
        ("wrapper", "observation", "action"),
        [
            ('TimeLimit {"max_episode_steps": 2}', "x [m]", "push x [m]"),
            # What was in metres is in parts of the range now.
            ('RescaleAction {"min_action": -5, "max_action": 5}', "x [m]", "push x"),
            # Who knows what it does?
            ("NormalizeObservation", "observation 0", "push x [m]"),
            ("TimeAwareObservation", "observation 0", "push x [m]"),
        ],
    )
    def test_pass_through_wrappers_that_do_not_change_the_numbers(
        self, wrapper: str, observation: str, action: str
    ) -> None:
        made = environment("Named", wrappers=(f"gymnasium.wrappers:{wrapper}",))
        found = labels(made)
        assert (found[0][0], found[1][0]) == (observation, action)


def test_rendering_can_be_asked_for_twice() -> None:
    """By env_kwargs, for what it sees, and by who makes a film of it."""
    spec = EnvironmentSpec("PlanetRosTest/PointMass-v0", kwargs={"render_mode": "rgb_array"})
    made = Environment(spec, render_mode="rgb_array")
    made.reset(seed=0)
    assert made.render().shape == (40, 40, 3)


@pytest.mark.filterwarnings("ignore:.*:UserWarning:gymnasium")
def test_observation_of_nan_is_an_error_that_names_environment_and_step() -> None:
    made = environment("PointMass", kwargs={"nan_after": 3})
    made.reset(seed=0)
    for _ in range(2):
        made.step(np.zeros(2))
    with pytest.raises(UserError) as caught:
        made.step(np.zeros(2))
    message = str(caught.value)
    assert "PlanetRosTest/PointMass-v0: found observation [nan nan] at step 3" in message


@pytest.mark.parametrize("reward", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:.*:UserWarning:gymnasium")
def test_reward_that_is_not_finite_is_an_error(
    monkeypatch: pytest.MonkeyPatch, reward: float
) -> None:
    made = environment("PointMass")
    made.reset(seed=0)
    broken: Any = (np.zeros(2, np.float32), reward, False, False, {})
    monkeypatch.setattr(tiny_environments.PointMass, "step", lambda *_: broken)
    with pytest.raises(UserError, match=f"found reward {reward} at step 1"):
        made.step(np.zeros(2))


def test_action_out_of_range_is_moved_into_it_and_recorded_so() -> None:
    made = environment("PointMass")
    start = made.reset(seed=0)
    step = made.step(np.array([9.0, -0.5]))
    np.testing.assert_array_equal(step.action, np.array([1.0, -0.5], np.float32))
    moved = vector(step) - vector(start)
    np.testing.assert_allclose(moved, [0.2, -0.1], atol=1e-6)


def test_steps_count_from_the_reset_and_carry_what_the_environment_gave() -> None:
    made = environment("PointMass")
    for _ in range(2):
        step = made.reset(seed=4)
        assert (step.index, step.reward, step.last) == (0, 0.0, False)
        np.testing.assert_array_equal(step.action, [0, 0])
        for index in range(1, tiny_environments.EPISODE_STEPS + 1):
            step = made.step(np.ones(2))
            assert step.index == index
            assert vector(step).dtype == np.float32
            assert step.reward == pytest.approx(-np.square(vector(step)).sum(), rel=1e-5)
        assert step.truncated
        assert not step.terminated


def test_same_seed_gives_the_same_start() -> None:
    made = environment("PointMass")
    one, same, other = (vector(made.reset(seed=seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_step_period_is_what_the_environment_says() -> None:
    assert environment("PointMass").step_period_s == pytest.approx(1 / 25)  # its render_fps
    assert Environment(EnvironmentSpec("Pendulum-v1")).step_period_s == 0.05  # its dt


def test_period_is_part_of_the_signature() -> None:
    assert environment("PointMass").signature.period_s == pytest.approx(1 / 25)


def test_period_that_nobody_could_keep_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_environments.PointMass, "dt", 1e-5, raising=False)
    message = refusal(EnvironmentSpec("PlanetRosTest/PointMass-v0"))
    assert "PlanetRosTest/PointMass-v0: period_s: found 1e-05, expected 0.001 to 60" in message
