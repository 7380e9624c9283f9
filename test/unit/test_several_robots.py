"""One run that learns from several robots: their steps come in any order, and never mix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plain_messages as plain
import pytest
from arrays import float32
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from planet_ros.config import LearnerSettings, Settings, settings_from
from planet_ros.data import Episode, Step
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.interface.namespaces import in_namespace, under
from planet_ros.interface.signature import signature_of
from planet_ros.interface.timeline import Timeline
from planet_ros.training.session import Session

MakeSettings = Callable[..., Settings]
ROBOTS = ["left", "right", "cell/third"]


class Robots:
    """A session, and robots whose every observation says whose it is, and which."""

    def __init__(self, root: Path, settings: Settings) -> None:
        interface = load_interface(root / "config/interfaces/pendulum.yaml")
        self.said: list[str] = []
        self.session = Session(
            settings,
            signature_of(interface, plain.make),
            environment=None,
            interface=interface,
            say=self.said.append,
        )
        self._indices = [-1] * len(ROBOTS)
        self._counts = [0] * len(ROBOTS)

    def step(self, stream: int, last: bool = False) -> bool:
        self._indices[stream] += 1
        self._counts[stream] += 1
        begins = self._indices[stream] == 0
        due = self.session.add(
            Step(
                self._indices[stream],
                {"joint": float32([stream, self._counts[stream], 0])},
                float32([0.0 if begins else stream + 1]),
                0.0 if begins else -1.0,
                truncated=last,
                environment_steps=0 if begins else 1,
                stream=stream,
            )
        )
        if last:
            self.cut(stream)
        return due

    def cut(self, stream: int) -> None:
        """What it says next does not follow from what it said before."""
        self._indices[stream] = -1
        self._counts[stream] += 100

    @property
    def episodes(self) -> Sequence[Episode]:
        return self.session.learner.store.episodes


def check_of_one_robot(episode: Episode) -> int:
    """See that nothing of another robot is in it, and nothing is missing; give whose it is."""
    streams, counts = set(episode.observation["joint"][:, 0]), episode.observation["joint"][:, 1]
    assert len(streams) == 1
    assert (np.diff(counts) == 1).all()
    (stream,) = streams
    assert (episode.action == stream + 1).all()
    return int(stream)


@pytest.fixture
def make_robots(root: Path, tmp_path: Path, tiny_settings: MakeSettings) -> Iterator[Any]:
    sessions = []

    def make(**overrides: Any) -> Robots:
        values = {f"training.{name}": value for name, value in overrides.items()}
        document = root / "config/interfaces/pendulum.yaml"
        named = {"interface": str(document), "robots": ROBOTS, **values}
        robots = Robots(root, tiny_settings(tmp_path / "run", named))
        sessions.append(robots.session)
        return robots

    yield make
    for session in sessions:
        session.close()


@pytest.fixture(scope="module")
def roomy(root: Path, tmp_path_factory: pytest.TempPathFactory, tiny_settings: Any) -> Any:
    """Makes sessions for examples that hypothesis thinks of."""

    def make() -> Robots:
        document = root / "config/interfaces/pendulum.yaml"
        values = {
            "interface": str(document),
            "robots": ROBOTS,
            "training.update_every_steps": 1000,
            "training.steps": 10_000,
        }
        return Robots(root, tiny_settings(tmp_path_factory.mktemp("runs") / "run", values))

    return make


@given(
    events=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["step", "step", "step", "last", "cut"])),
        max_size=60,
    )
)
@hypothesis_settings(max_examples=25, deadline=None)
def test_steps_of_robots_in_any_order_never_mix(roomy: Any, events: list[tuple[int, str]]) -> None:
    robots = roomy()
    taken, begun = [0, 0, 0], [False] * 3
    for stream, what in events:
        if what == "cut":
            robots.cut(stream)
        else:
            robots.step(stream, last=what == "last")
            taken[stream] += begun[stream]
        begun[stream] = what == "step"
        assert robots.session.steps == sum(taken)
    robots.session.finish()
    found = [0, 0, 0]
    for episode in robots.episodes:
        found[check_of_one_robot(episode)] += len(episode)
    assert found == taken
    assert robots.session.missing_steps == 0
    records = [one for one in robots.session.run.metrics() if one["kind"] == "episode"]
    assert [one["robot"] for one in records] == [
        ROBOTS[check_of_one_robot(episode)] for episode in robots.episodes
    ]
    robots.session.close()


def test_the_cut_of_one_leaves_the_others_alone(make_robots: Callable[..., Robots]) -> None:
    robots = make_robots(update_every_steps=1000)
    for _ in range(10):
        for stream in range(3):
            robots.step(stream)
    robots.cut(1)
    for _ in range(5):
        for stream in range(3):
            robots.step(stream)
    assert [check_of_one_robot(episode) for episode in robots.episodes] == [1]
    robots.session.finish()
    assert sorted((check_of_one_robot(one), len(one)) for one in robots.episodes) == [
        (0, 14),
        (1, 4),
        (1, 9),
        (2, 14),
    ]
    assert any(
        line.startswith("episode 1 of right: return -9.0 in 9 steps") for line in robots.said
    )


def test_fits_count_the_steps_of_all_and_learn_from_what_is_under_way(
    make_robots: Callable[..., Robots], monkeypatch: pytest.MonkeyPatch
) -> None:
    robots = make_robots(update_every_steps=30, random_steps=30, steps=90, updates=2)
    judged: list[tuple[int, int]] = []

    def judge(newest: Episode, fresh: int) -> tuple[None, None]:
        judged.append((len(newest), fresh))
        return None, None

    monkeypatch.setattr(robots.session.learner, "_errors_on_unseen", judge)
    for stream in range(3):
        robots.step(stream)
    due = [robots.step(index % 3) for index in range(60)]
    assert [index + 1 for index, one in enumerate(due) if one] == [30, 60]
    robots.session.fit()
    assert robots.session.learner._replay.statistics().reward.count == 60
    for index in range(30):
        due.append(robots.step(index % 3))
    assert due[-1] and robots.session.finished
    assert sorted(map(len, robots.episodes)) == [30, 30, 30]
    robots.session.fit()
    assert robots.session.learner.decisions == 90
    assert judged == [(20, 20), (30, 10)]  # of each robot's steps, those since the last fit


def test_a_run_of_several_goes_on_after_a_kill_and_after_its_end(
    make_robots: Callable[..., Robots],
) -> None:
    settings = {"update_every_steps": 30, "random_steps": 30, "steps": 120, "updates": 2}
    robots = make_robots(**settings)
    for _ in range(6):
        robots.step(0)
    robots.step(0, last=True)
    for _ in range(24):
        robots.step(1)
        robots.step(2)
    robots.session.fit()
    robots.session.close()  # as after a kill: what was under way is gone, and nothing else
    robots = make_robots(**settings, resume=True)
    assert (robots.session.steps, robots.session.learner.fits) == (6, 1)
    for _ in range(10):
        for stream in range(3):
            robots.step(stream)
    robots.session.finish()
    robots.session.close()
    robots = make_robots(**settings, resume=True)
    assert (robots.session.steps, robots.session.learner.episodes) == (6 + 27, 4)
    assert sorted(check_of_one_robot(one) for one in robots.episodes) == [0, 0, 1, 2]


# ── names ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"robots": ["a"]}, r"robots: found \['a'\] without interface, expected one"),
        ({"interface": "pendulum", "robots": ["a", "a"]}, "differ from one another"),
        ({"interface": "pendulum", "robots": ["a", "/a"]}, "differ from one another"),
        ({"interface": "pendulum", "robots": ["1a"]}, "expected namespaces such as robot1.*'1a'"),
        ({"interface": "pendulum", "robots": ["a/"]}, "robots: .*'a/'"),
        ({"interface": "pendulum", "robots": [""]}, "robots: .*''"),
        ({"interface": "pendulum", "robots": ["a__b"]}, "robots: .*'a__b'"),
        ({"interface": "pendulum", "robots": ["a\n"]}, "robots: "),
        ({"interface": "pendulum", "robots": [f"a{n}" for n in range(65)]}, "robots: found"),
        ({"interface": "pendulum", "robots": "a"}, "robots: found 'a', expected a list of str"),
    ],
)
def test_names_that_cannot_be_are_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        settings_from(values, schema=LearnerSettings)


def test_names_that_can_be_are_taken() -> None:
    values = {"interface": "pendulum", "robots": ["a", "cell/b", "/far/c"]}
    assert settings_from(values, schema=LearnerSettings).robots == values["robots"]


@pytest.mark.parametrize(
    ("namespace", "name", "full"),
    [
        ("robot1", "odom", "robot1/odom"),
        ("robot1", "robot/pause", "robot1/robot/pause"),
        ("/cell/robot1", "odom", "/cell/robot1/odom"),
        ("robot1", "/tf", "/tf"),
        ("robot1", "~/reset", "~/reset"),
        ("", "odom", "odom"),
    ],
)
def test_names_in_a_namespace(namespace: str, name: str, full: str) -> None:
    assert under(namespace, name) == full


def test_a_robot_in_a_namespace_is_the_same_robot(root: Path) -> None:
    plainly = load_interface(root / "config/interfaces/base.yaml")
    values = plainly.model_dump()
    values["reward"] = {"kind": "topic", "topic": "reward"}
    values["end"] = {"topic": "/end"}
    interface = Interface.model_validate(values)
    moved = in_namespace(interface, "robot1")
    timeline = Timeline(moved, plain.make)
    assert timeline.signature == Timeline(interface, plain.make).signature
    assert set(timeline.topics) == {
        under("robot1", topic) for topic in Timeline(interface, plain.make).topics
    }
    assert "/end" in timeline.topics
    assert in_namespace(interface, "") is interface
