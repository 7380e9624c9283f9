"""Episodes as a data set of Minari, in HDF5: every number as it is."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from planet_ros.data import Episode, Signature
from planet_ros.data.signature import IMAGE_PART, VECTOR_PART
from planet_ros.datasets.minari import (
    ENVIRONMENT_STEPS,
    OWN_KEY,
    folder_of,
    is_folder,
    library,
)
from planet_ros.errors import UserError
from planet_ros.files import folder_written_whole
from planet_ros.interface.description import Description

_NO_ID = re.compile(r"[^A-Za-z0-9_-]+")


def write_minari(episodes: Iterator[Episode], description: Description, name: str) -> Path:
    """Write them.

    Args:
        episodes: All of them, in order.
        description: What they are of.
        name: An id, or the path of a folder, which must not exist.

    Returns:
        The folder, written whole or not at all.

    Raises:
        UserError: It exists, or the library is not installed or too old for pictures.
    """
    minari = library()
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    target = folder_of(name)
    if target.exists():
        raise UserError(f"minari:{name}: already exists at {target}; choose another name")
    signature = description.signature
    exact: dict[str, Any] = {}
    if "jpeg_encoding" in inspect.signature(MinariStorage.new).parameters:
        exact["jpeg_encoding"] = False
    elif signature.images:
        raise UserError(
            f"minari {minari.__version__} writes pictures as JPEG alone, which changes them; "
            "expected 0.5.4 or newer, for which Python 3.11 is needed"
        )
    for part in signature.observation:
        if "/" in part.name or not part.name.strip("."):
            raise UserError(
                f"minari:{name}: found the part {part.name!r}, expected a name without slashes: "
                "HDF5 makes groups of them"
            )
    with folder_written_whole(target) as folder:
        storage = MinariStorage.new(
            folder / "data",
            observation_space=_observation_space(signature),
            action_space=_action_space(signature),
            env_spec=_environment(description.environment),
            data_format="hdf5",
            **exact,
        )
        storage.update_metadata(
            {
                "dataset_id": _id_of(name),
                "minari_version": minari.__version__,
                "description": "Episodes of planet_ros.",
                OWN_KEY: description.to_dict(),
            }
        )
        single = _is_single(signature)
        steps = []
        for episode in episodes:
            signature.check(episode.layout, f"minari:{name}")
            flags = np.zeros((2, len(episode)), dtype=bool)
            flags[:, -1] = episode.terminated, episode.truncated
            parts = dict(episode.observation)
            storage.update_episodes(
                [
                    EpisodeBuffer(
                        observations=parts[single] if single else parts,
                        actions=episode.action,
                        rewards=episode.reward,
                        terminations=flags[0],
                        truncations=flags[1],
                    )
                ]
            )
            steps.append({ENVIRONMENT_STEPS: episode.environment_steps})
        storage.update_episode_metadata(steps)
    return target


def _id_of(name: str) -> str:
    """An id; a folder is called as its last part."""
    if not is_folder(name):
        return name
    text = _NO_ID.sub("_", Path(name).expanduser().resolve().name).strip("_-") or "episodes"
    return text if re.search(r"-v\d+$", text) else f"{text}-v0"


def _is_single(signature: Signature) -> str:
    """Name of the one part that is an observation by itself, as of an environment; else empty."""
    names = [part.name for part in signature.observation]
    return names[0] if names in ([VECTOR_PART], [IMAGE_PART]) else ""


def _observation_space(signature: Signature) -> Any:
    from gymnasium.spaces import Box, Dict

    spaces: dict[str, Any] = {
        part.name: Box(0, 255, part.shape, np.uint8)
        if part.role == "image"
        else Box(-np.inf, np.inf, part.shape, np.float32)
        for part in signature.observation
    }
    single = _is_single(signature)
    return spaces[single] if single else Dict(spaces)


def _action_space(signature: Signature) -> Any:
    from gymnasium.spaces import Box

    return Box(signature.low, signature.high, dtype=np.float32)


def _environment(name: str) -> Any:
    """Gymnasium's description of an environment, where it knows one of that id."""
    import gymnasium

    try:
        return gymnasium.spec(name) if name else None
    except gymnasium.error.Error:
        return None
