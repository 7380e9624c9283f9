"""Experience that is there already: folders of episodes, and what they are of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from planet_ros.config import LearnerSettings
from planet_ros.data import Episode, EpisodeStore, Signature
from planet_ros.data.episode import pieces
from planet_ros.data.store import folder_of_episodes
from planet_ros.environments import EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.interface.description import DESCRIPTION_FILE, load_description
from planet_ros.interface.document import Interface
from planet_ros.interface.files import INTERFACE_FILE, load_interface
from planet_ros.interface.signature import signature_of
from planet_ros.messages.fields import Make
from planet_ros.models import Task
from planet_ros.models.relabel import relabel
from planet_ros.training.checkpoint import read_checkpoint
from planet_ros.training.run import RunFolder
from planet_ros.training.tasks import task_of


@dataclass(frozen=True)
class Experience:
    """Episodes, and what they are of.

    Attributes:
        episodes: All of them, with the rewards that are known.
        signature: Of their steps.
        interface: Of the robot; None: of an environment.
        environment: That of the settings, where there is no robot.
        task: What is known of reward and end.
    """

    episodes: Sequence[Episode]
    signature: Signature
    interface: Interface | None
    environment: EnvironmentSpec | None
    task: Task | None


def read_experience(folders: Sequence[Path], settings: LearnerSettings, make: Make) -> Experience:
    """Read folders of episodes: those of `planet-ros import`, of runs, or of one's own.

    Args:
        folders: Each holds episodes, or a folder ``episodes`` that does.
        settings: With the interface, where the folders do not hold it.
        make: Gives empty messages.

    Raises:
        UserError: There are no episodes, they are of different things, or nothing says of what.
    """
    interface = _interface(folders, settings.interface)
    environment, task = None, None
    if interface is not None:
        signature = signature_of(interface, make)
        task = task_of(interface, signature, make)
    elif (description := load_description(folders[0])) is not None:
        signature = description.signature
        environment = EnvironmentSpec.of(settings) if description.environment else None
    else:
        signature, environment = _signature_of_runs(folders), EnvironmentSpec.of(settings)
    episodes: list[Episode] = []
    for folder in folders:
        found = _episodes(folder, settings)
        for episode in found:
            signature.check(episode.layout, str(folder))
        episodes += found if task is None else [relabel(one, task) for one in found]
    return Experience(episodes, signature, interface, environment, task)


def split(
    episodes: Sequence[Episode], share: float, seed: int
) -> tuple[list[Episode], list[Episode]]:
    """Episodes to learn from, and some to be judged by: whole ones, drawn by chance.

    Where one of them is more than that share, they are cut into pieces first, so many that
    `PIECES_HELD_OUT` are held out: one stretch alone would be a poor judge.

    Raises:
        UserError: There are too few.
    """
    if len(episodes) * share < 1:
        most = math.ceil(PIECES_HELD_OUT / share / max(1, len(episodes)))
        episodes = [
            piece
            for one in episodes
            for piece in pieces(one, max(1, min(most, len(one) // SHORTEST_PIECE)))
        ]
    if len(episodes) < 2:
        raise UserError(
            f"found {len(episodes)} episodes, expected at least 2, one of which is held out; "
            f"and more than {SHORTEST_PIECE} steps where there is but one"
        )
    count = min(len(episodes) - 1, max(1, round(share * len(episodes))))
    rng = np.random.default_rng([seed, _SPLIT_STREAM])
    held = set(rng.permutation(len(episodes))[:count].tolist())
    learned = [one for number, one in enumerate(episodes) if number not in held]
    return learned, [episodes[number] for number in sorted(held)]


_SPLIT_STREAM = 7

PIECES_HELD_OUT = 3
SHORTEST_PIECE = 50
"""Steps of what an episode is cut into: many of a plan's length."""


def _interface(folders: Sequence[Path], named: str) -> Interface | None:
    if named:
        return load_interface(named)
    found = {
        str(folder): load_interface(folder / INTERFACE_FILE)
        for folder in folders
        if (folder / INTERFACE_FILE).exists()
    }
    first = next(iter(found.values()), None)
    differing = [folder for folder, one in found.items() if one != first]
    if differing or (found and len(found) < len(folders)):
        raise UserError(
            f"{', '.join(map(str, folders))}: found {'different' if differing else 'not all with'} "
            f"{INTERFACE_FILE}, expected one for all; say which with --interface"
        )
    return first


def _signature_of_runs(folders: Sequence[Path]) -> Signature:
    for folder in folders:
        run = RunFolder(folder)
        if run.has_checkpoint:
            return read_checkpoint(run.checkpoint).state.signature
    raise UserError(
        f"{folders[0]}: nothing says what the episodes are of, expected {INTERFACE_FILE} or "
        f"{DESCRIPTION_FILE} beside them, the folder of a run, or a document with --interface"
    )


def _episodes(folder: Path, settings: LearnerSettings) -> Sequence[Episode]:
    data = settings.data
    store = EpisodeStore(
        folder_of_episodes(folder),
        capacity_steps=data.capacity_steps,
        capacity_bytes=data.capacity_bytes,
    )
    if not store.episodes:
        raise UserError(
            f"{folder}: found no episodes that can be read, expected episode-NUMBER.npz in it"
        )
    if store.left_out:
        raise UserError(
            f"{folder}: found more than data.capacity_steps ({data.capacity_steps}) or "
            f"data.capacity_bytes ({data.capacity_bytes}); set them higher, or give less"
        )
    return store.episodes
