"""Episodes as a LeRobotDataset of version 3.

An episode of T steps becomes T + 1 frames: the last is what was seen after the last step, and bears
the last action once more, and a reward of 0. Numbers and, in rows, pictures are as they were; films
are smaller, and not exact.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.data import Episode, ObservationPart
from planet_ros.datasets.films import CODEC, PIXELS, FilmWriter, av
from planet_ros.datasets.lerobot_format import (
    ACTION,
    DATA,
    DONE,
    ENVIRONMENT_STEPS,
    EPISODES,
    INFO,
    OWN,
    PICTURES,
    REWARD,
    SEEN,
    STATE,
    STATS,
    TASKS,
    TERMINATED,
    TRUNCATED,
    VERSION,
    VIDEO,
    filled,
    pyarrow,
)
from planet_ros.datasets.lerobot_statistics import Statistics, joined_statistics, statistics_of
from planet_ros.errors import UserError
from planet_ros.files import folder_written_whole
from planet_ros.interface.description import Description

CHUNK_FILES = 1000
DATA_FILE_MB = 100
VIDEO_FILE_MB = 200

_NO_KEY = re.compile(r"[^A-Za-z0-9_.-]+")
_PLAIN = {  # columns of one number
    REWARD: "float64",
    DONE: "bool",
    TERMINATED: "bool",
    TRUNCATED: "bool",
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


def write_lerobot(
    episodes: Iterator[Episode], description: Description, folder: Path, *, task: str, video: bool
) -> None:
    """Write them.

    Args:
        episodes: All of them, in order.
        description: What they are of.
        folder: Of the data set; must not exist. It is written whole or not at all.
        task: What was done in them, in words.
        video: Write pictures as films, H.264 in MP4.

    Raises:
        UserError: The folder exists, a library is not installed, or a picture cannot be a film.
    """
    pyarrow()
    if folder.exists():
        raise UserError(f"lerobot:{folder}: already exists; choose another folder with --output")
    keys = _keys(description.signature.observation)
    if video:
        av()
        for part in description.signature.parts("image"):
            if part.shape[0] % 2 or part.shape[1] % 2:
                raise UserError(
                    f"--video: found pictures of {part.shape[0]} × {part.shape[1]}, expected even "
                    "numbers, as H.264 has them; without --video they are written as they are"
                )
    with folder_written_whole(folder) as temporary:
        writer = _Writer(temporary, description, keys, video)
        for episode in episodes:
            description.signature.check(episode.layout, f"lerobot:{folder}")
            writer.add(episode)
        writer.finish(task)


def _keys(parts: tuple[ObservationPart, ...]) -> dict[str, str]:
    """The feature of each part; the first vector is the state, where none is called so."""
    vectors = [part.name for part in parts if part.role == "vector"]
    state = "state" if "state" in vectors or not vectors else vectors[0]
    keys: dict[str, str] = {}
    for part in parts:
        plain = _NO_KEY.sub("_", part.name)
        key = f"{PICTURES if part.role == 'image' else SEEN}{plain}"
        key = STATE if part.name == state and part.role == "vector" else key
        while key in keys.values():
            key += "_"
        keys[part.name] = key
    return keys


def _frames_a_second(period_s: float) -> Fraction:
    """As a fraction, which films take; a whole number where it is one but for rounding."""
    return Fraction(1 / period_s).limit_denominator(1000)


class _Writer:
    """A data set under way."""

    def __init__(
        self, folder: Path, description: Description, keys: dict[str, str], video: bool
    ) -> None:
        self._folder, self._description, self._keys = folder, description, keys
        signature = description.signature
        self._fps = _frames_a_second(signature.period_s)
        self._films: dict[str, _Films] = {}
        if video:
            self._films = {
                keys[name]: _Films(folder, keys[name], self._fps, shape)
                for name, shape in signature.images.items()
            }
        self._rows = _Rows(folder, self._schema())
        self._statistics: list[dict[str, Statistics]] = []
        self._episodes: list[dict[str, Any]] = []
        self._frames = 0

    def _schema(self) -> Any:
        """Types of the columns: those that LeRobot's features become."""
        import pyarrow as pa

        picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        fields = []
        for part in self._description.signature.observation:
            key = self._keys[part.name]
            if part.role != "image":
                fields.append((key, _vector_type(part.shape[0])))
            elif key not in self._films:
                fields.append((key, picture))
        fields.append((ACTION, _vector_type(self._description.signature.actions)))
        plain = {"float64": pa.float64(), "float32": pa.float32(), "int64": pa.int64()}
        fields += [(key, plain.get(kind, pa.bool_())) for key, kind in _PLAIN.items()]
        return pa.schema(fields)

    def add(self, episode: Episode) -> None:
        """Append an episode."""
        number, length = len(self._episodes), len(episode) + 1
        ends = np.zeros((3, length), dtype=bool)
        over = episode.terminated or episode.truncated
        ends[:, -2:] = np.array([[over], [episode.terminated], [episode.truncated]])
        index = np.arange(length)
        columns: dict[str, NDArray[Any]] = {
            **{self._keys[name]: values for name, values in episode.observation.items()},
            ACTION: np.concatenate([episode.action, episode.action[-1:]]),
            REWARD: np.append(episode.reward, 0.0),
            DONE: ends[0],
            TERMINATED: ends[1],
            TRUNCATED: ends[2],
            "timestamp": (index / float(self._fps)).astype(np.float32),
            "frame_index": index,
            "episode_index": np.full(length, number),
            "index": self._frames + index,
            "task_index": np.zeros(length, np.int64),
        }
        places = {}
        for key, films in self._films.items():
            places.update(films.add(columns[key]))
        chunk, file = self._rows.add(columns)
        found = {key: statistics_of(values) for key, values in columns.items()}
        self._statistics.append(found)
        self._episodes.append(
            {
                "episode_index": number,
                "length": length,
                "data/chunk_index": chunk,
                "data/file_index": file,
                "dataset_from_index": self._frames,
                "dataset_to_index": self._frames + length,
                **places,
                **{
                    f"stats/{key}/{name}": value.tolist()
                    for key, values in found.items()
                    for name, value in values.items()
                },
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
                ENVIRONMENT_STEPS: episode.environment_steps,
            }
        )
        self._frames += length

    def finish(self, task: str) -> None:
        """End the files, and write what is said of them.

        Raises:
            UserError: There was no episode.
        """
        if not self._episodes:
            raise UserError("found no episodes, expected at least one")
        self._rows.close()
        for films in self._films.values():
            films.close()
        rows = [{**row, "tasks": [task]} for row in self._episodes]
        _write_table(self._folder / filled(EPISODES, chunk=0, file=0), rows)
        _write_tasks(self._folder / TASKS, task)
        own = {"features": self._keys, "description": self._description.to_dict()}
        for name, document in (
            (INFO, self._info()),
            (STATS, joined_statistics(self._statistics)),
            (OWN, own),
        ):
            text = json.dumps(document, indent=4) + "\n"
            (self._folder / name).write_text(text, encoding="utf-8")

    def _info(self) -> dict[str, Any]:
        whole = self._fps.denominator == 1
        return {
            "codebase_version": VERSION,
            "robot_type": None,
            "total_episodes": len(self._episodes),
            "total_frames": self._frames,
            "total_tasks": 1,
            "chunks_size": CHUNK_FILES,
            "data_files_size_in_mb": DATA_FILE_MB,
            "video_files_size_in_mb": VIDEO_FILE_MB,
            "fps": int(self._fps) if whole else float(self._fps),
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": DATA,
            "video_path": VIDEO if self._films else None,
            "features": self._features(),
        }

    def _features(self) -> dict[str, Any]:
        signature = self._description.signature
        features: dict[str, Any] = {}
        for part in signature.observation:
            key = self._keys[part.name]
            if part.role != "image":
                names = [one.name for one in part.numbers] or None
                features[key] = {"dtype": "float32", "shape": list(part.shape), "names": names}
                continue
            film = self._films.get(key)
            shape = list(part.shape) if film is None else [*part.shape[:2], 3]
            features[key] = {
                "dtype": "image" if film is None else "video",
                "shape": shape,
                "names": ["height", "width", "channels"],
                **({} if film is None else {"info": film.info}),
            }
        features[ACTION] = {
            "dtype": "float32",
            "shape": [signature.actions],
            "names": [one.name for one in signature.action],
        }
        for key, kind in _PLAIN.items():
            features[key] = {"dtype": kind, "shape": [1], "names": None}
        return features


def _vector_type(size: int) -> Any:
    """Of one number it is a plain one, as LeRobot has it."""
    import pyarrow as pa

    return pa.float32() if size == 1 else pa.list_(pa.float32(), size)


class _Rows:
    """The files of rows: an episode is a group of rows, and a file is ended when it is large."""

    def __init__(self, folder: Path, schema: Any) -> None:
        self._folder, self._schema = folder, schema
        self._number = -1
        self._writer: Any = None
        self._path = folder

    def add(self, columns: dict[str, NDArray[Any]]) -> tuple[int, int]:
        """Append rows; give chunk and file that they are in."""
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        if self._writer is not None and self._path.stat().st_size >= DATA_FILE_MB * 2**20:
            self.close()
        if self._writer is None:
            self._number += 1
            chunk, file = divmod(self._number, CHUNK_FILES)
            self._path = self._folder / filled(DATA, chunk=chunk, file=file)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = ParquetWriter(self._path, self._schema, compression="snappy")
        arrays = [_column(columns[field.name], field.type) for field in self._schema]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        return divmod(self._number, CHUNK_FILES)

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _column(values: NDArray[Any], kind: Any) -> Any:
    import pyarrow as pa

    if values.ndim == 4:
        pictures = [{"bytes": _png(image), "path": None} for image in values]
        return pa.array(pictures, kind)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(flat, type=kind)
    return flat.cast(kind)


def _png(image: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, format="PNG")
    return buffer.getvalue()


class _Films:
    """The films of a camera: one after the other, each ended when it is large."""

    def __init__(self, folder: Path, key: str, fps: Fraction, shape: tuple[int, ...]) -> None:
        self._folder, self._key, self._fps, self._shape = folder, key, fps, shape
        self._number = -1
        self._film: FilmWriter | None = None

    def add(self, images: NDArray[np.uint8]) -> dict[str, Any]:
        """Append an episode; give its columns of ``meta/episodes``."""
        film = self._film
        if film is not None and film.nbytes >= VIDEO_FILE_MB * 2**20:
            film.close()
            film = None
        if film is None:
            self._number += 1
            chunk, file = divmod(self._number, CHUNK_FILES)
            path = self._folder / filled(VIDEO, chunk=chunk, file=file, key=self._key)
            path.parent.mkdir(parents=True, exist_ok=True)
            film = self._film = FilmWriter(path, self._fps, self._shape)
        begin = film.frames
        for image in images:
            film.add(image)
        chunk, file = divmod(self._number, CHUNK_FILES)
        return {
            f"videos/{self._key}/chunk_index": chunk,
            f"videos/{self._key}/file_index": file,
            f"videos/{self._key}/from_timestamp": float(begin / self._fps),
            f"videos/{self._key}/to_timestamp": float(film.frames / self._fps),
        }

    @property
    def info(self) -> dict[str, Any]:
        """What ``info.json`` says of them."""
        return {
            "video.height": self._shape[0],
            "video.width": self._shape[1],
            "video.codec": "h264" if CODEC == "libx264" else CODEC,
            "video.pix_fmt": PIXELS,
            "video.is_depth_map": False,
            "video.fps": int(self._fps) if self._fps.denominator == 1 else float(self._fps),
            "video.channels": 3,
            "has_audio": False,
        }

    def close(self) -> None:
        """End the film."""
        if self._film is not None:
            self._film.close()


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(pa.Table.from_pylist(rows), path, compression="snappy")


def _write_tasks(path: Path, task: str) -> None:
    """A row for each task, by its words, as pandas indexes it."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    columns = [("task_index", "int64", "int64"), ("task", "unicode", "object")]
    about = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {
                "name": name,
                "field_name": name,
                "pandas_type": kind,
                "numpy_type": numpy_type,
                "metadata": None,
            }
            for name, kind, numpy_type in columns
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": pa.array([0], pa.int64()), "task": [task]})
    write_table(table.replace_schema_metadata({"pandas": json.dumps(about)}), path)
