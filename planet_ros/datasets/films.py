"""Films as LeRobotDatasets have them: H.264 in MP4 out, whatever PyAV decodes in."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.datasets.foreign import Image, first_line, missing
from planet_ros.errors import UserError

CODEC = "libx264"
PIXELS = "yuv420p"
_OPTIONS = {"g": "2", "crf": "18"}  # every other frame can be jumped to


def av() -> Any:
    """The library for films.

    Raises:
        UserError: It is not installed.
    """
    try:
        import av
    except ModuleNotFoundError:
        raise missing("av", "lerobot") from None
    return av


class FilmWriter:
    """A film under way."""

    def __init__(self, path: Path, fps: Fraction, shape: tuple[int, ...]) -> None:
        """Begin it.

        Args:
            path: Of the file.
            fps: Pictures a second.
            shape: Height, width and channels of them; height and width are even.
        """
        self.path, self.frames = path, 0
        self._fps = fps
        self._container = av().open(str(path), "w")
        self._stream = self._container.add_stream(CODEC, rate=fps, options=_OPTIONS)
        self._stream.height, self._stream.width = shape[:2]
        self._stream.pix_fmt = PIXELS
        self._stream.codec_context.time_base = 1 / fps

    def add(self, image: Image) -> None:
        """Append a picture (height, width, 1 or 3)."""
        rgb = np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
        frame = av().VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.pts, frame.time_base = self.frames, 1 / self._fps
        self.frames += 1
        self._container.mux(self._stream.encode(frame))

    @property
    def nbytes(self) -> int:
        """Of the file so far; there is none before the encoder gives something."""
        return self.path.stat().st_size if self.path.exists() else 0

    def close(self) -> None:
        """End it."""
        self._container.mux(self._stream.encode())
        self._container.close()


def read_film(
    path: Path,
    times_s: NDArray[np.float64],
    tolerance_s: float,
    shape: tuple[int, ...],
    fit: Callable[[Image], Image],
) -> list[Image]:
    """The pictures of a film at some times.

    Args:
        path: Of the film.
        times_s: Rising, from its beginning.
        tolerance_s: How far from each a picture may be.
        shape: Height, width and channels that they have.
        fit: Makes each of them what is wanted.

    Raises:
        UserError: The film cannot be read, its pictures are of another size, or there is none at
            one of the times.
    """
    library = av()
    kept: list[Image] = []
    try:
        with library.open(str(path)) as container:
            stream = container.streams.video[0]
            start = round(float(times_s[0]) / stream.time_base) - 1
            container.seek(max(0, start), stream=stream)
            for frame in container.decode(stream):
                if frame.time is None or frame.time < times_s[len(kept)] - tolerance_s:
                    continue
                if frame.time > times_s[len(kept)] + tolerance_s:
                    break
                if (frame.height, frame.width) != shape[:2]:
                    raise UserError(
                        f"{path}: found pictures of {frame.height} × {frame.width}, expected "
                        f"{shape[0]} × {shape[1]}"
                    )
                image = frame.to_ndarray(format="gray" if shape[2] == 1 else "rgb24")
                kept.append(fit(image.reshape(shape)))
                if len(kept) == len(times_s):
                    return kept
    except (OSError, ValueError, IndexError, library.FFmpegError) as error:
        raise UserError(f"{path}: is not a whole film: {first_line(error)}") from None
    raise UserError(
        f"{path}: found no picture at {times_s[len(kept)]:.3f} s, expected one, as meta/episodes "
        "says"
    )
