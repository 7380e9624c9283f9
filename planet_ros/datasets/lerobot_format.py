"""The format of a LeRobotDataset of version 3: where things are, and what ``info.json`` says.

```
meta/info.json                             features, frames a second, how many of what, paths
meta/stats.json                            least, greatest, mean … of each feature
meta/tasks.parquet                         what is done, in words
meta/episodes/chunk-000/file-000.parquet   a row for each episode: which rows and films are its own
data/chunk-000/file-000.parquet            a row for each frame, of many episodes
videos/KEY/chunk-000/file-000.mp4          the pictures of a camera, of many episodes
```

A frame is what was seen, and what was done then: of the last frame of an episode nobody knows what
came of it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from planet_ros.datasets.foreign import MAX_EPISODES, MAX_STEPS, missing, read_json, shape_of
from planet_ros.errors import UserError
from planet_ros.messages.fields import shortened

VERSION = "v3.0"

INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

OWN = "meta/planet_ros.json"
"""What the episodes are of, where planet_ros wrote them; other readers pass over it."""

ACTION = "action"
REWARD = "next.reward"
DONE = "next.done"
TERMINATED, TRUNCATED = "next.terminated", "next.truncated"
"""Of planet_ros; elsewhere an episode that is done has terminated."""

SEEN = "observation."
PICTURES = "observation.images."
STATE = "observation.state"
ENVIRONMENT_STEPS = "planet_ros/environment_steps"
"""Column of an episode's row, of planet_ros alone."""

_PLACE = re.compile(r"\{(chunk_index|file_index|video_key)(?::0?(\d)d)?\}")
_MOST_FEATURES = 1000


def pyarrow() -> Any:
    """The library for parquet.

    Raises:
        UserError: It is not installed.
    """
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise missing("pyarrow", "lerobot") from None
    import pyarrow

    return pyarrow


def filled(template: str, *, chunk: int, file: int, key: str = "") -> str:
    """A path out of a template with ``chunk_index``, ``file_index`` and ``video_key``.

    Nothing else is done with what stands in braces: a template is a stranger's.

    Raises:
        UserError: Something else does, or it leads out of the folder.
    """
    values: dict[str, int | str] = {"chunk_index": chunk, "file_index": file, "video_key": key}

    def put(match: re.Match[str]) -> str:
        value, width = values[match[1]], int(match[2] or 0)
        return str(value).zfill(width)

    path = _PLACE.sub(put, template)
    pure = PurePosixPath(path)
    if "{" in path or "\\" in path or "\0" in path or pure.is_absolute() or ".." in pure.parts:
        raise UserError(
            f"{INFO}: found the path {shortened(template)}, expected one in the folder, such as "
            f"{DATA}"
        )
    return path


@dataclass(frozen=True)
class Feature:
    """A feature of the data set.

    Attributes:
        key: Such as ``observation.state``.
        dtype: ``float32``, ``int64``, ``bool``, ``image``, ``video``, ``string`` …
        shape: Of one frame.
        names: Of its numbers; empty: not known.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()

    @property
    def is_picture(self) -> bool:
        """Whether it is one, in the rows or in a film."""
        return self.dtype in ("image", "video")

    @property
    def is_number(self) -> bool:
        """Whether it is one or more numbers in a row."""
        return bool(re.fullmatch(r"(float|int|uint)\d+|bool", self.dtype)) and len(self.shape) <= 1


@dataclass(frozen=True)
class Info:
    """What ``info.json`` says.

    Attributes:
        fps: Frames a second.
        features: By key.
        episodes: How many.
        frames: In all of them.
        data_path: Template of the path of rows.
        video_path: Likewise of films; empty: there are none.
    """

    fps: float
    features: dict[str, Feature]
    episodes: int
    frames: int
    data_path: str
    video_path: str


def read_info(folder: Path, name: str) -> Info:
    """Read and check it.

    Args:
        folder: Of the data set.
        name: As a person says it.

    Raises:
        UserError: There is none, or it is not what is expected.
    """
    path = folder / INFO
    if not path.is_file():
        raise UserError(f"{name}: found no {INFO}, expected the folder of a LeRobotDataset")
    found = read_json(path)
    version = found.get("codebase_version")
    if not isinstance(version, str) or not version.startswith("v3."):
        raise UserError(
            f"{path}: codebase_version: found {shortened(version)}, expected {VERSION}; lerobot "
            "itself converts older ones (convert_dataset_v21_to_v30)"
        )
    fps = found.get("fps")
    if not isinstance(fps, (int, float)) or isinstance(fps, bool) or not 0 < fps < math.inf:
        raise UserError(f"{path}: fps: found {shortened(fps)}, expected more than 0")
    features = found.get("features")
    if not isinstance(features, dict) or not 0 < len(features) <= _MOST_FEATURES:
        raise UserError(f"{path}: features: expected 1 to {_MOST_FEATURES} of them")
    video_path = found.get("video_path") or ""
    data_path = found.get("data_path")
    if not isinstance(data_path, str) or not isinstance(video_path, str):
        raise UserError(f"{path}: data_path, video_path: expected paths, such as {DATA}")
    return Info(
        float(fps),
        {key: _feature(key, one, path) for key, one in features.items()},
        _count(found, "total_episodes", MAX_EPISODES, path),
        _count(found, "total_frames", MAX_STEPS * 100, path),
        data_path,
        video_path,
    )


def _count(found: dict[str, Any], key: str, most: int, path: Path) -> int:
    value = found.get(key)
    if type(value) is not int or not 0 < value <= most:
        raise UserError(f"{path}: {key}: found {shortened(value)}, expected 1 to {most}")
    return value


def _feature(key: str, found: Any, path: Path) -> Feature:
    where = f"{path}: features: {shortened(key)}"
    if not isinstance(found, dict) or not isinstance(found.get("dtype"), str):
        raise UserError(f"{where}: expected an object with dtype, shape and names")
    if "/" in key or "\\" in key or key in (".", ".."):
        raise UserError(f"{where}: found a name with a slash, expected one without")
    shape = shape_of(found.get("shape"), where) if "shape" in found else ()
    if found["dtype"] in ("image", "video") and len(shape) == 3 and shape[0] in (1, 3):
        named = found.get("names")
        if shape[2] not in (1, 3) or (isinstance(named, list) and named[0] == "channels"):
            shape = (shape[1], shape[2], shape[0])  # channels first
    about = found.get("info")
    depth = isinstance(about, dict) and any(
        one.endswith("is_depth_map") and about[one] for one in about
    )
    return Feature(
        key, "depth" if depth else found["dtype"], shape, _names(found.get("names"), shape)
    )


def _names(found: Any, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Of the numbers of a vector, where there is one text for each."""
    if isinstance(found, dict) and len(found) == 1:
        found = next(iter(found.values()))  # {"motors": […]}
    if not isinstance(found, list) or len(shape) != 1 or len(found) != shape[0]:
        return ()
    fine = all(isinstance(one, str) and one and len(one) <= 100 for one in found)
    return tuple(found) if fine and len(set(found)) == len(found) else ()
