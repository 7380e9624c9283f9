"""Data sets of other projects by their names.

```
minari:D4RL/pendulum/random-v0     one of Minari's, by its id, from where minari keeps them
minari:/data/pendulum              the folder of one
lerobot:/data/pusht                the folder of a LeRobotDataset of version 3
/data/pusht                        either, by what is in it
```
"""

from __future__ import annotations

from pathlib import Path

from planet_ros.datasets.foreign import DataSet
from planet_ros.errors import UserError

KINDS = ("minari", "lerobot")


def kind_of(name: str) -> tuple[str, str]:
    """Which project's a data set is, and its name there; ("", name): none that is known.

    Args:
        name: As above.
    """
    kind, colon, rest = name.partition(":")
    if colon and kind in KINDS:
        return kind, rest
    folder = Path(name)
    if (folder / "meta" / "info.json").is_file():
        return "lerobot", name
    if any((folder / one / "metadata.json").is_file() for one in ("data", ".")):
        return "minari", name
    return "", name


def open_dataset(name: str, *, reward: str = "") -> DataSet:
    """Open a data set.

    Args:
        name: As above.
        reward: Column of a LeRobotDataset that is the reward; empty: next.reward.

    Raises:
        UserError: There is none, it is damaged, holds what no model can learn, or its library is
            not installed.
    """
    kind, rest = kind_of(name)
    if not rest:
        raise UserError(f"{name}: found no name after the colon, expected an id or a folder")
    if kind == "lerobot":
        from planet_ros.datasets.lerobot import LeRobotData

        return LeRobotData(Path(rest).expanduser(), name, reward=reward)
    if reward:
        raise UserError(f"--reward: {name} has rewards of its own, expected a LeRobotDataset")
    if kind == "minari":
        from planet_ros.datasets.minari import MinariData

        return MinariData(rest, name)
    raise UserError(
        f"{name}: found no data set, expected minari:ID, minari:FOLDER or lerobot:FOLDER"
    )
