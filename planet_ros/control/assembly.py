"""One observation out of parts that arrive on their own: a vector, or just its label, and images.

```
together (lock-step):  observation ─3───────4──────────       parts of one stamp, in any order
                       image       ────3──4────────────
                                       ▼    ▼ complete

otherwise (a robot):   observation ─1─2─3─4─5─6─7─8─9──       the newest of each part
                       image       ──1──────2─────3────       as old as the oldest of them
```
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.control.loop import Observation
from planet_ros.data.signature import VECTOR_PART, Parts, Signature
from planet_ros.errors import UserError

Decode = Callable[[], NDArray[np.uint8]]
"""Gives an image (height, width, channels) as the model takes it."""


class _LazyParts(Mapping[str, NDArray[Any]]):
    """Parts that are decoded when they are asked for: most frames of a camera meet no plan."""

    def __init__(self, decode: Mapping[str, Callable[[], NDArray[Any]]]) -> None:
        self._decode = decode

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._decode[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._decode)

    def __len__(self) -> int:
        return len(self._decode)


@dataclass(frozen=True)
class _Vector:
    values: NDArray[np.float32] | None
    stamp_ns: int
    received_s: float
    episode: int | None


@dataclass(frozen=True)
class _Image:
    decode: Decode
    stamp_ns: int
    received_s: float


class Assembly:
    """Joins the newest of each part to one `Observation`."""

    def __init__(self, signature: Signature, *, together: bool) -> None:
        """Begin without any part.

        Args:
            signature: Says which images there are, and whether there is a vector. Where there is
                none, its message still says when an episode begins, and with `together` it is
                waited for.
            together: Whether parts belong together by their stamps alone; otherwise the newest of
                each does.
        """
        self._image_names = tuple(signature.images)
        self._together = together
        self._needs_vector = signature.vector_size > 0 or together
        self._vector: _Vector | None = None
        self._images: dict[str, _Image] = {}
        self._first = False

    def take_vector(
        self,
        values: NDArray[np.float32] | None,
        stamp_ns: int | None,
        received_s: float,
        *,
        first: bool = False,
        episode: int | None = None,
    ) -> Observation | None:
        """Take in a vector, or its label alone.

        Args:
            values: (O,) finite numbers; None where the observation has no vector.
            stamp_ns: On the source's clock; None where it does not say.
            received_s: When it arrived, on the clock of the loop; a part of the same stamp as the
                one before is as old as that.
            first: It is the first of an episode.
            episode: Number of that, where the source says.

        Returns:
            The observation that it completes, repeats or renews; None while a part is missing.

        Raises:
            UserError: It has no stamp, but images are to be found by it.
        """
        self._first |= first
        stamp_ns = self._stamp(VECTOR_PART, stamp_ns, received_s)
        before, since_s = self._vector, received_s
        if before is not None and before.stamp_ns == stamp_ns:
            # Repeated. What is lacking has been so since the first time; and a source that says
            # the same again and again, as a driver does whose device hangs, is as good as silent.
            since_s = before.received_s
        self._vector = _Vector(values, stamp_ns, since_s, episode)
        return self._observation(received_s, stamp_ns if first else None)

    def take_image(
        self, name: str, decode: Decode, stamp_ns: int | None, received_s: float
    ) -> Observation | None:
        """Take in an image, to be decoded by whoever plans with it; else as `take_vector`."""
        stamp_ns = self._stamp(name, stamp_ns, received_s)
        before = self._images.get(name)
        if before is not None and before.stamp_ns == stamp_ns:
            return None  # nothing new; in lock-step it is the vector that asks for the answer again
        self._images[name] = _Image(functools.cache(decode), stamp_ns, received_s)
        return self._observation(received_s)

    def lacking(self, now_s: float, limit_s: float) -> list[str]:
        """The parts that keep the observation from being complete and new.

        Together, images that have not followed a vector within `limit_s` are lacking; otherwise
        whatever is older than that or has never arrived.
        """
        if self._together:
            vector = self._vector
            if vector is None or now_s - vector.received_s <= limit_s:
                return []
            # The last observation of an episode has images but is not shown: it lacks nothing.
            return [
                name
                for name in self._image_names
                if name not in self._images or self._images[name].stamp_ns < vector.stamp_ns
            ]
        return [
            name
            for name, part in self._parts().items()
            if part is None or now_s - part.received_s > limit_s
        ]

    def _parts(self) -> dict[str, _Vector | _Image | None]:
        vector = {VECTOR_PART: self._vector} if self._needs_vector else {}
        return {**vector, **{name: self._images.get(name) for name in self._image_names}}

    def _stamp(self, name: str, stamp_ns: int | None, received_s: float) -> int:
        if stamp_ns is None and self._together and self._image_names:
            raise UserError(
                f"{name}: found no stamp, expected one: with the trigger 'observation' it says "
                "which vector and images belong together"
            )
        return int(received_s * 1e9) if stamp_ns is None else stamp_ns

    def _observation(
        self, received_s: float, first_stamp_ns: int | None = None
    ) -> Observation | None:
        parts = [part for part in self._parts().values() if part is not None]
        if len(parts) < len(self._image_names) + self._needs_vector:
            return None
        stamps = {part.stamp_ns for part in parts}
        if self._together and len(stamps) > 1:
            return None
        if not self._together:
            # One silent part makes the whole observation old.
            received_s = min(part.received_s for part in parts)
        first, self._first = self._first, False
        return Observation(
            parts=self._lazy_parts(),
            received_s=received_s,
            # A new episode has the stamp of its label, so that it is not taken for a repetition.
            stamp_ns=max(stamps) if first_stamp_ns is None else first_stamp_ns,
            first=first,
            episode=None if self._vector is None else self._vector.episode,
        )

    def _lazy_parts(self) -> Parts:
        """All parts as they are now, images once they are asked for."""
        decode: dict[str, Callable[[], NDArray[Any]]] = {
            name: self._images[name].decode for name in self._image_names
        }
        values = None if self._vector is None else self._vector.values
        if values is not None:
            decode[VECTOR_PART] = lambda: values
        return _LazyParts(decode)
