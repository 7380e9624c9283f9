"""Episodes out of data sets of other projects, and into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.data import Episode, Signature
from planet_ros.data.images import fit_image
from planet_ros.data.signature import Layout
from planet_ros.data.store import save_episode
from planet_ros.datasets.foreign import Contents, DataSet, Fit
from planet_ros.datasets.sources import KINDS, kind_of, open_dataset
from planet_ros.errors import UserError
from planet_ros.files import folder_written_whole
from planet_ros.interface.description import DESCRIPTION_FILE, Description, description_text
from planet_ros.interface.document import Interface
from planet_ros.interface.files import INTERFACE_FILE, interface_text
from planet_ros.interface.rewards import step_reward
from planet_ros.interface.signature import signature_of
from planet_ros.messages.fields import Make

USUAL_PERIOD_S = 0.05
"""Where nobody says how long a step takes, as of environments."""

SAME_PERIOD = 0.01
"""Share by which two periods may differ that are the same."""


@dataclass
class ImportedData:
    """What came of data sets.

    Attributes:
        signature: Of the episodes.
        environment: Gymnasium's id of where they were collected; empty: nobody says.
        episodes: How many.
        steps: In all of them.
        notes: What a person should know of the data sets.
    """

    signature: Signature
    environment: str = ""
    episodes: int = 0
    steps: int = 0
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "episodes": self.episodes,
            "steps": self.steps,
            "observation": {one.name: list(one.shape) for one in self.signature.observation},
            "actions": self.signature.actions,
            "period_s": self.signature.period_s,
            "environment": self.environment,
            "notes": self.notes,
        }


def import_datasets(
    names: Sequence[str],
    output: Path,
    *,
    interface: Interface | None,
    make: Make | None,
    judge: Callable[[Episode], Episode] = lambda episode: episode,
    period_s: float | None = None,
    reward: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportedData:
    """Write the episodes of data sets into a folder, with what they are of.

    Args:
        names: Data sets, as `planet_ros.datasets.sources` has them.
        output: Folder of the episodes; must not exist. It is written whole or not at all.
        interface: What the robot is; None: what the first data set says of itself.
        make: Gives empty messages, for an interface.
        judge: Gives an episode the rewards, and the end, that functions of the interface know.
        period_s: How long a step takes, in place of what the data sets say.
        reward: Column of a LeRobotDataset that is the reward; empty: next.reward.
        progress: Called with the episodes read and in all.

    Raises:
        UserError: A data set cannot be read, does not fit the interface or the first one, or
            nothing says a reward.
    """
    if output.exists():
        raise UserError(f"{output}: already exists; choose another folder with --output")
    sets = [open_dataset(name, reward=reward) for name in names]
    wanted = _Wanted(sets[0].contents, interface, make, period_s)
    for data in sets:
        wanted.check(data)
    total = sum(data.contents.episodes for data in sets)
    done = 0
    with folder_written_whole(output) as folder:
        for data in sets:
            for episode in wanted.episodes(data):
                judged = judge(episode)
                save_episode(judged, folder / f"episode-{done:06d}.npz")
                done += 1
                wanted.steps += len(judged)
                progress(done, total)
        progress(total, total)
        if not wanted.steps:
            raise UserError(f"{', '.join(names)}: found no step, expected episodes")
        result = ImportedData(
            wanted.signature(), wanted.contents.environment, done, wanted.steps, wanted.notes
        )
        for data in sets:
            result.notes += [f"{data.name}: {note}" for note in data.notes]
        if interface is not None:
            (folder / INTERFACE_FILE).write_text(interface_text(interface), encoding="utf-8")
        else:
            description = Description(result.signature, result.environment)
            (folder / DESCRIPTION_FILE).write_text(description_text(description), encoding="utf-8")
    return result


class _Wanted:
    """What episodes are to be: of an interface, or as in the first data set."""

    def __init__(
        self,
        first: Contents,
        interface: Interface | None,
        make: Make | None,
        period_s: float | None,
    ) -> None:
        self.contents, self.steps = first, 0
        self.notes: list[str] = []
        self._interface = interface
        self._given_period_s = period_s
        self._fixed = None  # of an interface
        self._reward = None
        if interface is not None:
            assert make is not None
            self._fixed = signature_of(interface, make)
            self._reward = step_reward(interface, make)
            if interface.end.condition or interface.end.topic:
                self.notes.append(
                    "end: of the interface is over messages, which a data set has none of: "
                    "episodes end where the data set says so"
                )
        parts = first.observation if self._fixed is None else self._fixed.observation
        self._parts = {part.name: part for part in parts}
        self._least = np.full(len(first.action), np.inf, np.float32)
        self._most = -self._least

    def signature(self) -> Signature:
        """Of all episodes read.

        Raises:
            UserError: An action that the data set gives no range never varies.
        """
        if self._fixed is not None:
            return self._fixed
        first = self.contents
        low = np.where(np.isfinite(first.low), first.low, self._least)
        high = np.where(np.isfinite(first.high), first.high, self._most)
        said = np.isfinite(first.low) & np.isfinite(first.high)
        if not said.all() and first.signature is None:
            self.notes.append(
                "the data set gives no range of actions: taken for it are the least and the "
                f"greatest in it, {low} to {high}; an interface (--interface) says others"
            )
        try:
            return first.signature_with(low, high, self._period_s())
        except ValueError as error:
            raise UserError(f"{error}; say what is so with an interface (--interface)") from None

    def _period_s(self) -> float:
        period_s = self._given_period_s or self.contents.period_s
        if period_s is None:
            self.notes.append(
                f"the data set does not say how long a step takes: {USUAL_PERIOD_S} s are taken "
                "for it; if it is another, set --period"
            )
        return period_s or USUAL_PERIOD_S

    def check(self, data: DataSet) -> None:
        """See that a data set is of the same things, and that its rewards are known.

        Raises:
            UserError: It is not, or they are not.
        """
        found, first = data.contents, self.contents
        kind = "" if self._interface is None else self._interface.reward.kind
        if not found.rewards and kind not in ("quadratic", "function"):
            raise UserError(
                f"{data.name}: found no reward in it, and a model learns what to reach from that: "
                "give an interface with a reward of kind quadratic or function (--interface), or "
                "a column that is the reward (--reward NAME)"
            )
        period_s, expected = found.period_s, first.period_s
        if self._interface is not None:
            period_s = self._given_period_s or period_s
            expected = self._interface.period_s
        if period_s and expected and abs(period_s / expected - 1) > SAME_PERIOD:
            raise UserError(
                f"{data.name}: found {period_s:.4g} s for a step, expected {expected:.4g} s as in "
                f"{'the first data set' if self._interface is None else 'the interface'}"
            )
        if self._fixed is None and not (
            np.array_equal(found.low, first.low) and np.array_equal(found.high, first.high)
        ):
            raise UserError(
                f"{data.name}: found actions from {found.low} to {found.high}, expected those of "
                f"the first data set, {first.low} to {first.high}"
            )
        names, layout = self._names(data), {}
        for part in found.observation:
            name = names[part.name]
            fits = part.role == "image" and self._scales(name)
            layout[name] = (self._parts[name].shape if fits else part.shape, part.dtype)
        self._reference().check(Layout(layout, len(found.action)), data.name)

    def _reference(self) -> Signature:
        """What episodes are compared with: its range of actions does not matter."""
        if self._fixed is not None:
            return self._fixed
        count = len(self.contents.action)
        zeros = np.zeros(count, np.float32)
        return self.contents.signature_with(zeros, zeros + 1, USUAL_PERIOD_S)

    def _names(self, data: DataSet) -> dict[str, str]:
        """What each part of a data set is called here.

        As there; where an interface calls its one vector, or its one picture, something else, as
        the interface does.
        """
        names = {part.name: part.name for part in data.contents.observation}
        if self._fixed is None or set(names) == set(self._parts):
            return names
        for image in (False, True):
            there = [one for one in data.contents.observation if (one.role == "image") == image]
            here = [one for one in self._fixed.seen if (one.role == "image") == image]
            if len(there) == len(here) == 1:
                names[there[0].name] = here[0].name
        return names

    def _scales(self, name: str) -> bool:
        """Whether pictures of a part are made those of the interface."""
        return self._fixed is not None and name in self._fixed.images

    def episodes(self, data: DataSet) -> Iterator[Episode]:
        """Those of a data set, as they are wanted."""
        names = self._names(data)
        for episode in data.episodes(self._fit(names)):
            if len(episode):
                self._least = np.minimum(self._least, episode.action.min(axis=0))
                self._most = np.maximum(self._most, episode.action.max(axis=0))
            parts = {names[name]: values for name, values in episode.observation.items()}
            episode = replace(episode, observation=parts)
            if self._reward is not None:
                episode = replace(episode, reward=self._rewards(episode))
            yield episode

    def _fit(self, names: dict[str, str]) -> Fit:
        def fit(name: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
            if not self._scales(names[name]):
                return image
            height, width, channels = self._parts[names[name]].shape
            return fit_image(image, (height, width, channels))

        return fit

    def _rewards(self, episode: Episode) -> NDArray[np.float64]:
        assert self._reward is not None
        seen = [
            {name: values[index] for name, values in episode.observation.items()}
            for index in range(len(episode) + 1)
        ]
        return np.array(
            [
                self._reward(before, action, after)
                for before, action, after in zip(seen[:-1], episode.action, seen[1:], strict=True)
            ]
        )


def export_episodes(
    episodes: Iterator[Episode],
    description: Description,
    name: str,
    *,
    task: str,
    video: bool,
) -> Path:
    """Write episodes as a data set of another project.

    Args:
        episodes: All of them, in order.
        description: What they are of.
        name: Of the data set, as `planet_ros.datasets.sources` has it; it must not exist.
        task: What was done in them, in words, for a LeRobotDataset.
        video: Write pictures of a LeRobotDataset as films, which are smaller and not exact.

    Returns:
        The folder, written whole or not at all.

    Raises:
        UserError: There is such a data set, the format has no room for something, or its library
            is not installed.
    """
    kind, rest = kind_of(name)
    if kind not in KINDS or not rest or not name.startswith(f"{kind}:"):
        raise UserError(
            f"--output: found {name}, expected minari:ID, minari:FOLDER or lerobot:FOLDER"
        )
    if kind == "minari":
        from planet_ros.datasets.minari_writing import write_minari

        if video:
            raise UserError("--video: found with a Minari data set, expected a LeRobotDataset")
        return write_minari(episodes, description, rest)
    from planet_ros.datasets.lerobot_writing import write_lerobot

    folder = Path(rest).expanduser()
    write_lerobot(episodes, description, folder, task=task, video=video)
    return folder
