"""LeRobotDatasets of version 3, in and out."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import foreign
import numpy as np
import pytest
from bags import INTERFACE, MAKE
from lerobot_sets import (
    FILES,
    STRANGE,
    change_json,
    change_table,
    drop,
    refused,
    with_column,
    write_strange,
)

from planet_ros.data import EpisodeStore, ObservationPart, Signature
from planet_ros.datasets import lerobot_writing
from planet_ros.datasets.converting import import_datasets
from planet_ros.errors import UserError
from planet_ros.interface.files import interface_from

pytest.importorskip("pyarrow")
pytest.importorskip("av")

import pyarrow as pa
import pyarrow.parquet as parquet

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


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A data set that does not say what planet_ros would."""
    return write_strange(tmp_path / "strange")


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
