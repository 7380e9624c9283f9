"""Bags: read whole or as far as they are, and turned into episodes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bags import (
    EFFORTS,
    INTERFACE,
    JOINTS,
    MAKE,
    PERIOD_NS,
    STORE,
    Timed,
    drive,
    effort,
    state,
    write_bag,
    write_interface,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from planet_ros.data import EpisodeStore
from planet_ros.datasets.bags import Bag
from planet_ros.datasets.drafting import draft_interface
from planet_ros.datasets.importing import Imported, import_bags
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.files import interface_from, load_interface

MCAP, SQLITE3 = StoragePlugin.MCAP, StoragePlugin.SQLITE3


def document(**changes: Any) -> Interface:
    return interface_from({**INTERFACE, **changes})


def imported(tmp_path: Path, *bags: Path, **changes: Any) -> Imported:
    return import_bags(bags, document(**changes), tmp_path / "episodes")


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        (MCAP, CompressionMode.NONE),
        (MCAP, CompressionMode.STORAGE),
        (SQLITE3, CompressionMode.NONE),
        (SQLITE3, CompressionMode.MESSAGE),
        (SQLITE3, CompressionMode.FILE),
    ],
)
def test_states_and_commands_become_steps(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode
) -> None:
    bag = write_bag(tmp_path / "bag", drive(21), storage=storage, compression=compression)
    result = imported(tmp_path, bag)
    (episode,) = EpisodeStore(tmp_path / "episodes").episodes
    assert (result.episodes, result.steps, result.notes) == (1, len(episode), [])
    positions = episode.observation["joint"][:, 0]
    first = round(float(positions[0]) * 100)
    np.testing.assert_allclose(positions, np.arange(first, first + len(positions)) / 100)
    commanded = (first + np.arange(len(episode))) % 5 / 4
    np.testing.assert_allclose(episode.action[:, 0], commanded)
    np.testing.assert_allclose(episode.reward, -np.square(positions[:-1]), rtol=1e-5)
    assert len(episode) >= 18
    assert not episode.terminated
    assert {name: use.used for name, use in result.topics.items()} == {
        "joint_states": 21,
        "efforts": 22,
    }
    assert result.topics["joint_states"].rate_hz == pytest.approx(20)
    assert load_interface(tmp_path / "episodes" / "interface.yaml") == document()


def test_bags_of_one_robot_are_read_in_the_order_of_time_and_cut_between(tmp_path: Path) -> None:
    late = write_bag(tmp_path / "a", drive(20, offset_ns=100 * PERIOD_NS))
    early = write_bag(tmp_path / "b", drive(20), storage=SQLITE3)
    result = imported(tmp_path, late, early)
    first, second = EpisodeStore(tmp_path / "episodes").episodes
    assert len(first) >= 17 and len(second) >= 17
    assert result.cuts == {"nothing was heard": 1}
    assert result.first_cut_s["nothing was heard"] == pytest.approx(5, abs=0.1)


def test_a_long_drive_becomes_several_episodes(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", drive(50))
    result = imported(tmp_path, bag, end={"after_steps": 20})
    lengths = [len(one) for one in EpisodeStore(tmp_path / "episodes").episodes]
    assert lengths[:2] == [20, 20] and result.episodes == len(lengths) > 2


def test_what_is_dropped_is_counted_with_its_reason_and_first_time(tmp_path: Path) -> None:
    messages = drive(40)
    for _, at_ns, message in messages:
        if message.__msgtype__ == EFFORTS and at_ns > 20 * PERIOD_NS:
            message.data = np.array([np.nan])
    result = imported(tmp_path, write_bag(tmp_path / "bag", messages))
    use = result.topics["efforts"]
    ((reason, count),) = use.dropped.items()
    assert "nan" in reason and count == 20 and use.used == 21
    assert use.first_dropped_s[reason] == pytest.approx(1.0, abs=0.1)


class TestCutShort:
    @pytest.fixture
    def bag(self, tmp_path: Path) -> Path:
        return write_bag(tmp_path / "bag", drive(2000), compression=CompressionMode.STORAGE)

    def test_without_metadata_its_files_are_read(self, tmp_path: Path, bag: Path) -> None:
        (bag / "metadata.yaml").unlink()
        result = imported(tmp_path, bag)
        assert result.steps > 1900
        (note,) = result.notes
        assert "metadata" in note and "one by one" in note

    @pytest.mark.parametrize("left", [0.3, 0.7, 0.999])
    def test_file_is_read_as_far_as_it_is_whole(self, tmp_path: Path, left: float) -> None:
        # Without chunks' compression every record is on its own; rosbags writes chunks of 1 MiB.
        bag = write_bag(tmp_path / "bag", drive(20_000))
        (file,) = bag.glob("*.mcap")
        content = file.read_bytes()
        file.write_bytes(content[: round(left * len(content))])
        result = imported(tmp_path, bag)
        assert 0.05 * 20_000 < result.steps <= left * 20_000 + 1000
        assert any("was cut short" in note and "are whole" in note for note in result.notes)

    def test_a_database_that_is_cut_is_read_or_refused(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", drive(5000), storage=SQLITE3)
        (file,) = bag.glob("*.db3")
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        try:
            result = imported(tmp_path, bag)
        except UserError as error:
            assert "bag" in str(error)
            assert not (tmp_path / "episodes").exists()
        else:
            assert result.notes

    @settings(max_examples=60, deadline=None)
    @given(
        at=st.floats(0, 1),
        noise=st.binary(min_size=1, max_size=30),
        storage=st.sampled_from([MCAP, SQLITE3]),
    )
    def test_whatever_is_changed_ends_with_a_result_or_a_reason(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        at: float,
        noise: bytes,
        storage: StoragePlugin,
    ) -> None:
        tmp_path = tmp_path_factory.mktemp("damaged")
        bag = write_bag(tmp_path / "bag", drive(60), storage=storage)
        (file,) = [one for one in bag.iterdir() if one.suffix in (".mcap", ".db3")]
        content = bytearray(file.read_bytes())
        place = round(at * (len(content) - 1))
        content[place : place + len(noise)] = noise
        file.write_bytes(content)
        try:
            assert imported(tmp_path, bag).steps > 0
        except UserError as error:
            assert len(str(error)) < 3000


class TestRefused:
    def refused(self, tmp_path: Path, bag: Path, reason: str, **changes: Any) -> None:
        with pytest.raises(UserError, match=reason):
            imported(tmp_path, bag, **changes)
        assert not (tmp_path / "episodes").exists()
        assert not list(tmp_path.glob(".episodes*"))

    def test_topic_that_is_not_there_with_those_that_are(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", drive(5))
        part = {**INTERFACE["observation"][0], "topic": "joint_state"}
        reason = "/joint_state: not in the bag, which has /efforts, /joint_states; the nearest is "
        self.refused(tmp_path, bag, f"{reason}/joint_states", observation=[part])

    def test_other_type(self, tmp_path: Path) -> None:
        other = [("/joint_states", JOINTS), ("/efforts", JOINTS)]
        bag = write_bag(tmp_path / "bag", [state(1)], types=other)
        self.refused(tmp_path, bag, f"/efforts: found the type {JOINTS}, expected {EFFORTS}")

    def test_no_overlap_in_time(self, tmp_path: Path) -> None:
        messages = [state(k) for k in range(20)] + [effort(k) for k in range(100, 120)]
        bag = write_bag(tmp_path / "bag", messages)
        self.refused(
            tmp_path, bag, r"no step .*, joint_states 0\.0 to 1\.0, efforts 5\.0 to 6\.0|no step"
        )

    def test_no_message_at_all(self, tmp_path: Path) -> None:
        self.refused(tmp_path, write_bag(tmp_path / "bag", []), "joint_states never, efforts never")

    def test_no_reward(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", drive(5))
        self.refused(tmp_path, bag, "reward: found none in the interface", reward={"kind": "step"})

    def test_field_that_messages_do_not_have(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", drive(5))
        part = {**INTERFACE["observation"][0], "fields": ["position[wheel]"]}
        reward = {"kind": "quadratic", "observation": [{"field": "position[wheel]", "weight": 1}]}
        self.refused(tmp_path, bag, r"wheel.*gripper.*hinge", observation=[part], reward=reward)

    def test_folder_that_is_there(self, tmp_path: Path) -> None:
        (tmp_path / "episodes").mkdir()
        with pytest.raises(UserError, match="already exists"):
            imported(tmp_path, write_bag(tmp_path / "bag", drive(5)))

    @pytest.mark.parametrize("kind", ["nothing", "empty folder", "text", "empty file"])
    def test_no_bag(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / ("bag.mcap" if kind == "empty file" else "bag")
        if kind == "empty folder":
            path.mkdir()
        elif kind != "nothing":
            path.write_text("" if kind == "empty file" else "hello")
        self.refused(tmp_path, path, "bag")


class TestTypes:
    def test_of_the_bags_own_definition_is_read(self, tmp_path: Path) -> None:
        store = get_typestore(Stores.EMPTY)
        text = "float64 torque\nOther[] others\n" + "=" * 80 + "\nMSG: my_msgs/Other\nint8 x"
        store.register(get_types_from_msg(text, "my_msgs/msg/Motor"))
        with Writer(tmp_path / "bag", version=9, storage_plugin=MCAP) as writer:
            one = writer.add_connection("/motor", "my_msgs/msg/Motor", typestore=store)
            message = store.types["my_msgs/msg/Motor"](torque=1.5, others=[])
            writer.write(one, 1, store.serialize_cdr(message, "my_msgs/msg/Motor"))
        with Bag([tmp_path / "bag"]) as bag:
            ((_, _, read),) = bag.messages(["/motor"])
            assert read.torque == 1.5
            assert bag.make("my_msgs/msg/Motor").torque == 0.0
            assert bag.make.fields("my_msgs/msg/Motor") == [
                ("torque", "float64"),
                ("others", "my_msgs/msg/Other[]"),
            ]
            assert bag.make(JOINTS).name == []

    @pytest.mark.parametrize(
        "text",
        [
            "int8 x=__import__('os').system('touch {trace}')",
            "string X='''+__import__('os').system('touch {trace}')+'''",
            'string x """+__import__(\'os\').system(\'touch {trace}\')+"""',
            "int8[__import__('os').system('touch {trace}')] x",
            "int8 x\n'''\n__import__('os').system('touch {trace}')",
            "float64 x\n" + "=" * 80 + "\nMSG: a/b\n__import__('os').system('touch {trace}')",
        ],
    )
    def test_definition_runs_nothing(self, tmp_path: Path, text: str) -> None:
        """The library makes Python of definitions: what is in them must not become code."""
        trace = tmp_path / "trace"
        definition = text.replace("{trace}", str(trace))
        with Writer(tmp_path / "bag", version=9, storage_plugin=MCAP) as writer:
            one = writer.add_connection(
                "/evil", "evil_msgs/msg/Evil", msgdef=definition, rihs01="RIHS01_" + "0" * 64
            )
            writer.write(one, 1, b"\0\1\0\0" + bytes(64))
        with contextlib.suppress(UserError), Bag([tmp_path / "bag"]) as bag:
            list(bag.messages(["/evil"]))
        assert not trace.exists()

    def test_that_nobody_defines_is_named(self) -> None:
        with pytest.raises(UserError, match="'my_msgs/msg/None', expected one that the bag or ROS"):
            MAKE("my_msgs/msg/None")

    @pytest.mark.parametrize("type_name", sorted(STORE.fielddefs))
    def test_every_empty_message_can_be_written(self, type_name: str) -> None:
        if STORE.fielddefs[type_name][1]:
            assert len(STORE.serialize_cdr(MAKE(type_name), type_name)) >= 4


class TestFirstInterface:
    def test_is_one_that_imports_the_bag(self, tmp_path: Path) -> None:
        bag = write_bag(tmp_path / "bag", drive(40))
        with Bag([bag]) as opened:
            text = draft_interface(opened)
        path = tmp_path / "robot.yaml"
        path.write_text(text)
        found = load_interface(path)
        assert found.period_s == pytest.approx(0.05)
        ((field,),) = (part.fields for part in found.action)
        assert (field.low, field.high) == ([0.0], [1.0])
        assert found.observation[0].fields[0].path == "position[gripper, hinge]"
        assert import_bags([bag], found, tmp_path / "episodes").steps > 30
        assert text.startswith("# A first interface") and "docs/interface.md" in text

    @pytest.mark.parametrize(
        ("messages", "lacking"), [([state(0)], "no command"), ([effort(0)], "no state")]
    )
    def test_needs_states_and_commands(
        self, tmp_path: Path, messages: list[Timed], lacking: str
    ) -> None:
        path = write_bag(tmp_path / "bag", messages)
        with (
            Bag([path]) as bag,
            pytest.raises(UserError, match=f"found {lacking} among the topics .*msg/"),
        ):
            draft_interface(bag)


def test_commands_of_a_person(
    tmp_path: Path, prints: Callable[..., str], fails: Callable[..., str]
) -> None:
    bag = write_bag(tmp_path / "bag", drive(60), compression=CompressionMode.STORAGE)
    assert "60         20  /joint_states (sensor_msgs/msg/JointState)" in prints("topics", bag)
    listed = json.loads(prints("topics", bag, "--json").splitlines()[-1])
    assert [one["topic"] for one in listed["topics"]] == ["/efforts", "/joint_states"]
    path = tmp_path / "robot.yaml"
    path.write_text(prints("interface", bag))
    assert "joint_states: vector of 4" in prints("interface", path)
    own = write_interface(tmp_path / "own.yaml")
    printed = prints("import", bag, "--interface", own, "--output", tmp_path / "episodes")
    assert "steps in 1 episodes" in printed and "delay" in printed
    printed = prints("import", bag, "--interface", own, "--output", tmp_path / "more", "--json")
    result = json.loads(printed.splitlines()[-1])
    assert result["steps"] > 50 and result["topics"]["efforts"]["used"] == 61
    assert "already exists" in fails(
        "import", bag, "--interface", own, "--output", tmp_path / "more"
    )
    assert "/robot1/joint_states: not in the bag" in fails(
        "import", bag, "--interface", own, "--output", tmp_path / "x", "--namespace", "robot1"
    )
