"""Parquet files of strangers: what is in them is looked at before it is made."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.datasets.foreign import Image, first_line
from planet_ros.errors import UserError
from planet_ros.messages.fields import shortened

_BATCH, _PICTURE_BATCH = 4096, 64
"""Rows that are decoded at once, and of those with pictures in them."""


_NONE: Mapping[str, int] = MappingProxyType({})


class Frames:
    """The rows of a file, episode after episode.

    Attributes:
        file: Which it is.
    """

    def __init__(
        self, path: Path, file: tuple[int, int], columns: dict[str, int], pictures: set[str]
    ) -> None:
        self.file, self._path = file, path
        table = Table(path, [*columns, *pictures])
        self._batches = table.batches(columns, pictures)
        self._rest: dict[str, Any] = {}

    def take(self, number: int, length: int, where: str) -> dict[str, Any]:
        """The next rows, which are those of an episode.

        Args:
            number: Of the episode.
            length: How many rows it has.
            where: Whose it is, for the error.

        Raises:
            UserError: There are fewer, or some are of another episode.
        """
        kept, have = [self._rest] if self._rest else [], _length(self._rest)
        while have < length:
            batch = next(self._batches, None)
            if batch is None:
                raise UserError(
                    f"{self._path}: found {have} rows of {where}, expected {length}, as "
                    "meta/episodes says"
                )
            kept.append(batch)
            have += _length(batch)
        joined = {key: _joined([one[key] for one in kept]) for key in kept[0]}
        self._rest = {key: values[length:] for key, values in joined.items()}
        if not _length(self._rest):
            self._rest = {}
        found = {key: values[:length] for key, values in joined.items()}
        if (found["episode_index"] != number).any():
            raise UserError(
                f"{self._path}: found rows of other episodes where those of {where} are to be"
            )
        return found


def _length(batch: dict[str, Any]) -> int:
    return len(next(iter(batch.values()))) if batch else 0


def _joined(values: list[Any]) -> Any:
    if len(values) == 1:
        return values[0]
    if isinstance(values[0], list):
        return [one for part in values for one in part]
    return np.concatenate(values)


class Table:
    """A parquet file.

    Attributes:
        rows: How many it says that it has.
    """

    def __init__(self, path: Path, columns: list[str], optional: list[str] | None = None) -> None:
        """Open it.

        Raises:
            UserError: It is not whole, or lacks a column.
        """
        from pyarrow.parquet import ParquetFile

        self._path = path
        try:
            self._file = ParquetFile(path)
            there = self._file.schema_arrow.names
            self.rows = self._file.metadata.num_rows
        except Exception as error:  # several kinds
            raise UserError(f"{path}: is not a whole parquet file: {first_line(error)}") from None
        lacking = [name for name in columns if name not in there]
        if lacking:
            raise UserError(
                f"{path}: found no column {lacking[0]}, expected it; it has "
                f"{shortened(', '.join(there), 500)}"
            )
        self._columns = columns + [name for name in optional or [] if name in there]

    def batches(
        self, widths: Mapping[str, int] = _NONE, pictures: Collection[str] = ()
    ) -> Iterator[dict[str, Any]]:
        """The rows, some at a time.

        Args:
            widths: How many numbers a row has of some columns; 0, and of the others: a plain one.
            pictures: Columns of encoded pictures.

        Yields:
            An array (rows,) or (rows, width) of each column; a list of bytes of pictures.
        """
        try:
            plain = {name: 0 for name in self._columns if name not in pictures}
            self._check_widths({**plain, **widths})
            rows = _PICTURE_BATCH if pictures else _BATCH
            for batch in self._file.iter_batches(rows, columns=self._columns):
                yield {
                    name: _encoded(batch.column(name), self._path)
                    if name in pictures
                    else _numbers(batch.column(name), widths.get(name, 0), name, self._path)
                    for name in self._columns
                }
        except UserError:
            raise
        except Exception as error:  # several kinds
            raise UserError(f"{self._path}: cannot be read: {first_line(error)}") from None

    def _check_widths(self, widths: dict[str, int]) -> None:
        """See that no column has more numbers than rows of it take, before they are made."""
        metadata = self._file.metadata
        for index in range(metadata.num_row_groups):
            group = metadata.row_group(index)
            for number in range(group.num_columns):
                column = group.column(number)
                name = self._name_of(column.path_in_schema, widths)
                if name and column.num_values > group.num_rows * max(1, widths[name]):
                    raise UserError(
                        f"{self._path}: {name}: found {column.num_values} numbers in "
                        f"{group.num_rows} rows, expected {max(1, widths[name])} in each"
                    )

    def _name_of(self, path: str, widths: dict[str, int]) -> str:
        for name in widths:
            if path == name or path.startswith(f"{name}.list."):
                return name
        return ""


def _numbers(column: Any, width: int, name: str, path: Path) -> NDArray[Any]:
    import pyarrow as pa

    kind = column.type
    is_list = any(
        test(kind)
        for test in (pa.types.is_list, pa.types.is_fixed_size_list, pa.types.is_large_list)
    )
    rows = len(column)
    if is_list:
        lengths = np.full(rows, getattr(kind, "list_size", 0))
        if not pa.types.is_fixed_size_list(kind):
            lengths = np.asarray(column.value_lengths())
        if column.null_count or (lengths != max(1, width)).any():
            raise UserError(f"{path}: {name}: found rows of other sizes, expected {width} numbers")
        column, kind = column.flatten(), kind.value_type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if not numeric or column.null_count:
        raise UserError(f"{path}: {name}: found {kind} with gaps, expected numbers")
    values = column.to_numpy(zero_copy_only=False)
    if len(values) != rows * max(1, width):
        raise UserError(f"{path}: {name}: found {len(values)} numbers, expected {width} in a row")
    return values.reshape(rows, width) if width else values


def _encoded(column: Any, path: Path) -> list[bytes]:
    import pyarrow as pa

    kind = column.type
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        raise UserError(f"{path}: found pictures as {kind}, expected their bytes in the rows")
    found = column.field("bytes").to_pylist()
    if any(one is None for one in found):
        raise UserError(f"{path}: found a picture that is a path, expected its bytes in the rows")
    return found


def picture_of(content: bytes, shape: tuple[int, ...], where: str) -> Image:
    """A picture of a PNG or JPEG file.

    Args:
        content: Of the file.
        shape: Height, width and channels that it has.
        where: Whose it is, for the error.

    Raises:
        UserError: It is not whole, or of another size.
    """
    from PIL import Image as Pictures

    try:
        with Pictures.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
            if (picture.height, picture.width) != shape[:2]:
                raise UserError(
                    f"{where}: found a picture of {picture.height} × {picture.width}, expected "
                    f"{shape[0]} × {shape[1]}"
                )
            array = np.asarray(picture.convert("L" if shape[2] == 1 else "RGB"))
    except UserError:
        raise
    except Exception as error:  # of many kinds
        raise UserError(
            f"{where}: found a picture that is not whole: {first_line(error)}"
        ) from None
    return array.reshape(shape)
