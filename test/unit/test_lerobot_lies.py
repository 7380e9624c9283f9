"""LeRobotDatasets that lie about themselves, or are damaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import foreign
import numpy as np
import pytest
from lerobot_sets import FILES, change_json, change_table, refused, with_column, write_strange

from planet_ros.datasets.films import read_film
from planet_ros.datasets.lerobot_format import filled
from planet_ros.errors import UserError

pytest.importorskip("pyarrow")
pytest.importorskip("av")


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A data set that does not say what planet_ros would."""
    return write_strange(tmp_path / "strange")


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


def test_a_picture_of_another_time_is_not_taken(tmp_path: Path) -> None:
    name, written = f"lerobot:{tmp_path}/set", foreign.episodes(foreign.SIGNATURE)
    folder = foreign.export(written, foreign.SIGNATURE, name, video=True)
    times_s = np.array([0.05, 0.1, 0.225, 0.25])
    with pytest.raises(UserError, match=r"found no picture at 0.225 s"):
        read_film(folder / FILES["film"], times_s, 0.01, (32, 48, 3), lambda image: image)
    images = read_film(folder / FILES["film"], times_s[:2], 0.01, (32, 48, 3), lambda one: one)
    for image, true in zip(images, written[0].observation["cam era"][1:3], strict=True):
        assert np.abs(image.astype(int) - true).mean() < 4


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
