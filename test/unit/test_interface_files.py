"""Documents about robots: files, what is refused in them, signatures and the reference page."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plain_messages as plain
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.files import interface_from, interface_text, load_interface
from planet_ros.interface.reading import PartReader
from planet_ros.interface.reference import interface_markdown, summary
from planet_ros.interface.signature import signature_of
from planet_ros.interface.writing import ActionWriter

NAMES = ["arm", "base", "pendulum", "pendulum_no_velocity"]


def document() -> dict[str, Any]:
    return {
        "period_s": 0.05,
        "observation": [
            {
                "name": "joint",
                "topic": "joint_states",
                "type": "sensor_msgs/msg/JointState",
                "fields": ["position[a, b]", {"path": "velocity[a]", "name": "speed"}],
            }
        ],
        "action": [
            {
                "topic": "commands",
                "type": "std_msgs/msg/Float64MultiArray",
                "fields": [{"path": "data[0]", "name": "torque", "low": -2, "high": 2}],
            }
        ],
    }


def changed(where: str, value: Any) -> dict[str, Any]:
    """The document with one thing in another way: ``observation.0.name``; ... takes it away."""
    found = document()
    here: Any = found
    *way, last = [int(step) if step.isdigit() else step for step in where.split(".")]
    for step in way:
        here = here[step]
    if value is ...:
        del here[last]
    else:
        here[last] = value
    return found


# ── files ────────────────────────────────────────────────────────────────────────────────────


def test_these_come_with_the_package(root: Path) -> None:
    assert sorted(path.stem for path in (root / "config" / "interfaces").glob("*.yaml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_with_the_package_is_found_and_fits_its_messages(name: str, root: Path) -> None:
    found = load_interface(name)
    assert found == load_interface(root / "config" / "interfaces" / f"{name}.yaml")
    assert found.period_s == 0.05
    signature = signature_of(found, plain.make)
    assert signature.period_s == 0.05
    summary(found, plain.make)


def test_the_pendulum_of_angles_alone_is_the_same_to_a_model() -> None:
    one, other = (
        signature_of(load_interface(name), plain.make) for name in NAMES if "pendulum" in name
    )
    assert one == other
    assert [one.observation[0].label(i) for i in range(3)] == [
        "cos position[hinge]",
        "sin position[hinge]",
        "velocity[hinge] [rad/s]",
    ]
    reward = [load_interface(name).reward for name in NAMES if "pendulum" in name]
    assert reward[0] == reward[1]
    weights = [term.weight for term in (*reward[0].observation, *reward[0].action)]
    assert weights == [[1.0], [0.1], [0.001]], "as Gymnasium's"


def test_the_base_drives_to_a_goal_within_its_acceleration() -> None:
    found = load_interface("base")
    signature = signature_of(found, plain.make)
    assert [(part.name, part.role, part.shape) for part in signature.observation] == [
        ("odometry", "vector", (6,)),
        ("imu", "vector", (1,)),
        ("goal", "goal", (2,)),
    ]
    parts = ActionWriter(found.action, plain.make).signature_parts
    assert all(part.max_rate is not None for part in parts)
    assert found.delay_periods == 1


def test_the_arm_stays_where_it_is() -> None:
    found = load_interface("arm")
    (hold,) = ActionWriter(found.action, plain.make).safe.holds
    reader = PartReader(found.observation[0], plain.make)
    still = [0.0, 0.0]
    message = plain.JointState(
        name=["elbow", "shoulder"], position=[2.0, 1.0], velocity=still, effort=still
    )
    reading = reader.read(message, 0)
    assert reading is not None
    assert reading.measured[hold.field].tolist() == [1, 2]


@pytest.mark.parametrize("name", NAMES)
def test_documents_survive_being_written_and_read(name: str, tmp_path: Path) -> None:
    found = load_interface(name)
    path = tmp_path / "robot.yaml"
    path.write_text(interface_text(found))
    assert load_interface(path) == load_interface(str(path)) == found
    assert interface_from(found.model_dump(mode="json")) == found
    assert interface_from(yaml.safe_load(interface_text(found))) == found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [1", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        ("", "found NoneType, expected a mapping with period_s, observation and action"),
        ("- 1", "found list, expected a mapping"),
        ("period_s: 1\nperiod_s: 2", "line 2: 'period_s' is given twice"),
        ("a: &x 1\nb: *x", "ROS knows no aliases"),
        ("#" * (2**20 + 1), "found more than 1048576 bytes"),
    ],
)
def test_what_is_no_document_is_refused_with_its_path(
    content: str | bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "robot.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError) as caught:
        load_interface(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_a_name_that_is_nowhere_is_refused_with_the_places(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"interfaces/no_such\.yaml is not in .*config"):
        load_interface("no_such")
    with pytest.raises(UserError, match=r"robot\.yaml: cannot be read: No such file"):
        load_interface(tmp_path / "robot.yaml")


# ── what is in them ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("perod_s", 1, "perod_s: unknown name (did you mean period_s?)"),
        ("observation.0.topik", "x", "observation[0].topik: unknown name (did you mean topic?)"),
        (
            "observation.0.fields.1.nam",
            "x",
            "observation[0].fields[1].nam: unknown name (did you m",
        ),
        ("end", {"aftersteps": 3}, "end.aftersteps: unknown name (did you mean after_steps?)"),
        (
            "action.0.fields.0.safe",
            {"holt": "x"},
            "fields[0].safe.holt: unknown name (did you mean",
        ),
        ("period_s", ..., "period_s: found nothing, expected it: Seconds between two commands."),
        ("period_s", "1", "period_s: found '1', expected a number"),
        ("period_s", 0.0, "period_s: found 0.0, expected greater than or equal to 0.001"),
        ("observation", [], "observation: found a list, list should have at least 1 item"),
        ("observation.0.name", True, "observation[0].name: found True, expected a string"),
        ("observation.0.type", "JointState", "observation[0].type: found 'JointState', string sho"),
        ("observation.0.qos", "best", "observation[0].qos: found 'best', expected 'sensor_data', "),
        ("observation.0.fields", [], "observation[0]: observation 'joint': expected either fields"),
        (
            "observation.0.fields.0",
            "a..b",
            "observation[0].fields[0].path: path 'a..b': found '.b'",
        ),
        ("action.0.fields.0.low", "x", "action[0].fields[0].low[0]: found 'x', expected a number"),
        ("action.0.constants", {"a[": 1}, "action[0].constants.a[: path 'a['"),
        ("action.0.constants", {"a": None}, "action[0].constants.a: found None"),
        ("end", {"condition": "x >"}, "end.condition: condition 'x >': found the end at 3"),
        ("observation.0.fields.1.name", "position[a, b]", "found position[a, b] twice"),
        ("reward", {"kind": "quadratic"}, "reward: found kind quadratic without observation"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(where: str, value: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        interface_from(changed(where, value), "robot.yaml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("robot.yaml: ")


def test_all_that_is_wrong_is_said_at_once() -> None:
    found = changed("period_s", 0)
    found["observation"][0]["qos"] = "best"
    with pytest.raises(UserError, match=r"period_s: found 0, .*; observation\[0\]\.qos: found"):
        interface_from(found)


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("observation.0.type", "no_msgs/msg/Thing", "no_msgs/msg/Thing"),
        ("action.0.fields.0.safe", {"hold": "angle"}, "hold: found 'angle', expected one of pos"),
        ("action.0.fields.0.safe", {"hold": "position[a, b]"}, "of 2 numbers, expected one of 1"),
        ("end", {"condition": "tilt > 1"}, "end.condition: found the name 'tilt', expected one of"),
        ("end", {"topic": "done", "path": "dat"}, "end: dat: found no field 'dat' in a Bool"),
        (
            "reward",
            {"kind": "quadratic", "observation": [{"field": "angle", "weight": 1}]},
            "reward.observation[0]: field: found 'angle', expected one of position[a, b], speed",
        ),
        (
            "reward",
            {"kind": "quadratic", "observation": [{"field": "speed", "weight": [1, 2]}]},
            "reward.observation[0]: weight: found 2 numbers, expected 1 or 1",
        ),
        (
            "reward",
            {"kind": "quadratic", "observation": [{"field": "speed", "weight": 1, "goal": "x"}]},
            "reward.observation[0]: goal: found 'x', expected one of none",
        ),
        (
            "reward",
            {
                "kind": "quadratic",
                "observation": [{"field": "speed", "weight": 1}],
                "action": [{"field": "force", "weight": 1}],
            },
            "reward.action[0]: field: found 'force', expected one of torque",
        ),
        ("observation.0.name", "action", "found the name 'action', expected any but"),
    ],
)
def test_what_does_not_fit_together_is_refused(where: str, value: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        signature_of(interface_from(changed(where, value)), plain.make)
    assert said in str(caught.value)


def test_a_condition_may_name_a_field_or_one_of_its_numbers() -> None:
    for condition in ("abs(position[b]) > 1", "max(position[a,b]) > 1 or speed > 2"):
        found = interface_from(changed("end", {"condition": condition}))
        assert signature_of(found, plain.make).vector_size == 3


def test_paths_are_kept_as_they_are_usually_written() -> None:
    found = interface_from(changed("observation.0.fields.0", "position[ a,b ]"))
    assert found.observation[0].fields[0].label == "position[a, b]"


JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
PLACES = ["period_s", "delay_periods", "observation", "action", "reward", "end", "goal"] + [
    f"{part}.0.{key}"
    for part, keys in {
        "observation": ["name", "topic", "type", "fields", "image", "qos", "stale_after_s"],
        "action": ["topic", "type", "fields", "constants", "name"],
        "observation.0.fields": ["path", "encoding", "size", "clip"],
        "action.0.fields": ["path", "low", "high", "max_rate", "safe", "size"],
    }.items()
    for key in keys
]


@given(place=st.sampled_from(PLACES), junk=JUNK)
@settings(max_examples=300, deadline=None)
def test_any_document_is_one_or_a_user_error(place: str, junk: Any) -> None:
    found = copy.deepcopy(document())
    found["observation"][0]["fields"][0] = {"path": "position[a, b]"}
    here: Any = found
    *way, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    for step in way:
        here = here[step]
    here[last] = junk
    try:
        signature_of(interface_from(found), plain.make)
    except UserError as error:
        assert len(str(error)) < 3000


# ── the page, and the command ────────────────────────────────────────────────────────────────


def test_reference_page_is_up_to_date(root: Path) -> None:
    page = (root / "docs" / "interface.md").read_text(encoding="utf-8")
    assert page == interface_markdown(), "docs/interface.md differs from the schema: `make docs`"


def test_the_page_begins_with_a_document_that_is_right(root: Path) -> None:
    found = re.search(r"```yaml\n(.*?)```", interface_markdown(), re.DOTALL)
    assert found
    example = interface_from(yaml.safe_load(found[1]))
    assert example == load_interface("pendulum")


def test_every_key_is_described() -> None:
    page = interface_markdown()
    for name in Interface.model_fields:
        assert f"| `{name}` |" in page
    assert "|  |\n" not in page, "a key without a meaning"


def test_the_command_prints_the_page_and_shows_a_document(prints: Callable[..., str]) -> None:
    assert prints("interface", "--markdown") == prints("interface") == interface_markdown()
    pytest.importorskip("rclpy")
    shown = prints("interface", "pendulum")
    for line in (
        "joint: vector of 3, from joint_states (sensor_msgs/msg/JointState)",
        "    velocity[hinge] [rad/s]",
        "    torque  -2   2     any         0     N m",
        "reward: quadratic; end: none",
    ):
        assert line in shown.splitlines()


def test_the_command_refuses_what_is_wrong(fails: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text("perod_s: 1\n")
    assert "perod_s: unknown name (did you mean period_s?)" in fails("interface", path)
    assert "--markdown" in fails("interface", path, "--markdown")
