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

from planet_ros.control.events import Observation
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
class _Part:
    """The newest of a part.

    Attributes:
        decode: Gives it; None of a label alone.
        stamp_ns: On the source's clock.
        received_s: When it arrived.
    """

    decode: Callable[[], NDArray[Any]] | None
    stamp_ns: int
    received_s: float


class Assembly:
    """Joins the newest of each part to one `Observation`."""

    def __init__(
        self,
        signature: Signature,
        *,
        together: bool,
        limits_s: Mapping[str, float] | None = None,
    ) -> None:
        """Begin without any part.

        Args:
            signature: Says which parts there are. Where there is no vector, a message with its
                label may still say when an episode begins, and with `together` it is waited for.
                Of a goal the newest counts, however old.
            together: Whether parts belong together by their stamps alone; otherwise the newest of
                each does.
            limits_s: Ages from which parts are stale; those that are not in it, and a None, are
                left to whoever takes the observation.
        """
        self._images = frozenset(signature.images)
        self._goals = frozenset(part.name for part in signature.parts("goal"))
        names = [part.name for part in signature.observation]
        if together and not signature.parts("vector"):
            names.insert(0, VECTOR_PART)  # its label
        self._names = tuple(name for name in names if name not in self._goals)
        self._signature = signature
        self._together = together
        self._limits_s = dict(limits_s or {})
        self._parts: dict[str, _Part] = {}
        self._episode: int | None = None
        self._first = False

    def take_vector(
        self,
        values: NDArray[np.float32] | None,
        stamp_ns: int | None,
        received_s: float,
        *,
        name: str = VECTOR_PART,
        first: bool = False,
        episode: int | None = None,
    ) -> Observation | None:
        """Take in a vector, or its label alone.

        Args:
            values: (n,) finite numbers; None where the observation has no vector.
            stamp_ns: On the source's clock; None where it does not say.
            received_s: When it arrived, on the clock of the loop; a part of the same stamp as the
                one before is as old as that.
            name: Of the part.
            first: It is the first of an episode.
            episode: Number of that, where the source says.

        Returns:
            The observation that it completes, repeats or renews; None while a part is missing.

        Raises:
            UserError: It has no stamp, but other parts are to be found by it.
        """
        self._first |= first
        self._episode = episode if episode is not None else self._episode
        stamp_ns = self._stamp(name, stamp_ns, received_s)
        before, since_s = self._parts.get(name), received_s
        if before is not None and before.stamp_ns == stamp_ns:
            # Repeated. What is lacking has been so since the first time; and a source that says
            # the same again and again, as a driver does whose device hangs, is as good as silent.
            since_s = before.received_s
        decode = None if values is None else _constantly(values)
        self._parts[name] = _Part(decode, stamp_ns, since_s)
        return self._observation(received_s, stamp_ns if first else None)

    def take_goal(self, name: str, values: NDArray[np.float32], received_s: float) -> None:
        """Take in a goal (n,): it is part of the next observation."""
        self._parts[name] = _Part(_constantly(values), 0, received_s)

    def take_image(
        self, name: str, decode: Decode, stamp_ns: int | None, received_s: float
    ) -> Observation | None:
        """Take in an image, to be decoded by whoever plans with it; else as `take_vector`."""
        stamp_ns = self._stamp(name, stamp_ns, received_s)
        before = self._parts.get(name)
        if before is not None and before.stamp_ns == stamp_ns:
            return None  # nothing new; in lock-step it is the vector that asks for the answer again
        self._parts[name] = _Part(functools.cache(decode), stamp_ns, received_s)
        return self._observation(received_s)

    def lacking(self, now_s: float, limit_s: float) -> list[str]:
        """The parts that keep the observation from being complete and new.

        Together, parts that have not followed a vector within `limit_s` are lacking; otherwise
        whatever is older than its own limit, or else than that one, or has never arrived.
        """
        missing = [name for name in self._goals if name not in self._parts]
        if self._together:
            vectors = [
                part
                for name in self._names
                if name not in self._images and (part := self._parts.get(name)) is not None
            ]
            if not vectors or now_s - min(part.received_s for part in vectors) <= limit_s:
                return []
            newest_ns = max(part.stamp_ns for part in vectors)
            # The last observation of an episode has images but is not shown: it lacks nothing.
            return missing + [
                name
                for name in self._names
                if name not in self._parts or self._parts[name].stamp_ns < newest_ns
            ]
        return missing + [
            name
            for name in self._names
            if name not in self._parts
            or now_s - self._parts[name].received_s > self._limits_s.get(name, limit_s)
        ]

    def _stamp(self, name: str, stamp_ns: int | None, received_s: float) -> int:
        if stamp_ns is None and self._together and len(self._names) > 1:
            raise UserError(
                f"{name}: found no stamp, expected one: with the trigger 'observation' it says "
                "which vector and images belong together"
            )
        return int(received_s * 1e9) if stamp_ns is None else stamp_ns

    def _observation(
        self, received_s: float, first_stamp_ns: int | None = None
    ) -> Observation | None:
        if any(name not in self._parts for name in (*self._names, *self._goals)):
            return None
        parts = {name: self._parts[name] for name in self._names}
        stamps = {part.stamp_ns for part in parts.values()}
        if self._together and len(stamps) > 1:
            return None
        limit_s = None
        if not self._together:
            # One silent part makes the whole observation old: the one that is stale first.
            name = min(parts, key=lambda one: parts[one].received_s + self._limits_s.get(one, 0.0))
            received_s, limit_s = parts[name].received_s, self._limits_s.get(name)
        first, self._first = self._first, False
        return Observation(
            parts=self._lazy_parts(),
            received_s=received_s,
            # A new episode has the stamp of its label, so that it is not taken for a repetition.
            stamp_ns=max(stamps) if first_stamp_ns is None else first_stamp_ns,
            limit_s=limit_s,
            first=first,
            episode=self._episode,
        )

    def _lazy_parts(self) -> Parts:
        """All parts as they are now, images once they are asked for."""
        return _LazyParts(
            {
                part.name: decode
                for part in self._signature.observation
                if (decode := self._parts[part.name].decode) is not None
            }
        )


def _constantly(values: NDArray[Any]) -> Callable[[], NDArray[Any]]:
    return lambda: values
