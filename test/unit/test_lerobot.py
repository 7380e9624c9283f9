"""LeRobotDatasets of version 3, in and out."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import foreign
import numpy as np
import pytest
from bags import INTERFACE, MAKE

from planet_ros.data import ActionPart, EpisodeStore, NamedNumber, ObservationPart, Signature
from planet_ros.datasets import lerobot_writing
from planet_ros.datasets.converting import import_datasets
from planet_ros.datasets.lerobot_format import filled
from planet_ros.errors import UserError
from planet_ros.interface.files import interface_from

pytest.importorskip("pyarrow")
pytest.importorskip("av")

import pyarrow as pa
import pyarrow.parquet as parquet

FILES = {
    "data": "data/chunk-000/file-000.parquet",
    "episodes": "meta/episodes/chunk-000/file-000.parquet",
    "film": "videos/observation.images.cam_era/chunk-000/file-000.mp4",
}


def refused(folder: Path, tmp_path: Path, **options: Any) -> str:
    """What is said, when nothing is left behind."""
    arguments: dict[str, Any] = {"interface": None, "make": None, **options}
    with pytest.raises(UserError) as error:
        import_datasets([f"lerobot:{folder}"], tmp_path / "out", **arguments)
    assert not list(tmp_path.glob("*out*"))
    return str(error.value)


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def change_table(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    parquet.write_table(change(parquet.read_table(path)), path)


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


# ── there and back ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("video", [False, True])
def test_episodes_come_back(video: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers and pictures bit for bit, films nearly; over several files, chunks and groups."""
    if video:
        monkeypatch.setattr(lerobot_writing, "VIDEO_FILE_MB", 0)
    monkeypatch.setattr(lerobot_writing, "DATA_FILE_MB", 0)
    monkeypatch.setattr(lerobot_writing, "CHUNK_FILES", 3)
    written = foreign.episodes(foreign.SIGNATURE)
    folder = tmp_path / "set"
    foreign.export(written, foreign.SIGNATURE, f"lerobot:{folder}", video=video)
    assert len(list(folder.glob("data/*/*.parquet"))) == 4
    assert (folder / "data/chunk-001/file-000.parquet").exists()
    assert len(list(folder.glob("videos/*/chunk-001/file-000.mp4"))) == 2 * video
    result, found = foreign.back(f"lerobot:{folder}", tmp_path / "back")
    for first, second in zip(written, found, strict=True):
        foreign.same(first, second, nearly=["cam era", "grey"] if video else [])
    assert result.signature == foreign.SIGNATURE
    assert result.notes == []


def test_what_is_written_is_the_format(tmp_path: Path) -> None:
    folder = foreign.export(
        foreign.episodes(foreign.SIGNATURE),
        foreign.SIGNATURE,
        f"lerobot:{tmp_path}/set",
        video=True,
    )
    info = json.loads((folder / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"]) == ("v3.0", 20)
    assert (info["total_episodes"], info["total_frames"]) == (4, 18)
    assert info["splits"] == {"train": "0:4"}
    assert info["data_path"] == "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    assert info["features"]["observation.state"] == {
        "dtype": "float32",
        "shape": [2],
        "names": ["angle", "rate"],
    }
    film = info["features"]["observation.images.grey"]
    assert (film["dtype"], film["shape"]) == ("video", [34, 32, 3])
    assert film["info"]["video.codec"] == "h264"
    rows = parquet.read_table(folder / FILES["data"])
    assert rows.schema.field("observation.state").type == pa.list_(pa.float32(), 2)
    assert rows.schema.field("observation.one").type == pa.float32()
    assert rows.column("index").to_pylist() == list(range(18))
    assert rows.column("frame_index").to_pylist()[:9] == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    np.testing.assert_allclose(rows.column("timestamp").to_pylist()[:3], [0, 0.05, 0.1])
    assert rows.column("next.done").to_pylist()[:7] == [False] * 5 + [True] * 2
    about = parquet.read_table(folder / FILES["episodes"]).to_pylist()
    assert [one["length"] for one in about] == [7, 5, 2, 4]
    assert [one["dataset_from_index"] for one in about] == [0, 7, 12, 14]
    begun = [one["videos/observation.images.grey/from_timestamp"] for one in about]
    np.testing.assert_allclose(begun, [0, 0.35, 0.6, 0.7])
    assert about[0]["tasks"] == ["do what is done"]
    tasks = parquet.read_table(folder / "meta/tasks.parquet")
    assert tasks.to_pylist() == [{"task_index": 0, "task": "do what is done"}]
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]


def test_statistics_are_those_of_all_frames(tmp_path: Path) -> None:
    written = foreign.episodes(foreign.SIGNATURE)
    folder = foreign.export(written, foreign.SIGNATURE, f"lerobot:{tmp_path}/set")
    found = json.loads((folder / "meta/stats.json").read_text())
    state = np.concatenate([one.observation["joint"] for one in written]).astype(np.float64)
    for name, expected in (
        ("min", state.min(0)),
        ("max", state.max(0)),
        ("mean", state.mean(0)),
        ("std", state.std(0)),
        ("count", [18]),
    ):
        np.testing.assert_allclose(found["observation.state"][name], expected, rtol=1e-6)
    assert found["observation.state"]["q01"] < found["observation.state"]["q99"]
    pixels = np.concatenate([one.observation["cam era"] for one in written]) / 255
    picture = found["observation.images.cam_era"]
    assert np.shape(picture["mean"]) == (3, 1, 1)
    np.testing.assert_allclose(np.ravel(picture["mean"]), pixels.mean((0, 1, 2)), atol=0.02)


def test_a_rate_that_is_no_whole_number_is_kept(tmp_path: Path) -> None:
    signature = Signature(foreign.PLAIN.observation, foreign.PLAIN.action, 0.03)
    folder = foreign.export(foreign.episodes(signature), signature, f"lerobot:{tmp_path}/set")
    assert json.loads((folder / "meta/info.json").read_text())["fps"] == pytest.approx(100 / 3)
    assert foreign.back(f"lerobot:{folder}", tmp_path / "back")[0].signature == signature


# ── of others ────────────────────────────────────────────────────────────────────────────────

STRANGE = Signature(
    (
        ObservationPart("state", (2,), numbers=(NamedNumber("a"), NamedNumber("b"))),
        ObservationPart("front", (32, 48, 3), role="image", dtype="uint8"),
    ),
    (ActionPart("x", -2, 2),),
    0.1,
)


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A data set that does not say what planet_ros would."""
    name = f"lerobot:{tmp_path}/strange"
    folder = foreign.export(foreign.episodes(STRANGE), STRANGE, name)
    (folder / "meta/planet_ros.json").unlink()
    return folder


def drop(folder: Path, *keys: str) -> None:
    change_json(folder / "meta/info.json", lambda info: [info["features"].pop(k) for k in keys])


def test_a_strangers_data_set_is_read(strange: Path, tmp_path: Path) -> None:
    """Done is terminated, ranges and period are those of the data, one frame alone is no step."""
    drop(strange, "next.terminated", "next.truncated")
    result, found = foreign.back(str(strange), tmp_path / "back")
    for first, second in zip(foreign.episodes(STRANGE), found, strict=True):
        np.testing.assert_array_equal(first.observation["state"], second.observation["state"])
        np.testing.assert_array_equal(first.observation["front"], second.observation["front"])
        np.testing.assert_array_equal(first.reward, second.reward)
    assert [one.terminated for one in found] == [True, True, False, True]
    assert result.signature.period_s == pytest.approx(0.1)
    assert result.signature.observation == STRANGE.observation
    actions = np.concatenate([one.action for one in found])
    assert result.signature.low == actions.min() and result.signature.high == actions.max()
    assert "gives no range of actions" in result.notes[0]


def test_rows_as_lists_of_any_length_are_read(strange: Path, tmp_path: Path) -> None:
    """As datasets have them that were converted from version 2."""

    def loosen(table: pa.Table) -> pa.Table:
        for name in ("observation.state", "action"):
            values = [np.ravel(one).tolist() for one in table.column(name).to_pylist()]
            table = with_column(table, name, values)
        return table

    change_table(strange / FILES["data"], loosen)
    _, found = foreign.back(str(strange), tmp_path / "back")
    for first, second in zip(foreign.episodes(STRANGE), found, strict=True):
        np.testing.assert_array_equal(first.observation["state"], second.observation["state"])
        np.testing.assert_array_equal(first.action, second.action)


def test_what_is_neither_numbers_nor_pictures_is_told(strange: Path, tmp_path: Path) -> None:
    change_json(
        strange / "meta/info.json",
        lambda info: info["features"].update(
            {"observation.word": {"dtype": "string", "shape": []}}
        ),
    )
    result, _ = foreign.back(str(strange), tmp_path / "back")
    assert "observation.word (string) is neither numbers nor pictures" in result.notes[-1]


def test_an_interface_knows_the_reward_and_makes_pictures_smaller(
    strange: Path, tmp_path: Path
) -> None:
    drop(strange, "next.reward")
    said = refused(strange, tmp_path)
    assert "found no reward in it" in said and "--interface" in said and "--reward NAME" in said
    camera = {
        "name": "camera",
        "topic": "camera",
        "type": "sensor_msgs/msg/Image",
        "image": {"height": 16, "width": 24},
    }
    document = {
        **INTERFACE,
        "period_s": 0.1,
        "observation": [*INTERFACE["observation"], camera],
    }
    interface = interface_from(document)
    import_datasets([str(strange)], tmp_path / "back", interface=interface, make=MAKE)
    found = EpisodeStore(tmp_path / "back").episodes
    for first, second in zip(foreign.episodes(STRANGE), found, strict=True):
        angle = first.observation["state"][:-1, 0].astype(np.float64)
        np.testing.assert_allclose(second.reward, -(angle**2))
        assert second.observation["camera"].shape[1:] == (16, 24, 3)
        np.testing.assert_array_equal(first.observation["state"], second.observation["joint"])
    shutil.rmtree(tmp_path / "back")
    other = interface_from({**document, "period_s": 0.05})
    assert "found 0.1 s for a step, expected 0.05 s as in the interface" in refused(
        strange, tmp_path, interface=other, make=MAKE
    )
    judged = interface_from({**document, "reward": {"kind": "step"}})
    assert "found no reward" in refused(strange, tmp_path, interface=judged, make=MAKE)


def test_a_column_can_be_the_reward(strange: Path, tmp_path: Path) -> None:
    change_table(
        strange / FILES["data"],
        lambda table: table.append_column("score", pa.array(np.arange(18.0))),
    )
    drop(strange, "next.reward")
    change_json(
        strange / "meta/info.json",
        lambda info: info["features"].update({"score": {"dtype": "float32", "shape": [1]}}),
    )
    assert "--reward: found 'scor', expected one of" in refused(strange, tmp_path, reward="scor")
    import_datasets([str(strange)], tmp_path / "back", interface=None, make=None, reward="score")
    rewards = [one.reward.tolist() for one in EpisodeStore(tmp_path / "back").episodes]
    assert rewards[:2] == [[0, 1, 2, 3, 4, 5], [7, 8, 9, 10]]


# ── refused ──────────────────────────────────────────────────────────────────────────────────


def test_without_the_libraries_the_extra_is_named(
    strange: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"av is not installed.*planet_ros\[lerobot\]"):
        foreign.export([], STRANGE, f"lerobot:{tmp_path}/film", video=True)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'planet_ros[lerobot]'" in refused(strange, tmp_path)
    with pytest.raises(UserError, match=r"pip install 'planet_ros\[lerobot\]'"):
        foreign.export([], STRANGE, f"lerobot:{tmp_path}/rows")


def test_nothing_is_overwritten_and_films_are_even(strange: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="already exists"):
        foreign.export(foreign.episodes(STRANGE), STRANGE, f"lerobot:{strange}")
    odd = ObservationPart("image", (33, 32, 1), role="image", dtype="uint8")
    signature = Signature((odd,), STRANGE.action, 0.1)
    with pytest.raises(UserError, match="found pictures of 33 × 32, expected even"):
        foreign.export(
            foreign.episodes(signature), signature, f"lerobot:{tmp_path}/odd", video=True
        )
    with pytest.raises(UserError, match="found no episodes"):
        foreign.export([], STRANGE, f"lerobot:{tmp_path}/none")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["strange"]


FEATURES: Sequence[tuple[str, dict[str, Any], str]] = [
    ("action", {"dtype": "int64", "shape": [1]}, "found discrete actions (int64)"),
    ("action", {"dtype": "float32", "shape": [2, 2]}, "action: found float32 of [2, 2]"),
    ("action", {"dtype": "float32", "shape": [10**9]}, "found 1000000000 numbers of action"),
    ("action", {"dtype": "float32", "shape": [2]}, "found 18 numbers, expected 2 in a row"),
    ("observation.state", {"dtype": "float32", "shape": [3]}, "expected 3"),
    ("observation.state", {"dtype": "float32", "shape": [10**12]}, "found state of float32"),
    ("observation.state", {"dtype": "float32", "shape": "x"}, "found the shape x"),
    ("observation.state", {"dtype": "float32", "shape": [-1]}, "found the shape [-1]"),
    ("observation.images.front", {"dtype": "image", "shape": [32, 40, 3]}, "picture of 32 × 48"),
    ("observation.images.front", {"dtype": "image", "shape": [9, 9, 7]}, "found pictures of shape"),
    ("observation.images/../x", {"dtype": "image", "shape": [32, 48, 3]}, "a name with a slash"),
    ("observation.none", {"dtype": "float32", "shape": [1]}, "found no column observation.none"),
]


@pytest.mark.parametrize(("key", "feature", "expected"), FEATURES)
def test_features_that_lie_are_refused(
    key: str, feature: dict[str, Any], expected: str, strange: Path, tmp_path: Path
) -> None:
    change_json(strange / "meta/info.json", lambda info: info["features"].update({key: feature}))
    assert expected in refused(strange, tmp_path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"codebase_version": "v2.1"}, "found v2.1, expected v3.0; lerobot itself converts"),
        ({"fps": 0}, "fps: found 0"),
        ({"fps": 1e-9}, "period_s: found 1e+09"),
        ({"features": []}, "features: expected 1 to"),
        ({"total_episodes": 5}, "found 4 episodes in meta/episodes, expected 5"),
        ({"total_episodes": 3}, "found 4 episodes in meta/episodes, expected 3"),
        ({"total_frames": 17}, "found 18 frames in meta/episodes, expected 17"),
        ({"total_frames": 10**30}, "total_frames: found"),
        ({"data_path": "/etc/passwd"}, "expected one in the folder"),
        ({"data_path": "../{chunk_index}"}, "expected one in the folder"),
        ({"data_path": "{chunk_index:999999999d}"}, "expected one in the folder"),
        ({"data_path": "{chunk_index.__class__}"}, "expected one in the folder"),
        ({"data_path": 3}, "expected paths"),
        ({"data_path": "data/none.parquet"}, "none.parquet: is not a whole parquet file"),
    ],
)
def test_an_info_that_lies_is_refused(
    changes: dict[str, Any], expected: str, strange: Path, tmp_path: Path
) -> None:
    change_json(strange / "meta/info.json", lambda info: info.update(changes))
    assert expected in refused(strange, tmp_path)


def test_paths_are_filled_and_nothing_else_is_done_with_them() -> None:
    template = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    assert filled(template, chunk=1, file=2000, key="a.b") == "videos/a.b/chunk-001/file-2000.mp4"
    assert filled("{file_index}", chunk=1, file=2) == "2"
    with pytest.raises(UserError, match="expected one in the folder"):
        filled("{video_key}/x", chunk=0, file=0, key="..")


@pytest.mark.parametrize(
    ("file", "change", "expected"),
    [
        ("data", lambda table: table.slice(0, 15), "found 1 rows of"),
        (
            "data",
            lambda table: with_column(table, "episode_index", [7] * 18),
            "found rows of other episodes",
        ),
        (
            "data",
            lambda table: with_column(table, "observation.state", [[1.0] * 3] * 18),
            "observation.state: found 54 numbers in 18 rows, expected 2 in each",
        ),
        (
            "data",
            lambda table: with_column(table, "observation.state", [[1.0]] * 9 + [[1.0] * 3] * 9),
            "observation.state: found rows of other sizes",
        ),
        (
            "data",
            lambda table: with_column(table, "action", [None] + [1.0] * 17),
            "action: found double with gaps",
        ),
        ("data", lambda table: with_column(table, "action", ["x"] * 18), "action: found string"),
        (
            "data",
            lambda table: with_column(table, "next.reward", [np.nan] * 18),
            "episode 0: reward: found a value that is not finite",
        ),
        (
            "data",
            lambda table: with_column(
                table, "observation.images.front", [{"bytes": None, "path": "/etc/passwd"}] * 18
            ),
            "found a picture that is a path",
        ),
        (
            "data",
            lambda table: with_column(
                table, "observation.images.front", [{"bytes": b"x", "path": ""}] * 18
            ),
            "found a picture that is not whole",
        ),
        ("data", lambda table: table.drop_columns(["action"]), "found no column action"),
        (
            "episodes",
            lambda table: with_column(table, "length", [-3, 5, 2, 14]),
            "found an episode of -3 frames",
        ),
        (
            "episodes",
            lambda table: with_column(table, "length", [8, 4, 2, 4]),
            "found rows of other episodes",
        ),
        (
            "episodes",
            lambda table: with_column(table, "length", [np.nan] * 4),
            "found an episode of nan frames",
        ),
        (
            "episodes",
            lambda table: with_column(table, "data/file_index", [0, 0, 0, 9]),
            "file-009.parquet: is not a whole parquet file",
        ),
    ],
)
def test_tables_that_lie_are_refused(
    file: str, change: Any, expected: str, strange: Path, tmp_path: Path
) -> None:
    change_table(strange / FILES[file], change)
    assert expected in refused(strange, tmp_path)


@pytest.mark.parametrize("file", ["data", "episodes", "film"])
def test_files_that_are_cut_short_are_refused(file: str, tmp_path: Path) -> None:
    name = f"lerobot:{tmp_path}/set"
    folder = foreign.export(
        foreign.episodes(foreign.SIGNATURE), foreign.SIGNATURE, name, video=True
    )
    path = folder / FILES[file]
    content = path.read_bytes()
    # The last bytes of a film say nothing of its pictures.
    for length in (0, 10, len(content) // 2, len(content) - (2000 if file == "film" else 9)):
        path.write_bytes(content[:length])
        said = refused(folder, tmp_path)
        assert str(path) in said and ("is not a whole" in said or "found no picture" in said)


def test_films_that_lie_are_refused(tmp_path: Path) -> None:
    """Another size than is said, and fewer pictures."""
    name, written = f"lerobot:{tmp_path}/set", foreign.episodes(foreign.SIGNATURE)
    folder = foreign.export(written, foreign.SIGNATURE, name, video=True)
    grey = folder / FILES["film"].replace("cam_era", "grey")
    film, content = folder / FILES["film"], (folder / FILES["film"]).read_bytes()
    film.write_bytes(grey.read_bytes())
    assert "found pictures of 34 × 32, expected 32 × 48" in refused(folder, tmp_path)
    film.write_bytes(content)
    key = "videos/observation.images.cam_era/from_timestamp"
    change_table(
        folder / FILES["episodes"], lambda table: with_column(table, key, [0, 0.35, 0.6, 7.0])
    )
    assert "found no picture at 7.000 s" in refused(folder, tmp_path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda own: own.pop("description"), "found no signature"),
        (lambda own: own["features"].update(joint="observation.one"), "found another obs"),
        (lambda own: own["features"].update(joint=["x"]), "features: expected one of info.json"),
        (lambda own: own.update(features={}), "features: expected one of info.json"),
        (lambda own: own["description"]["signature"]["action"].pop(), "found other actions than"),
        (
            lambda own: own["description"]["signature"]["observation"][0].update(shape=[5]),
            "found no signature",
        ),
    ],
)
def test_what_is_said_for_planet_ros_is_looked_at_too(
    change: Any, expected: str, tmp_path: Path
) -> None:
    name = f"lerobot:{tmp_path}/set"
    folder = foreign.export(foreign.episodes(foreign.SIGNATURE), foreign.SIGNATURE, name)
    change_json(folder / "meta/planet_ros.json", change)
    assert expected in refused(folder, tmp_path)


def test_an_episode_that_memory_does_not_hold_is_refused_before_it_is_read(
    strange: Path, tmp_path: Path
) -> None:
    change_json(
        strange / "meta/info.json",
        lambda info: (
            info.update(total_frames=10**7),
            info["features"]["observation.images.front"].update(shape=[4000, 4000, 3]),
        ),
    )
    change_table(
        strange / FILES["episodes"],
        lambda table: with_column(table, "length", [10**7 - 11, 5, 2, 4]),
    )
    assert "an interface (--interface) with smaller pictures helps" in refused(strange, tmp_path)
