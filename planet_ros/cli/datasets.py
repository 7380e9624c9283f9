"""Data sets of other projects on the command line: ``import`` of them, and ``convert`` to them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from planet_ros.config import load_settings
from planet_ros.data import Episode
from planet_ros.datasets.sources import kind_of
from planet_ros.errors import UserError
from planet_ros.interface.description import DESCRIPTION_FILE, Description, load_description
from planet_ros.interface.files import INTERFACE_FILE, load_interface

CONVERT_EXAMPLES = """
  planet-ros convert data/mine --output minari:mine/robot-v0
  planet-ros convert runs/pendulum --output lerobot:data/pendulum --task "swing up"
  planet-ros convert runs/pixels --output lerobot:data/pixels --video

A name after minari: is an id, and the data set is then where minari.load_dataset finds it; a folder
begins with / or ./ (or ~). Every number and picture is written as it is, but for --video: films are
smaller, and not exact. planet-ros import makes the same episodes of it."""


def add_import_arguments(parser: argparse.ArgumentParser) -> None:
    """What is said of data sets alone."""
    parser.add_argument(
        "--period",
        type=float,
        metavar="SECONDS",
        help="of a data set: how long a step takes, where it does not say so, or is wrong",
    )
    parser.add_argument(
        "--reward",
        default="",
        metavar="NAME",
        help="of a LeRobotDataset: the column that is the reward (default: next.reward)",
    )


def add_convert_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``planet-ros convert``."""
    parser.add_argument("experience", type=Path, metavar="RUN|EPISODES", help="where episodes are")
    parser.add_argument(
        "--output",
        required=True,
        metavar="NAME",
        help="minari:ID, minari:FOLDER or lerobot:FOLDER, a new one",
    )
    parser.add_argument(
        "--interface", help="document of the robot, where the folder does not hold what it is of"
    )
    parser.add_argument(
        "--task", help="of a LeRobotDataset: what was done, in words (default: the folder's name)"
    )
    parser.add_argument(
        "--video", action="store_true", help="of a LeRobotDataset: write pictures as films"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object on the last line"
    )


def are_datasets(names: Sequence[str]) -> bool:
    """Whether names are those of data sets.

    Raises:
        UserError: Some are, and some are not.
    """
    kinds = {name: kind_of(name)[0] for name in names}
    others = [name for name, kind in kinds.items() if not kind]
    if others and len(others) < len(kinds):
        raise UserError(
            f"{', '.join(others)}: found beside data sets, expected bags or data sets alone"
        )
    return not others


def import_(options: argparse.Namespace) -> int:
    """``planet-ros import``, of data sets or bags."""
    from planet_ros.cli.experience import import_bags

    datasets = are_datasets([str(name) for name in options.bags])
    return import_datasets(options) if datasets else import_bags(options)


def import_datasets(options: argparse.Namespace) -> int:
    """``planet-ros import``, of data sets."""
    from planet_ros.cli.experience import any_messages, judge_of, progress_of
    from planet_ros.datasets.converting import import_datasets as run

    if options.namespace or options.lock_step:
        raise UserError("--namespace, --lock-step: found with a data set, expected with bags alone")
    if options.period is not None and not 0 < options.period < float("inf"):
        raise UserError(f"--period: found {options.period:g}, expected more than 0")
    interface = None if options.interface is None else load_interface(options.interface)
    with progress_of("episodes") as progress:
        result = run(
            [str(name) for name in options.bags],
            options.output,
            interface=interface,
            make=None if interface is None else any_messages(),
            judge=judge_of(interface),
            period_s=options.period,
            reward=options.reward,
            progress=progress,
        )
    if options.json:
        print(json.dumps(result.to_dict()))
        return 0
    for note in result.notes:
        print(f"note: {note}")
    for part in result.signature.observation:
        print(f"{part.name}: {part.role} of {' × '.join(map(str, part.shape))}")
    print(f"{result.signature.actions} numbers of action, every {result.signature.period_s:.4g} s")
    print(f"{result.steps} steps in {result.episodes} episodes, in {options.output}")
    return 0


def convert(options: argparse.Namespace) -> int:
    """``planet-ros convert``."""
    from planet_ros.cli.experience import progress_of
    from planet_ros.data.store import folder_of_episodes, stored_episodes
    from planet_ros.datasets.converting import export_episodes

    path = options.experience.expanduser()
    folder = path.parent if path.name == "episodes" else path
    files = stored_episodes(folder_of_episodes(folder))
    if not files:
        raise UserError(
            f"{path}: found no episodes, expected the folder of a run, or one of episode-NUMBER.npz"
        )
    description = _description(folder, options.interface)
    with progress_of("episodes") as progress:
        target = export_episodes(
            _counted(files, progress),
            description,
            options.output,
            task=options.task or folder.resolve().name,
            video=options.video,
        )
    if options.json:
        print(json.dumps({"episodes": len(files), "folder": str(target)}))
    else:
        print(f"{len(files)} episodes, in {target}")
    return 0


def _counted(files: Sequence[Path], progress: Callable[[int, int], None]) -> Iterator[Episode]:
    from planet_ros.data.store import load_episode

    for number, file in enumerate(files, 1):
        yield load_episode(file)
        progress(number, len(files))


def _description(folder: Path, interface: str | None) -> Description:
    """What the episodes of a folder are of.

    Raises:
        UserError: Nothing says it.
    """
    if interface is not None or (folder / INTERFACE_FILE).exists():
        from planet_ros.cli.experience import any_messages
        from planet_ros.interface.signature import signature_of

        document = load_interface(interface or folder / INTERFACE_FILE)
        return Description(signature_of(document, any_messages()))
    if (description := load_description(folder)) is not None:
        return description
    if (folder / "checkpoint").is_dir():
        from planet_ros.training.checkpoint import read_checkpoint
        from planet_ros.training.run import RunFolder

        signature = read_checkpoint(folder / "checkpoint").state.signature
        return Description(signature, _environment_id(RunFolder(folder).settings_file))
    raise UserError(
        f"{folder}: nothing says what the episodes are of, expected {INTERFACE_FILE} or "
        f"{DESCRIPTION_FILE} beside them, the folder of a run, or a document with --interface"
    )


def _environment_id(settings_file: Path) -> str:
    """Gymnasium's id of what a run learned in; empty where that takes more than an id."""
    if not settings_file.exists():
        return ""
    settings = load_settings(settings_file)
    more = (settings.env_modules, settings.env_wrappers, settings.env_kwargs.strip("{} "))
    return "" if any(more) else settings.env_id


def environment_of_data(folders: Sequence[Path]) -> str:
    """Gymnasium's id of where the episodes of folders come from, as the first of them says it.

    Raises:
        UserError: One is no folder of episodes, but a data set of another project.
    """
    for folder in folders:
        if kind_of(str(folder))[0]:
            raise UserError(
                f"--data: found {folder}, a data set that is to be imported first: planet-ros "
                f"import {folder} --output DIR"
            )
    found = load_description(folders[0].expanduser()) if folders else None
    return "" if found is None else found.environment
