"""Whatever Box an environment has: it is learned right, or refused with a cure that works."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Sequence, Tuple
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.environments.spaces import action_ends, native_action
from planet_ros.errors import UserError

ID = "PlanetRosTest/AnySpaces-v0"
POSITION = Box(-1, 1, (2,), np.float32)
STICK = Box(-1, 1, (1,), np.float32)


class AnySpaces(gymnasium.Env):
    """Shows samples of a space, and insists on actions of another: out of bounds is an error."""

    def __init__(self, seen: Any, done: Any) -> None:
        self.observation_space, self.action_space = seen, done
        self.taken: list[Any] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise ValueError(f"{action!r} is not in {self.action_space}")
        self.taken.append(action)
        return self.observation_space.sample(), 1.0, False, False, {}


Make = Callable[..., Environment]


@pytest.fixture
def make() -> Any:
    """``make(seen=…, done=…, wrappers=…)``: an environment of these spaces."""
    gymnasium.register(ID, entry_point=f"{__name__}:AnySpaces", max_episode_steps=20)

    def made(seen: Any = POSITION, done: Any = STICK, wrappers: tuple[str, ...] = ()) -> Any:
        return Environment(EnvironmentSpec(ID, {"seen": seen, "done": done}, wrappers=wrappers))

    yield made
    gymnasium.registry.pop(ID)


def played(made: Environment) -> list[Any]:
    """Take the least, the greatest and the middle action; give what the environment took."""
    signature = made.signature
    made.reset(seed=0)
    for action in (signature.low, signature.high, signature.middle):
        step = made.step(action)
        signature.check(step.layout, "step")
    inner: Any = made.gym.unwrapped
    taken: list[Any] = inner.taken
    return taken


def cured(make: Make, **spaces: Any) -> tuple[Environment, str]:
    """The environment with the wrapper that the error named, and the error."""
    with pytest.raises(UserError) as caught:
        make(**spaces)
    message = str(caught.value)
    assert message.startswith(f"{ID}: found ")
    (wrapper,) = re.findall(r"(?:planet_ros|gymnasium)\.wrappers:\w+(?: \{[^}]*\})?", message)
    return make(**spaces, wrappers=(wrapper,)), message


class TestActions:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
    @pytest.mark.parametrize(
        ("low", "high"), [(-0.1, 0.1), (-2.0, 1.7), (1 / 3, 2 / 3), (-1e3, 0.3), (-100 / 3, -0.7)]
    )
    def test_are_never_outside_the_bounds_in_their_own_precision(
        self, make: Make, dtype: Any, low: float, high: float
    ) -> None:
        made = make(done=Box(low, high, (3,), dtype))
        taken = played(made)  # it would be an error there
        assert {action.dtype for action in taken} == {np.dtype(dtype)}
        np.testing.assert_allclose(taken[0], np.full(3, low, dtype), rtol=1e-3)
        np.testing.assert_allclose(taken[1], np.full(3, high, dtype), rtol=1e-3)

    @given(
        ends=st.tuples(st.floats(-1e12, 1e12, allow_subnormal=True), st.floats(-1e12, 1e12)).map(
            sorted
        ),
        part=st.floats(0, 1),
    )
    def test_of_any_bounds_stay_within_them_or_are_refused(
        self, ends: list[float], part: float
    ) -> None:
        space = Box(ends[0], ends[1], (1,), np.float64)
        try:
            low, high = action_ends(space, "here")
        except UserError:
            assert ends[1] - ends[0] < max(1e-4, 1e-6 * max(map(abs, ends)))
            return
        action = np.clip((low + np.float32(part) * (high - low)).astype(np.float32), low, high)
        sent, _ = native_action(action, space)
        assert space.contains(sent)

    @pytest.mark.parametrize(
        "space",
        [
            Box(0, 255, (2,), np.uint8),
            Box(-3, 2, (2,), np.int64),
            Box(-(2**31), 2**31 - 1, (2,), np.int32),
        ],
    )
    def test_of_whole_numbers_are_taken_and_recorded_as_such(self, make: Make, space: Box) -> None:
        made = make(done=space)
        for action in played(made):
            assert action.dtype == space.dtype
        half = made.signature.middle + np.float32(0.3)
        np.testing.assert_array_equal(made.step(half).action, np.rint(half))

    def test_of_more_dimensions_are_a_vector_here(self, make: Make) -> None:
        low = np.array([[-1, -2], [-3, -4]], np.float32)
        made = make(done=Box(low, -low, dtype=np.float32))
        np.testing.assert_array_equal(made.signature.low, [-1, -2, -3, -4])
        np.testing.assert_array_equal(played(made)[0], low)
        assert make(done=Box(-1, 1, (), np.float32)).signature.actions == 1

    def test_without_bounds_are_refused_with_a_wrapper_that_sets_them(self, make: Make) -> None:
        for ends in ((-np.inf, np.inf), (0.0, np.inf), (-np.inf, 0.5)):
            made, _ = cured(make, done=Box(*ends, (2,), np.float32))
            assert (made.signature.low >= -1).all()
            assert (made.signature.high <= 1).all()
            played(made)

    def test_that_are_fixed_are_refused_with_a_wrapper_that_leaves_them_out(
        self, make: Make
    ) -> None:
        low, high = np.array([-1, 0.5, 0], np.float32), np.array([1, 0.5, 2], np.float32)
        made, message = cured(make, done=Box(low, high, dtype=np.float32))
        assert '{"indices": [0, 2]}' in message
        np.testing.assert_array_equal(made.signature.low, [-1, 0])
        np.testing.assert_array_equal(played(made)[1], [1, 0.5, 2])

    def test_with_nothing_to_decide_are_refused(self, make: Make) -> None:
        with pytest.raises(UserError, match="there is nothing to be decided"):
            make(done=Box(1, 1, (2,), np.float32))

    @pytest.mark.parametrize(
        "space",
        [
            Box(-1e30, 1e30, (2,), np.float32),
            Box(-3e38, 3e38, (2,), np.float32),
            Box(-1e300, 1e300, (2,), np.float64),
            Box(-1e-7, 1e-7, (2,), np.float32),
            Box(-1e-50, 1e-50, (2,), np.float64),
            Box(1e8, 1e8 + 1, (2,), np.float64),
            Box(-(2**63), 2**63 - 1, (2,), np.int64),
        ],
        ids=str,
    )
    def test_of_huge_or_tiny_ranges_are_refused_with_a_wrapper_that_scales_them(
        self, make: Make, space: Box
    ) -> None:
        made, _ = cured(make, done=space)
        least, greatest, _ = played(made)
        np.testing.assert_array_equal(least, space.low)
        np.testing.assert_array_equal(greatest, space.high)

    @pytest.mark.parametrize("space", [Discrete(3), Tuple([STICK]), MultiDiscrete([2, 3])], ids=str)
    def test_that_are_no_box_are_refused(self, make: Make, space: Any) -> None:
        with pytest.raises(UserError, match=r"found actions .*, expected a Box: .*env_wrappers"):
            make(done=space)

    def test_units_are_said_where_the_wrapper_keeps_them(self, make: Make) -> None:
        def unit(wrapper: str) -> tuple[str, str]:
            spec = EnvironmentSpec("Pendulum-v1", wrappers=(f"planet_ros.wrappers:{wrapper}",))
            (part,) = Environment(spec).signature.action
            return part.name, part.unit

        assert unit('BoundedAction {"low": -1, "high": 1}') == ("torque", "N m")
        assert unit("NormalizedAction") == ("torque", "")
        assert unit('SelectAction {"indices": [0]}') == ("torque", "N m")

    @pytest.mark.parametrize(
        "wrapper",
        [
            'BoundedAction {"low": 1, "high": -1}',
            'BoundedAction {"low": [0, 0, 0], "high": 1}',
            'SelectAction {"indices": [1]}',
            'SelectAction {"indices": []}',
            'SelectAction {"indices": [0], "others": [0, 1]}',
        ],
    )
    def test_arguments_that_do_not_fit_are_refused(self, make: Make, wrapper: str) -> None:
        with pytest.raises(UserError, match="cannot be applied"):
            make(wrappers=(f"planet_ros.wrappers:{wrapper}",))


def counted(*shape: int) -> Box:
    """Pictures of bytes, of a shape."""
    return Box(0, 255, shape, np.uint8)


class TestImages:
    @pytest.mark.parametrize(
        ("shape", "image"),
        [
            ((3, 32, 40), (32, 40, 3)),
            ((1, 32, 40), (32, 40, 1)),
            ((32, 40, 4), (32, 40, 3)),  # with an alpha channel
            ((4, 32, 40), (32, 40, 1)),  # the last four grey frames
            ((32, 40, 2), (32, 40, 1)),
            ((32, 40), (32, 40, 1)),
            ((4, 32, 40, 3), (32, 40, 3)),  # the last four frames in colour
            ((4, 3, 32, 40), (32, 40, 3)),
            ((4, 32, 40, 1), (32, 40, 1)),
        ],
    )
    @pytest.mark.parametrize("named", [False, True])
    def test_of_other_shapes_are_refused_with_a_wrapper_that_arranges_them(
        self, make: Make, shape: tuple[int, ...], image: tuple[int, ...], named: bool
    ) -> None:
        seen = Dict({"eye": counted(*shape), "position": POSITION}) if named else counted(*shape)
        made, message = cured(make, seen=seen)
        assert "ArrangeImage" in message
        name = "eye" if named else "image"
        assert made.signature.images == {name: image}
        played(made)
        step = made.reset(seed=3)
        inner: Any = made.gym.unwrapped
        whole = inner.reset(seed=3)[0]
        shown = whole["eye"] if named else whole
        assert step.observation[name].shape == image
        assert np.isin(step.observation[name], shown).all()

    def test_are_arranged_pixel_by_pixel(self, make: Make) -> None:
        def seen(shape: tuple[int, ...], arguments: dict[str, Any]) -> tuple[Any, NDArray[Any]]:
            wrapper = f"planet_ros.wrappers:ArrangeImage {json.dumps(arguments)}"
            made = make(seen=counted(*shape), wrappers=(wrapper,))
            shown = made.reset(seed=5).observation["image"]
            return made.gym.unwrapped.reset(seed=5)[0], shown

        whole, shown = seen((3, 4, 5), {"channels_first": True})
        np.testing.assert_array_equal(shown[2, 3], whole[:, 2, 3])
        whole, shown = seen((4, 5, 4), {"channels": [0, 1, 2]})
        np.testing.assert_array_equal(shown, whole[..., :3])
        whole, shown = seen((6, 4, 5, 3), {"frame": -1})
        np.testing.assert_array_equal(shown, whole[-1])

    @pytest.mark.parametrize(
        "arguments", ["{}", '{"channels": [7]}', '{"name": "eye"}', '{"frame": 9}']
    )
    def test_that_cannot_be_arranged_so_are_refused(self, make: Make, arguments: str) -> None:
        with pytest.raises(UserError, match="cannot be applied"):
            make(seen=counted(5, 6, 4), wrappers=(f"planet_ros.wrappers:ArrangeImage {arguments}",))

    def test_of_numbers_that_are_no_bytes_are_an_error(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = make(seen=counted(4, 4, 1))
        made.reset(seed=0)
        half: Any = (np.full((4, 4, 1), 0.5), 0.0, False, False, {})
        monkeypatch.setattr(AnySpaces, "step", lambda *_: half)
        with pytest.raises(UserError, match="found 'image' of float64, expected uint8"):
            made.step(np.zeros(1))


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (Box(-1, 1, (), np.float32), 1),
        (Box(-1, 1, (2, 3), np.float64), 6),
        (Box(0, 1, (8, 8, 1), np.float32), 64),
        (Discrete(4), 4),
        (MultiBinary(3), 3),
        (MultiDiscrete([2, 3]), 5),
        (Tuple([POSITION, STICK]), 3),
        (Dict({"a": Dict({"b": POSITION}), "c": STICK}), 3),
        (Dict({"a": Discrete(2), "c": STICK}), 3),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*:UserWarning:gymnasium")
def test_observations_of_other_kinds_are_refused_with_a_wrapper_that_makes_vectors_of_them(
    make: Make, space: Any, size: int
) -> None:
    made, message = cured(make, seen=space)
    assert "FlattenObservation" in message
    assert made.signature.vector_size == size
    played(made)


def test_observations_that_are_no_numbers_are_refused(make: Make) -> None:
    with pytest.raises(UserError, match="ObservationWrapper of your own"):
        make(seen=Sequence(STICK))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.uint8, np.int64])
def test_vectors_of_any_number_are_float32_here(make: Make, dtype: Any) -> None:
    made = make(seen=Box(0, 100, (3,), dtype))
    assert made.reset(seed=0).observation["observation"].dtype == np.float32
    played(made)
