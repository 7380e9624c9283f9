"""Data sets of Minari, in and out."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import foreign
import numpy as np
import pytest
from bags import INTERFACE, MAKE

from planet_ros.data import Episode, EpisodeStore, Signature
from planet_ros.data.store import load_episode
from planet_ros.datasets.converting import import_datasets
from planet_ros.errors import UserError
from planet_ros.interface.files import interface_from

pytest.importorskip("minari")
pytest.importorskip("h5py")

import gymnasium
import h5py
import minari
from gymnasium.spaces import Box, Dict, Discrete
from minari.data_collector.episode_buffer import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

pytestmark = pytest.mark.filterwarnings("ignore:.*is set to None", "ignore:env_spec is None")

# From 0.5.4 on, which takes Python 3.11.
EXACT_PICTURES = "jpeg_encoding" in inspect.signature(MinariStorage.new).parameters
VECTOR = Box(-np.inf, np.inf, (3,), np.float32)
TORQUE = Box(-2, 2, (1,), np.float32)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where minari keeps its data sets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def buffer(steps: int = 5, **changes: Any) -> EpisodeBuffer:
    rng = np.random.default_rng(steps)
    values: dict[str, Any] = {
        "observations": rng.normal(size=(steps + 1, 3)).astype(np.float32),
        "actions": rng.uniform(-2, 2, (steps, 1)).astype(np.float32),
        "rewards": rng.normal(size=steps),
        "terminations": np.zeros(steps, bool),
        "truncations": np.arange(steps) == steps - 1,
    }
    return EpisodeBuffer(**{**values, **changes})


def create(
    *buffers: EpisodeBuffer,
    name: str = "mine/pendulum-v0",
    observation: Any = VECTOR,
    action: Any = TORQUE,
    **more: Any,
) -> str:
    """A data set as minari itself makes it."""
    spaces = {"observation_space": observation, "action_space": action}
    minari.create_dataset_from_buffers(name, list(buffers or [buffer()]), **spaces, **more)
    return f"minari:{name}"


def refused(name: str, tmp_path: Path, **options: Any) -> str:
    """What is said, when nothing is left behind."""
    arguments: dict[str, Any] = {"interface": None, "make": None, **options}
    with pytest.raises(UserError) as error:
        import_datasets([name], tmp_path / "out", **arguments)
    assert not list(tmp_path.glob("*out*"))
    return str(error.value)


# ── there and back ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("signature", [foreign.SIGNATURE, foreign.PLAIN], ids=["all", "plain"])
@pytest.mark.parametrize("where", ["minari:mine/robot-v3", "minari:{}/of my own"])
def test_episodes_come_back_bit_for_bit(
    signature: Any, where: str, tmp_path: Path, root: Path
) -> None:
    name, written = where.format(tmp_path), foreign.episodes(signature)
    if signature.images and not EXACT_PICTURES:
        with pytest.raises(UserError, match=r"0\.5\.4 or newer"):
            foreign.export(written, signature, name)
        return
    folder = foreign.export(written, signature, name)
    result, found = foreign.back(name, tmp_path / "back")
    for first, second in zip(written, found, strict=True):
        foreign.same(first, second)
    assert result.signature == signature
    assert result.notes == []
    # And minari reads it as its own.
    dataset = minari.MinariDataset(folder / "data")
    if "robot" in name:
        dataset = minari.load_dataset("mine/robot-v3")
        assert list(minari.list_local_datasets()) == ["mine/robot-v3"]
    assert (dataset.total_episodes, dataset.total_steps) == (4, 14)
    np.testing.assert_array_equal(dataset[1].rewards, written[1].reward)
    assert dataset.action_space == Box(signature.low, signature.high, dtype=np.float32)
    assert dataset[0].terminations.tolist() == [False] * 5 + [True]
    assert not dataset[0].truncations.any()


def test_what_minari_writes_is_read(tmp_path: Path) -> None:
    env = gymnasium.make("Pendulum-v1")
    written = [buffer(5), buffer(7)]
    name = create(*written, name="D4RL/pendulum/random-v0", observation=None, action=None, env=env)
    result, found = foreign.back(name, tmp_path / "back")
    for one, episode in zip(written, found, strict=True):
        np.testing.assert_array_equal(episode.observation["observation"], one.observations)
        np.testing.assert_array_equal(episode.action, one.actions)
        np.testing.assert_array_equal(episode.reward, one.rewards)
        assert (episode.terminated, episode.truncated) == (False, True)
    assert result.environment == "Pendulum-v1"
    assert result.signature.high.tolist() == [2]
    assert "does not say how long a step takes: 0.05 s" in result.notes[0]


def test_vectors_are_joined_as_environments_have_them_and_pictures_kept(tmp_path: Path) -> None:
    """JPEG, float64, vectors of whole numbers and an end before the last step too."""
    space = Dict(
        {
            "position": Box(-1, 1, (2,), np.float64),
            "eye": Box(0, 255, (32, 32, 3), np.uint8),
            "count": Box(0, 9, (1,), np.int64),
        }
    )
    eyes = np.full((6, 32, 32, 3), 120, np.uint8)
    observations = {
        "position": np.arange(12.0).reshape(6, 2) / 7,
        "eye": eyes,
        "count": np.arange(6)[:, None],
    }
    ended = np.arange(5) == 2
    result, (episode,) = foreign.back(
        create(buffer(observations=observations, terminations=ended), observation=space),
        tmp_path / "back",
    )
    position = (np.arange(8.0).reshape(4, 2) / 7).astype(np.float32)
    vector = np.concatenate([np.arange(4.0)[:, None], position], axis=1)
    np.testing.assert_array_equal(episode.observation["observation"], vector)
    np.testing.assert_array_equal(episode.observation["eye"], eyes[:4])
    assert (len(episode), episode.terminated, episode.truncated) == (3, True, False)
    (numbers, eye) = result.signature.observation
    assert [one.name for one in numbers.numbers] == ["count", "position 0", "position 1"]
    assert (eye.role, eye.shape) == ("image", (32, 32, 3))


def test_an_observation_that_lacks_costs_a_step_and_is_told(tmp_path: Path) -> None:
    one = buffer(5, observations=np.ones((5, 3), np.float32))
    result, (episode,) = foreign.back(create(one), tmp_path / "back")
    assert len(episode) == 4
    assert "lack the observation after the last step" in result.notes[-1]


def test_actions_without_bounds_have_the_range_that_is_found(tmp_path: Path) -> None:
    free = Box(-np.inf, np.inf, (1,), np.float32)
    one, other = buffer(5), buffer(6)
    result, _ = foreign.back(create(one, other, action=free), tmp_path / "back")
    both = np.concatenate([one.actions, other.actions])
    assert (result.signature.low[0], result.signature.high[0]) == (both.min(), both.max())
    assert "gives no range of actions" in result.notes[0]
    still = buffer(actions=np.zeros((5, 1), np.float32))
    said = refused(create(still, action=free, name="still-v0"), tmp_path)
    assert "found action_0 from 0 to 0" in said and "--interface" in said


# ── of a robot ───────────────────────────────────────────────────────────────────────────────


def test_an_interface_names_the_parts_and_knows_the_reward(tmp_path: Path) -> None:
    interface = interface_from(INTERFACE)
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(6, 2)).astype(np.float32)
    name = create(buffer(observations=observations), observation=Box(-9, 9, (2,), np.float32))
    import_datasets([name], tmp_path / "back", interface=interface, make=MAKE)
    (episode,) = EpisodeStore(tmp_path / "back").episodes
    np.testing.assert_array_equal(episode.observation["joint"], observations)
    np.testing.assert_allclose(episode.reward, -(observations[:5, 0].astype(float) ** 2))
    assert (tmp_path / "back" / "interface.yaml").exists()
    assert not (tmp_path / "back" / "signature.json").exists()
    said = refused(create(name="other-v0"), tmp_path, interface=interface, make=MAKE)
    assert "minari:other-v0: found 'joint' of float32 [3], expected 'joint' of float32 [2]" in said
    wrong = {"interface": interface, "make": MAKE, "period_s": 0.1}
    assert "found 0.1 s for a step, expected 0.05 s" in refused(name, tmp_path, **wrong)


# ── refused ──────────────────────────────────────────────────────────────────────────────────


def test_an_id_that_is_not_there_names_the_nearest_and_downloads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(name="D4RL/pendulum/random-v0")
    create(name="other-v1")
    monkeypatch.setattr("minari.storage.hosting.download_dataset", None)
    said = refused("minari:D4RL/pendulum/randm-v0", tmp_path)
    assert "which has other-v1, D4RL/pendulum/random-v0; the nearest is D4RL/pendulum/ran" in said
    assert "minari download D4RL/pendulum/randm-v0" in said
    for name in ("minari:no version", "minari:a/../b-v0"):
        assert "found no id, expected NAME-v0" in refused(name, tmp_path)
    assert "expected a folder with data/metadata.json" in refused("minari:./none", tmp_path)
    assert "found no data set" in refused(str(tmp_path / "nothing"), tmp_path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"action": Discrete(2)}, "found discrete actions (Discrete), expected a Box: plans are"),
        ({"observation": Discrete(2)}, "found Discrete, expected a Box"),
        ({"observation": Box(-1, 1, (3, 2))}, "found arrays of shape [3, 2], expected vectors"),
        (
            {"observation": Box(0, 255, (8, 8, 4), np.uint8)},
            "found pictures of shape [8, 8, 4], expected height × width × channels",
        ),
        ({"observation": Dict({"a": Dict({"b": VECTOR})})}, "a: found Dict, expected a Box"),
    ],
)
def test_spaces_that_no_model_learns_are_refused(
    changes: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    space = changes.get("observation", VECTOR)
    observations: Any = np.stack([space.sample()] * 6) if isinstance(space, Box) else [0] * 6
    if isinstance(space, Dict):
        observations = {"a": {"b": np.zeros((6, 3), np.float32)}}
    actions: dict[str, Any] = {"actions": [0] * 5} if "action" in changes else {}
    one = buffer(observations=observations, **actions)
    assert expected in refused(create(one, **changes), tmp_path)


def test_data_sets_of_different_things_are_not_joined(tmp_path: Path) -> None:
    first = create(name="first-v0")
    wide = buffer(observations=np.zeros((6, 4), np.float32))
    for name, expected in (
        (
            create(wide, name="wide-v0", observation=Box(-1, 1, (4,))),
            "wide-v0: found 'observation' of float32 [4], expected 'observation' of float32 [3]",
        ),
        (create(name="strong-v0", action=Box(-9, 9, (1,))), "from [-9.] to [9.]"),
    ):
        with pytest.raises(UserError) as error:
            import_datasets([first, name], tmp_path / "out", interface=None, make=None)
        assert expected in str(error.value)
    import_datasets([first, first], tmp_path / "out", interface=None, make=None)
    assert len(EpisodeStore(tmp_path / "out").episodes) == 2


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = create()
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "h5py is not installed" in refused(name, tmp_path)
    monkeypatch.setitem(sys.modules, "minari", None)
    monkeypatch.setitem(sys.modules, "h5py", h5py)
    assert "pip install 'planet_ros[minari]'" in refused(name, tmp_path)


def test_nothing_is_overwritten_and_a_failed_writer_leaves_nothing(
    tmp_path: Path, root: Path
) -> None:
    written = foreign.episodes(foreign.PLAIN)
    foreign.export(written, foreign.PLAIN, "minari:mine/robot-v3")
    with pytest.raises(UserError, match="already exists"):
        foreign.export(written, foreign.PLAIN, "minari:mine/robot-v3")

    def broken() -> Any:
        yield written[0]
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        foreign.export(broken(), foreign.PLAIN, "minari:mine/other-v0")  # type: ignore[arg-type]
    assert sorted(one.name for one in (root / "mine").iterdir()) == ["robot-v3"]
    joint = Signature((foreign.JOINT,), foreign.PLAIN.action, 0.05)
    with pytest.raises(UserError, match="found no 'joint', expected 'joint'"):
        foreign.export(written, joint, "minari:mine/other-v0")


# ── hostile ──────────────────────────────────────────────────────────────────────────────────


def change_metadata(root: Path, **changes: Any) -> None:
    path = root / "mine/pendulum-v0/data/metadata.json"
    found = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))


HUGE = json.dumps({"type": "Box", "dtype": "float32", "shape": [10**9, 10**9], "low": 0, "high": 1})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"total_episodes": 2}, "found no episode_1, expected 2 episodes, as metadata.json says"),
        ({"total_episodes": 10**12}, "total_episodes: found 1000000000000, expected 1 to"),
        ({"total_episodes": "x"}, "total_episodes: found x"),
        ({"data_format": "parquet"}, "found the data_format parquet, expected hdf5"),
        ({"observation_space": HUGE}, f"found {10**18} numbers"),
        ({"action_space": "[" * 9999}, "found no action_space"),
        ({"planet_ros": {"signature": 3}}, "planet_ros: found no signature"),
        ({"planet_ros": {"signature": {"action": [{"low": "x"}]}}}, "found no signature"),
        ({"minari_version": "99.0.0"}, "does not support"),
    ],
)
def test_metadata_that_lie_are_refused(
    changes: dict[str, Any], expected: str, tmp_path: Path, root: Path
) -> None:
    name = create()
    change_metadata(root, **changes)
    assert expected in refused(name, tmp_path)


def test_no_environment_is_made_of_what_a_data_set_says(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minari itself makes one, to ask for its spaces, and with it whatever module is named."""
    name = create()
    evil = json.loads(gymnasium.spec("Pendulum-v1").to_json())
    evil.update(id="evil_module:Evil-v0", entry_point="evil_module:run")
    change_metadata(root, env_spec=json.dumps(evil), observation_space=None)
    monkeypatch.setattr("gymnasium.make", None)
    assert "found no observation_space" in refused(name, tmp_path)
    ends = {"shape": [3], "low": [0] * 3, "high": [1] * 3}
    space = json.dumps({**json.loads(HUGE), **ends})
    change_metadata(root, env_spec=json.dumps(evil), observation_space=space)
    result, _ = foreign.back(name, tmp_path / "back")
    assert result.environment == ""
    assert "evil_module" not in sys.modules


def damage(root: Path, kind: str) -> None:
    path = root / "mine/pendulum-v0/data/main_data.hdf5"
    if kind == "cut short":
        path.write_bytes(path.read_bytes()[:3000])
        return
    with h5py.File(path, "a") as file:
        group = file["episode_0"]
        if kind == "endless":
            group["infos/again"] = group
            return
        name = {"infinite": "rewards", "huge": "infos/x"}.get(kind, "observations")
        if name in group:
            del group[name]
        if kind == "infinite":
            group[name] = np.full(5, np.inf)
        elif kind == "huge":
            group.create_dataset(name, shape=(10**6, 10**6), dtype="f8", chunks=True)
        elif kind == "link":
            group[name] = h5py.ExternalLink("/etc/hostname", "x")
        elif kind == "elsewhere":
            external = [("/etc/hostname", 0, 72)]
            group.create_dataset(name, shape=(6, 3), dtype="f4", external=external)
        elif kind == "other size":
            group[name] = np.zeros((6, 4), np.float32)
        elif kind == "other length":
            group[name] = np.zeros((9, 3), np.float32)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cut short", "is not a whole HDF5 file"),
        ("endless", "found more than 1000 arrays"),
        ("infinite", "episode 0: reward: found a value that is not finite"),
        ("huge", "expected at most 4294967296"),
        ("link", "observations: found a link, expected an array"),
        ("elsewhere", "found data of another file"),
        ("other size", "observations/observation: found the shape [4], expected [3]"),
        ("other length", "found 9 observations of observation and 5 rewards"),
    ],
)
def test_damage_is_refused(kind: str, expected: str, tmp_path: Path, root: Path) -> None:
    name = create()
    damage(root, kind)
    assert expected in refused(name, tmp_path)


def test_an_import_that_fails_late_leaves_no_folder(tmp_path: Path, root: Path) -> None:
    bad: Sequence[EpisodeBuffer] = [buffer(3), buffer(4, rewards=np.full(4, np.nan))]
    assert "episode 1: reward" in refused(create(*bad), tmp_path)


def test_float64_beyond_float32_is_refused(tmp_path: Path) -> None:
    big = buffer(observations=np.full((6, 3), 1e300))
    name = create(big, observation=Box(-np.inf, np.inf, (3,), np.float64))
    assert "observation: found a value that is not finite" in refused(name, tmp_path)


def test_files_of_episodes_are_as_the_trainer_has_them(tmp_path: Path) -> None:
    foreign.back(create(), tmp_path / "back")
    found: Episode = load_episode(tmp_path / "back" / "episode-000000.npz")
    assert found.observation["observation"].dtype == np.float32
    assert found.reward.dtype == np.float64
