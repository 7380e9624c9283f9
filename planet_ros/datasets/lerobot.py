"""LeRobotDatasets of version 3, read by pyarrow and, where there are films, by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.data import Episode, NamedNumber, ObservationPart
from planet_ros.datasets.films import av, read_film
from planet_ros.datasets.foreign import (
    MAX_STEPS,
    Contents,
    DataSet,
    Fit,
    check_actions,
    check_size,
    episode_of,
    part_of,
    read_json,
)
from planet_ros.datasets.lerobot_format import (
    ACTION,
    DONE,
    ENVIRONMENT_STEPS,
    OWN,
    PICTURES,
    REWARD,
    SEEN,
    TERMINATED,
    TRUNCATED,
    Feature,
    filled,
    pyarrow,
    read_info,
)
from planet_ros.datasets.tables import Frames, Table, picture_of
from planet_ros.errors import UserError
from planet_ros.interface.description import Description, description_from
from planet_ros.messages.fields import shortened

_MOST_FILES = 10**5


@dataclass(frozen=True)
class _Row:
    """Of ``meta/episodes``: where an episode is."""

    number: int
    length: int
    file: tuple[int, int]
    films: dict[str, tuple[int, int, float]]
    environment_steps: int


class LeRobotData(DataSet):
    """A LeRobotDataset."""

    def __init__(self, folder: Path, name: str, *, reward: str = "") -> None:
        """Open it.

        Args:
            folder: Of the data set.
            name: As a person says it.
            reward: Column that is the reward; empty: next.reward.

        Raises:
            UserError: There is none, it is not whole, or no model can learn it.
        """
        pyarrow()
        self.name, self.notes, self._folder = name, [], folder
        self._info = read_info(folder, name)
        self._own, features = self._description()
        parts = self._parts(features)
        self._features = {part.name: feature for part, feature in parts}
        if any(one.dtype == "video" for one in self._features.values()):
            av()
        self._reward = self._reward_column(reward)
        self._rows = self._read_rows()
        self.contents = self._contents(tuple(part for part, _ in parts))

    def _description(self) -> tuple[Description | None, dict[str, str]]:
        """What planet_ros wrote: what the episodes are of, and the feature of each part."""
        path = self._folder / OWN
        if not path.is_file():
            return None, {}
        document = read_json(path)
        description = description_from(document.get("description"), str(path))
        features = document.get("features")
        names = [part.name for part in description.signature.observation]
        if (
            not isinstance(features, dict)
            or list(features) != names
            or not all(isinstance(one, str) for one in features.values())
            or not set(features.values()) <= set(self._info.features)
        ):
            raise UserError(f"{path}: features: expected one of info.json for each of {names}")
        return description, features

    def _parts(self, own: dict[str, str]) -> list[tuple[ObservationPart, Feature]]:
        """Parts of the observation, each with its feature."""
        if self._own is not None:
            found = []
            for part in self._own.signature.observation:
                feature = self._info.features[own[part.name]]
                grey = feature.dtype == "video" and part.shape == (*feature.shape[:2], 1)
                if feature.is_picture != (part.role == "image") or not (
                    feature.shape == part.shape or grey
                ):
                    raise UserError(f"{self.name}: found another {feature.key} than {OWN} says")
                found.append((part, feature))
            return found
        parts: dict[str, tuple[ObservationPart, Feature]] = {}
        for feature in self._info.features.values():
            if not feature.key.startswith(SEEN):
                continue
            where = f"{self.name}: {feature.key}"
            if not feature.is_picture and not feature.is_number:
                self.notes.append(
                    f"{feature.key} ({feature.dtype}) is neither numbers nor pictures"
                )
                continue
            rest = feature.key.removeprefix(SEEN)
            name = feature.key.removeprefix(PICTURES if feature.is_picture else SEEN)
            name = rest if name == feature.key or name in parts else name
            shape = feature.shape if feature.is_picture else (feature.shape or (1,))
            part = part_of(name, shape, image=feature.is_picture, where=where)
            if feature.names:
                numbers = tuple(map(NamedNumber, feature.names))
                part = ObservationPart(name, shape, numbers=numbers)
            parts[name] = part, feature
        if not parts:
            raise UserError(
                f"{self.name}: found no feature {SEEN}…, expected {SEEN}state or {PICTURES}NAME"
            )
        return list(parts.values())

    def _reward_column(self, reward: str) -> str:
        """The column of the reward; empty: there is none."""
        features = self._info.features
        if not reward:
            return REWARD if REWARD in features else ""
        feature = features.get(reward)
        if feature is None or not feature.is_number or feature.shape not in ((), (1,)):
            fitting = [
                key for key, one in features.items() if one.is_number and one.shape in ((), (1,))
            ]
            raise UserError(
                f"--reward: found {reward!r}, expected one of {shortened(', '.join(fitting), 500)}"
            )
        return reward

    def _contents(self, parts: tuple[ObservationPart, ...]) -> Contents:
        action = self._info.features.get(ACTION)
        if action is None or not action.is_number or len(action.shape) > 1:
            found = "none" if action is None else f"{action.dtype} of {list(action.shape)}"
            raise UserError(f"{self.name}: {ACTION}: found {found}, expected a vector of numbers")
        if not action.dtype.startswith("float"):
            raise UserError(
                f"{self.name}: found discrete actions ({action.dtype}), expected float32: plans "
                "are made of numbers"
            )
        count = action.shape[0] if action.shape else 1
        check_actions(count, self.name)
        unknown = np.full(count, np.inf, np.float32)
        if self._own is not None:
            signature = self._own.signature
            if signature.actions != count:
                raise UserError(f"{self.name}: found other actions than {OWN} says")
            return Contents(
                parts,
                tuple(NamedNumber(one.name, one.unit) for one in signature.action),
                signature.low,
                signature.high,
                len(self._rows),
                rewards=bool(self._reward),
                period_s=signature.period_s,
                environment=self._own.environment,
                signature=signature,
            )
        names = action.names or [f"action_{index}" for index in range(count)]
        return Contents(
            parts,
            tuple(NamedNumber(one) for one in names),
            -unknown,
            unknown,
            len(self._rows),
            rewards=bool(self._reward),
            period_s=1 / self._info.fps,
        )

    # ── which episodes there are ─────────────────────────────────────────────────────────────

    def _read_rows(self) -> list[_Row]:
        keys = [one.key for one in self._features.values() if one.dtype == "video"]
        wanted = ["episode_index", "length", "data/chunk_index", "data/file_index"]
        for key in keys:
            wanted += [f"videos/{key}/{one}" for one in _FILM_COLUMNS]
        rows: list[_Row] = []
        files = sorted(self._folder.glob("meta/episodes/*/*.parquet"))[:_MOST_FILES]
        for path in files:
            table = Table(path, wanted, [ENVIRONMENT_STEPS])
            if len(rows) + table.rows > self._info.episodes:
                raise self._other_count(len(rows) + table.rows)
            for batch in table.batches():
                for index in range(len(batch["length"])):
                    row = {key: values[index] for key, values in batch.items()}
                    rows.append(_row(row, keys, path))
        if len(rows) != self._info.episodes:
            raise self._other_count(len(rows))
        frames = sum(row.length for row in rows)
        if frames != self._info.frames:
            raise UserError(
                f"{self.name}: found {frames} frames in meta/episodes, expected "
                f"{self._info.frames}, as meta/info.json says"
            )
        return rows

    def _other_count(self, found: int) -> UserError:
        return UserError(
            f"{self.name}: found {found} episodes in meta/episodes, expected "
            f"{self._info.episodes}, as meta/info.json says"
        )

    # ── episodes ─────────────────────────────────────────────────────────────────────────────

    def episodes(self, fit: Fit) -> Iterator[Episode]:
        """As `DataSet.episodes`."""
        row_features = {name: one for name, one in self._features.items() if one.dtype != "video"}
        columns = {ACTION: self._width(self._info.features[ACTION])}
        columns |= {
            one.key: self._width(one) for one in row_features.values() if not one.is_picture
        }
        pictures = {one.key for one in row_features.values() if one.is_picture}
        flags = [key for key in (DONE, TERMINATED, TRUNCATED) if key in self._info.features]
        single = ["episode_index", *flags]
        single += [self._reward] if self._reward else []
        single += ["timestamp"] if len(row_features) < len(self._features) else []
        columns |= dict.fromkeys(single, 0)
        shapes = [
            fit(name, np.zeros(one.shape, np.uint8)).shape if one.is_picture else one.shape
            for name, one in self._features.items()
        ]
        frames: Frames | None = None
        for row in self._rows:
            where = f"{self.name}: episode {row.number}"
            check_size(row.length, shapes, where)
            if row.length < 2:
                self._note("some episodes have one frame alone, which is no step")
            if frames is None or frames.file != row.file:
                path = filled(self._info.data_path, chunk=row.file[0], file=row.file[1])
                frames = Frames(self._folder / path, row.file, columns, pictures)
            arrays = frames.take(row.number, row.length, where)
            if row.length < 2:
                continue
            yield self._episode(row, arrays, fit, where)

    def _width(self, feature: Feature) -> int:
        """Numbers in a row; 0: a plain number, as a single one is written."""
        return feature.shape[0] if feature.shape and feature.shape != (1,) else 0

    def _episode(self, row: _Row, arrays: dict[str, Any], fit: Fit, where: str) -> Episode:
        steps = row.length - 1
        observation: dict[str, NDArray[Any]] = {}
        for name, feature in self._features.items():
            if feature.dtype == "video":
                observation[name] = self._film(row, feature, name, arrays["timestamp"], fit)
            elif feature.is_picture:
                images = (picture_of(one, feature.shape, where) for one in arrays[feature.key])
                observation[name] = np.stack([fit(name, image) for image in images])
            else:
                observation[name] = arrays[feature.key].reshape(row.length, -1)
        none = np.zeros(row.length, dtype=bool)
        terminated = arrays.get(TERMINATED, arrays.get(DONE, none))[:steps]
        reward = arrays[self._reward][:steps] if self._reward else np.zeros(steps)
        return episode_of(
            observation,
            arrays[ACTION][:steps],
            reward,
            terminated.astype(bool),
            arrays.get(TRUNCATED, none)[:steps].astype(bool),
            where=where,
            environment_steps=row.environment_steps,
        )

    def _film(
        self, row: _Row, feature: Feature, name: str, timestamps: NDArray[Any], fit: Fit
    ) -> NDArray[np.uint8]:
        chunk, file, begin_s = row.films[feature.key]
        path = filled(self._info.video_path, chunk=chunk, file=file, key=feature.key)
        shape = feature.shape
        if self._own is not None:
            shape = {part.name: part.shape for part in self._own.signature.observation}[name]
        times_s = begin_s + np.asarray(timestamps, dtype=np.float64)
        if not np.isfinite(times_s).all() or (np.diff(times_s) <= 0).any():
            raise UserError(f"{self.name}: episode {row.number}: found a timestamp that goes back")
        images = read_film(
            self._folder / path,
            times_s,
            0.5 / self._info.fps,
            shape,
            lambda image: fit(name, image),
        )
        return np.stack(images)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


_FILM_COLUMNS = ("chunk_index", "file_index", "from_timestamp")


def _row(found: dict[str, Any], keys: list[str], path: Path) -> _Row:
    length = found["length"]
    numbers = [found["episode_index"], found["data/chunk_index"], found["data/file_index"]]
    films = {key: tuple(found[f"videos/{key}/{one}"] for one in _FILM_COLUMNS) for key in keys}
    flat = [*numbers, *(number for film in films.values() for number in film)]
    if not 0 < length <= MAX_STEPS or not all(0 <= float(one) < 1e12 for one in flat):
        raise UserError(f"{path}: found an episode of {length} frames at {flat}, expected a place")
    return _Row(
        int(numbers[0]),
        int(length),
        (int(numbers[1]), int(numbers[2])),
        {key: (int(one[0]), int(one[1]), float(one[2])) for key, one in films.items()},
        int(found.get(ENVIRONMENT_STEPS, -1)),
    )
