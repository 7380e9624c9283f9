"""Which spaces can be learned, and what makes one of the others."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.spaces.utils import flatten_space
from numpy.typing import NDArray

from planet_ros.data.signature import IMAGE_PART, VECTOR_PART
from planet_ros.errors import UserError

OWN_WRAPPERS = "planet_ros.wrappers"

NARROWEST, WIDEST = 1e-4, 1e15
"""Range of an action: beyond these, the numbers of planning and learning come near the ends of what
float32, or a planner's least deviation, can tell apart."""


def parts_of(space: Any, where: str) -> dict[str, Any]:
    """The space of each vector and image of an observation, by name.

    Args:
        space: Of the observation.
        where: Whose, for the error.

    Raises:
        UserError: One of them is neither, or an image has the vector's name; the text says which
            wrapper helps.
    """
    alone = {IMAGE_PART if is_image(space) else VECTOR_PART: space}
    spaces: dict[str, Any] = dict(space.spaces) if isinstance(space, Dict) else alone
    if spaces is not alone and is_image(spaces.get(VECTOR_PART)):
        raise UserError(
            f"{where}: found an image called {VECTOR_PART!r} in the dictionary of "
            f"observations, expected another name, such as {IMAGE_PART!r}: that one is the "
            "vector's"
        )
    for name, part in spaces.items():
        if is_image(part):
            _check_channels(part, where, None if spaces is alone else name)
        elif not (isinstance(part, Box) and len(part.shape) == 1):
            raise UserError(
                f"{where}: found observations {part}, expected a Box of one dimension, or of uint8 "
                f"height × width × channels; {_cure(part, None if spaces is alone else name)}"
            )
    return spaces


def is_image(space: Any) -> bool:
    """Whether a space is one of pictures, however their axes are ordered."""
    return isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) == 3


def _check_channels(space: Box, where: str, name: str | None) -> None:
    if space.shape[2] in (1, 3):
        return
    raise UserError(
        f"{where}: found images {space}, with {space.shape[2]} channels, expected height × width × "
        f"channels with 1 (grey) or 3 (RGB) of them; {_cure(space, name)}"
    )


def _cure(space: Any, name: str | None) -> str:
    """What to do with an observation that cannot be learned as it is."""
    if isinstance(space, Box) and space.dtype == np.uint8 and 2 <= len(space.shape) <= 4:
        arguments = {} if name is None else {"name": name}
        wrapper = _wrapper("ArrangeImage", {**arguments, **_arrangement(space.shape)})
        return f"if they are pictures, {wrapper} in env_wrappers makes such images of them"
    try:
        flat = isinstance(flatten_space(space), Box)
    except (NotImplementedError, TypeError, ValueError):
        flat = False
    if not flat:
        return "a gymnasium.ObservationWrapper of your own in env_wrappers can make one of them"
    return (
        "a wrapper in env_wrappers can change that (for example "
        "gymnasium.wrappers:FlattenObservation)"
    )


def _arrangement(shape: tuple[int, ...]) -> dict[str, Any]:
    """Arguments of `ArrangeImage` that make an image of such an array, most likely."""
    if len(shape) == 2:
        return {}
    if len(shape) == 4:
        return {"frame": -1, **_arrangement(shape[1:])}
    height, _, last = shape
    if last in (1, 3):
        return {}
    first = height < last  # a picture has more columns than channels
    channels = height if first else last
    # Of four, those of RGBA if they come last; if they come first it is a stack of grey pictures.
    kept = [0, 1, 2] if channels == 4 and not first else [channels - 1]
    arguments: dict[str, Any] = {"channels_first": True} if first else {}
    return arguments if channels in (1, 3) else {**arguments, "channels": kept}


def action_ends(space: Any, where: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Least and greatest (A,) of each number of an action, never outside the space's own.

    Raises:
        UserError: They cannot be planned; the text says which wrapper helps.
    """
    if not isinstance(space, Box):
        raise UserError(
            f"{where}: found actions {space}, expected a Box: plans are made of numbers; a "
            "gymnasium.ActionWrapper of your own in env_wrappers can make such actions of them"
        )
    low, high = (np.asarray(bound).ravel() for bound in (space.low, space.high))
    found = f"{where}: found actions from {low} to {high}, expected finite bounds with low < high"
    if not (np.isfinite(low) & np.isfinite(high)).all():
        wrapper = _wrapper("BoundedAction", {"low": -1, "high": 1})
        raise UserError(f"{found}; {wrapper} in env_wrappers sets them, to what makes sense there")
    varied = low < high
    if not varied.all():
        cure = "there is nothing to be decided"
        if varied.any():
            wrapper = _wrapper("SelectAction", {"indices": np.flatnonzero(varied).tolist()})
            cure = f"{wrapper} in env_wrappers leaves out those that are fixed"
        raise UserError(f"{found}; {cure}")
    with np.errstate(over="ignore", invalid="ignore"):
        width = np.asarray(high, np.float64) - np.asarray(low, np.float64)
        least, greatest = low.astype(np.float32), high.astype(np.float32)
        # float32 may round to the outside: the number next to it is within.
        least = np.where(least < low, np.nextafter(least, np.float32(np.inf)), least)
        greatest = np.where(greatest > high, np.nextafter(greatest, np.float32(-np.inf)), greatest)
        fine = (width >= NARROWEST) & (width <= WIDEST) & (greatest - least >= width / 2)
    if not fine.all():
        raise UserError(
            f"{found}, {NARROWEST:g} to {WIDEST:g} apart, and that float32 can tell apart; "
            f"{_wrapper('NormalizedAction', {})} in env_wrappers takes numbers from -1 to 1 instead"
        )
    return least, greatest


def native_action(
    action: NDArray[np.float32], space: Box
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Actions (*B, A) within their ends as the space has them, and as the numbers they then are."""
    if np.issubdtype(space.dtype, np.integer):
        action = np.rint(action)
    shape = (*action.shape[:-1], *space.shape)
    return action.astype(space.dtype).reshape(shape), action


def _wrapper(name: str, arguments: dict[str, Any]) -> str:
    text = f"{OWN_WRAPPERS}:{name}"
    return f"{text} {json.dumps(arguments)}" if arguments else text
