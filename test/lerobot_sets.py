"""LeRobotDatasets of a stranger, and what is done to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign
import pytest

from planet_ros.data import ActionPart, NamedNumber, ObservationPart, Signature
from planet_ros.datasets.converting import import_datasets
from planet_ros.errors import UserError

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


def change_table(path: Path, change: Callable[[Any], Any]) -> None:
    import pyarrow.parquet as parquet

    parquet.write_table(change(parquet.read_table(path)), path)


def with_column(table: Any, name: str, values: Any) -> Any:
    import pyarrow as pa

    return table.set_column(table.column_names.index(name), name, pa.array(values))


STRANGE = Signature(
    (
        ObservationPart("state", (2,), numbers=(NamedNumber("a"), NamedNumber("b"))),
        ObservationPart("front", (32, 48, 3), role="image", dtype="uint8"),
    ),
    (ActionPart("x", -2, 2),),
    0.1,
)


def write_strange(folder: Path) -> Path:
    """A data set that does not say what planet_ros would."""
    foreign.export(foreign.episodes(STRANGE), STRANGE, f"lerobot:{folder}")
    (folder / "meta/planet_ros.json").unlink()
    return folder


def drop(folder: Path, *keys: str) -> None:
    change_json(folder / "meta/info.json", lambda info: [info["features"].pop(k) for k in keys])
