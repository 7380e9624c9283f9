"""Data sets of Minari: found where the library keeps them, checked, and read by it.

The library makes the environment that a data set names where that does not say its spaces, and
reads whatever is in the file whole. So the metadata have to say the spaces, and the sizes in the
file are looked at first; what the library is then asked for is what was looked at.
"""

from __future__ import annotations

import difflib
import io
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.data import Episode, NamedNumber
from planet_ros.data.signature import VECTOR_PART
from planet_ros.datasets.foreign import (
    MAX_EPISODE_BYTES,
    MAX_EPISODES,
    Contents,
    DataSet,
    Fit,
    check_actions,
    check_size,
    episode_of,
    first_line,
    missing,
    read_json,
)
from planet_ros.datasets.minari_spaces import Space
from planet_ros.errors import UserError
from planet_ros.interface.description import description_from
from planet_ros.messages.fields import shortened

OWN_KEY = "planet_ros"
"""Of the metadata: what the episodes are of, where planet_ros wrote them."""

ENVIRONMENT_STEPS = "environment_steps"
"""Of an episode's metadata, likewise."""

DATA_FILE = "main_data.hdf5"
_PLAIN_ID = re.compile(r"[A-Za-z0-9_./-]{1,200}-v\d{1,6}")
_MOST_NAMED = 50
_MOST_ARRAYS = 1000
"""Of an episode."""


def library() -> Any:
    """The library.

    Raises:
        UserError: It is not installed, or not what it needs for HDF5.
    """
    try:
        import h5py  # noqa: F401
        import minari
    except ModuleNotFoundError as error:
        raise missing(error.name or "minari", "minari") from None
    return minari


def is_folder(name: str) -> bool:
    """Whether a name is that of a folder, and not the id of a data set."""
    return name.startswith(("/", ".", "~"))


def folder_of(name: str) -> Path:
    """Where a data set is, or would be.

    Args:
        name: An id, or the path of a folder, which begins with ``/``, ``.`` or ``~``.

    Raises:
        UserError: It is neither.
    """
    if is_folder(name):
        return Path(name).expanduser()
    library()
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage.datasets_root_dir import get_dataset_path

    try:
        parse_dataset_id(name)
    except (TypeError, ValueError):  # without a version, it is None that is no number
        raise UserError(
            f"minari:{name}: found no id, expected NAME-v0 or NAMESPACE/NAME-v0; a folder begins "
            "with / or ./"
        ) from None
    return Path(get_dataset_path(name))


class MinariData(DataSet):
    """A data set of Minari, in HDF5."""

    def __init__(self, name: str, shown: str) -> None:
        """Open it.

        Args:
            name: An id or a folder; also the path of one that is there.
            shown: As a person says it.

        Raises:
            UserError: There is none here, it is not whole, or no model can learn it.
        """
        self.name, self.notes = shown, []
        minari = library()
        here = Path(name)
        known = shown == name and here.is_dir()  # by what is in it
        self._folder = _inner(here if known else folder_of(name))
        if self._folder is None:
            raise _not_here(minari, name)
        metadata = read_json(self._folder / "metadata.json")
        self._check_format(metadata)
        self._space = Space(metadata, shown)
        own = metadata.get(OWN_KEY)
        self._own = None if own is None else description_from(own, f"{shown}: {OWN_KEY}")
        self.contents = self._contents(metadata)
        self._check_file(self.contents.episodes)

    def _check_format(self, metadata: dict[str, Any]) -> None:
        assert self._folder is not None
        kind = metadata.get("data_format")
        if kind != "hdf5":
            raise UserError(
                f"{self.name}: found the data_format {shortened(kind)}, expected hdf5, in which "
                "minari.create_dataset_from_buffers(…, data_format='hdf5') writes"
            )
        if not (self._folder / DATA_FILE).is_file():
            raise UserError(f"{self.name}: found no {DATA_FILE} in {self._folder}, expected it")

    def _contents(self, metadata: dict[str, Any]) -> Contents:
        episodes = metadata.get("total_episodes")
        if type(episodes) is not int or not 0 < episodes <= MAX_EPISODES:
            raise UserError(
                f"{self.name}: total_episodes: found {shortened(episodes)}, expected 1 to "
                f"{MAX_EPISODES}"
            )
        space, low, high = self._space, self._space.action.low, self._space.action.high
        count = len(low)
        check_actions(count, self.name)
        if self._own is not None:
            signature = self._own.signature
            found = {name: box.shape for name, box in self._space.parts.items()}
            if found != {one.name: one.shape for one in signature.observation} or (
                count != signature.actions
            ):
                raise UserError(f"{self.name}: found another space than {OWN_KEY} says")
            return Contents(
                signature.observation,
                tuple(NamedNumber(one.name, one.unit) for one in signature.action),
                low,
                high,
                episodes,
                period_s=signature.period_s,
                environment=self._own.environment,
                signature=signature,
            )
        return Contents(
            space.observation(self.name),
            tuple(NamedNumber(f"action_{index}") for index in range(count)),
            low,
            high,
            episodes,
            environment=_environment_id(metadata.get("env_spec")),
        )

    def episodes(self, fit: Fit) -> Iterator[Episode]:
        """As `DataSet.episodes`."""
        from minari import MinariDataset

        try:
            dataset = MinariDataset(self._folder)
            numbers = range(self.contents.episodes)
            steps = self._environment_steps(dataset)
            for number, found in zip(numbers, dataset.iterate_episodes(numbers), strict=True):
                yield from self._episode(found, fit, number, steps.get(number, -1))
        except UserError:
            raise
        except Exception as error:  # several libraries, with errors of their own
            raise UserError(f"{self.name}: cannot be read: {first_line(error)}") from None

    def _environment_steps(self, dataset: Any) -> dict[int, int]:
        if self._own is None:
            return {}
        numbers = range(self.contents.episodes)
        found = dataset.storage.get_episode_metadata(numbers)
        return {
            number: int(one[ENVIRONMENT_STEPS])
            for number, one in zip(numbers, found, strict=True)
            if ENVIRONMENT_STEPS in one
        }

    def _episode(self, found: Any, fit: Fit, number: int, steps: int) -> Iterator[Episode]:
        where = f"{self.name}: episode {number}"
        length = len(found.rewards)
        arrays = found.observations
        if not isinstance(arrays, dict):
            arrays = {next(iter(self._space.parts)): arrays}
        seen = min(len(values) for values in arrays.values())
        if seen == length:  # as older versions wrote it
            length -= 1
            self._note("some episodes lack the observation after the last step, which goes")
        if length < 1:
            self._note("some episodes have no step")
            return
        parts = {name: values[: length + 1] for name, values in arrays.items()}
        yield episode_of(
            self._joined(parts, fit),
            found.actions[:length],
            found.rewards[:length],
            np.asarray(found.terminations[:length], dtype=bool),
            np.asarray(found.truncations[:length], dtype=bool),
            where=where,
            environment_steps=steps,
        )

    def _joined(self, arrays: dict[str, NDArray[Any]], fit: Fit) -> dict[str, NDArray[Any]]:
        """Parts as environments have them: all vectors in one; planet_ros's own as they are."""
        boxes, joined = self._space.parts, {}
        vectors = [name for name in boxes if not boxes[name].image]
        if self._own is not None:
            joined = {name: arrays[name] for name in vectors}
        elif vectors:
            rows = [np.asarray(arrays[name]) for name in vectors]
            joined = {VECTOR_PART: rows[0] if len(rows) == 1 else np.concatenate(rows, axis=1)}
        for name in boxes:
            if boxes[name].image:
                joined[name] = np.stack([fit(name, image) for image in arrays[name]])
        return joined

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    # ── what is in the file, before it is read ───────────────────────────────────────────────

    def _check_file(self, episodes: int) -> None:
        """See that the file has what the metadata say, and nothing that memory does not hold.

        Raises:
            UserError: It has not.
        """
        import h5py

        assert self._folder is not None
        path = self._folder / DATA_FILE
        try:
            with h5py.File(path, "r") as file:
                for number in range(episodes):
                    group = file.get(f"episode_{number}")
                    if not isinstance(group, h5py.Group):
                        raise UserError(
                            f"{path}: found no episode_{number}, expected {episodes} episodes, as "
                            "metadata.json says"
                        )
                    self._check_episode(group, f"{path}: episode_{number}")
        except UserError:
            raise
        except Exception as error:  # h5py has many kinds
            raise UserError(f"{path}: is not a whole HDF5 file: {first_line(error)}") from None

    def _check_episode(self, group: Any, where: str) -> None:
        nbytes = 0
        for name, dataset in _datasets(group, where):
            if dataset.external or dataset.is_virtual:
                raise UserError(f"{where}{name}: found data of another file, expected its own")
            nbytes += dataset.size * max(1, dataset.dtype.itemsize)
            if nbytes > MAX_EPISODE_BYTES:
                raise UserError(
                    f"{where}: found {nbytes} bytes, expected at most {MAX_EPISODE_BYTES}"
                )
        steps = len(group["rewards"])
        for name in ("rewards", "terminations", "truncations"):
            self._check_shape(group[name].shape, (steps,), f"{where}/{name}")
        self._check_shape(
            group["actions"].shape, (steps, *self._space.action.shape), f"{where}/actions"
        )
        shapes = []
        for name, box in self._space.parts.items():
            found = group["observations"]
            found = found[name] if self._space.is_dict else found
            rows = len(found)
            if not rows or rows not in (steps, steps + 1):
                raise UserError(
                    f"{where}: found {rows} observations of {name} and {steps} rewards, expected "
                    "one more than rewards"
                )
            shape = tuple(found.shape[1:])
            if box.image and len(shape) < len(box.shape):  # each is a JPEG file
                shape = _jpeg_shape(found[0])
            self._check_shape(shape, box.shape, f"{where}/observations/{name}")
            shapes.append(box.shape)
        check_size(steps, shapes, where)

    def _check_shape(self, found: tuple[int, ...], expected: tuple[int, ...], where: str) -> None:
        if tuple(found) != expected:
            raise UserError(f"{where}: found the shape {list(found)}, expected {list(expected)}")


def _inner(folder: Path) -> Path | None:
    """The folder with the metadata."""
    for one in (folder / "data", folder):
        if (one / "metadata.json").is_file():
            return one
    return None


def _not_here(minari: Any, name: str) -> UserError:
    if is_folder(name):
        return UserError(
            f"{name}: found no data set of Minari, expected a folder with data/metadata.json"
        )
    from minari.storage.datasets_root_dir import get_dataset_path

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        there = list(minari.list_local_datasets())
    near = difflib.get_close_matches(name, there, 1, 0.5)
    hint = f"; the nearest is {near[0]}" if near else ""
    return UserError(
        f"minari:{name}: not in {get_dataset_path()} (MINARI_DATASETS_PATH), which has "
        f"{', '.join(there[:_MOST_NAMED]) or 'none'}{hint}; nothing is downloaded unasked: "
        f"minari download {name}"
    )


def _environment_id(spec: Any) -> str:
    """Gymnasium's id out of an environment's description, where it is a plain one.

    One that has a module in it, to be imported, is not.
    """
    try:
        found = json.loads(spec).get("id") if isinstance(spec, str) else ""
    except (ValueError, AttributeError, RecursionError):
        return ""
    return found if isinstance(found, str) and _PLAIN_ID.fullmatch(found) else ""


def _datasets(group: Any, where: str) -> Iterator[tuple[str, Any]]:
    """All arrays of a group, with their names in it; links to other files are refused."""
    import h5py

    waiting, seen = [("", group)], 0
    while waiting:
        path, inner = waiting.pop()
        seen += len(inner)
        if seen > _MOST_ARRAYS:  # groups may hold each other, and so be without end
            raise UserError(f"{where}: found more than {_MOST_ARRAYS} arrays, expected fewer")
        for name in inner:
            if not isinstance(inner.get(name, getlink=True), h5py.HardLink):
                raise UserError(f"{where}{path}/{name}: found a link, expected an array")
            found = inner[name]
            if isinstance(found, h5py.Group):
                waiting.append((f"{path}/{name}", found))
            else:
                yield f"{path}/{name}", found


def _jpeg_shape(content: Any) -> tuple[int, ...]:
    """That of a picture, without decoding it."""
    from PIL import Image

    with Image.open(io.BytesIO(bytes(content))) as picture:
        return picture.height, picture.width, len(picture.getbands())
