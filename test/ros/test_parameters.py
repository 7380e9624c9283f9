"""Parameters of a node: what the schema says of a setting is what ROS knows of it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node
from rclpy.parameter import Parameter

from planet_ros.config import (
    NODES,
    BridgeNodeSettings,
    ControllerNodeSettings,
    Setting,
    Settings,
    schema,
    settings_from,
)
from planet_ros.errors import UserError
from planet_ros.ros.parameters import NodeSettings

pytestmark = pytest.mark.ros

PRESETS = sorted((Path(__file__).resolve().parents[2] / "config").glob("*.yaml"))
SCHEMA = {setting.name: setting for setting in schema()}


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    """A context of this module's own, in a domain that other test processes do not use."""
    context = rclpy.Context()
    domain = int(os.environ.get("ROS_DOMAIN_ID", 1 + os.getpid() % 100))
    rclpy.init(args=[], context=context, domain_id=domain)
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def make_node(context: Any) -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def make(**overrides: Any) -> Node:
        """A node as if a file gave it these values, with ``__`` for the dot."""
        node = Node(
            "controller",
            context=context,
            parameter_overrides=[
                Parameter(name.replace("__", "."), value=value) for name, value in overrides.items()
            ],
            start_parameter_services=False,
            enable_rosout=False,
        )
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.destroy_node()


def set_to(node: Node, name: str, value: Any) -> Any:
    (result,) = node.set_parameters([Parameter(name, value=value)])
    return result


# ── declaration ──────────────────────────────────────────────────────────────────────────────


def test_every_setting_is_declared_with_its_default_and_description(
    make_node: Callable[..., Node],
) -> None:
    node = make_node()
    assert NodeSettings(node, Settings).read() == Settings()
    for name, setting in SCHEMA.items():
        value = node.get_parameter(name).value
        assert (list(value) if isinstance(setting.default, list) else value) == setting.default
        descriptor = node.describe_parameter(name)
        assert descriptor.description.startswith(setting.description)
        assert setting.range_text in descriptor.description


def bounds_in(descriptor: ParameterDescriptor, setting: Setting) -> tuple[float, float] | None:
    ranges = descriptor.floating_point_range if setting.type is float else descriptor.integer_range
    return (ranges[0].from_value, ranges[0].to_value) if ranges else None


def test_every_bound_of_the_schema_is_a_range_of_the_parameter(
    make_node: Callable[..., Node],
) -> None:
    node = make_node()
    NodeSettings(node, Settings)
    bounded = 0
    for name, setting in SCHEMA.items():
        found = bounds_in(node.describe_parameter(name), setting)
        low, high = setting.bounds
        if low is None and high is None:
            assert found is None
            continue
        bounded += 1
        assert found is not None
        assert low is None or found[0] == low
        assert high is None or found[1] == high
    assert bounded > 20


@pytest.mark.parametrize("name", NODES)
def test_a_node_declares_its_own_settings_and_no_others(
    make_node: Callable[..., Node], name: str
) -> None:
    node = make_node()
    NodeSettings(node, NODES[name])
    declared = {setting for setting in SCHEMA if node.has_parameter(setting)}
    assert declared == {setting.name for setting in schema(NODES[name])}


def test_a_part_of_a_section_is_declared_without_the_rest(make_node: Callable[..., Node]) -> None:
    node = make_node()
    NodeSettings(node, BridgeNodeSettings)
    training = {name for name in SCHEMA if name.startswith("training.")}
    assert {name for name in training if node.has_parameter(name)} == {
        "training.episode_steps",
        "training.update_every_steps",
    }


# ── values from a file ───────────────────────────────────────────────────────────────────────


def test_values_from_a_file_are_read(make_node: Callable[..., Node]) -> None:
    node = make_node(
        seed=7,
        controller__trigger="observation",
        controller__stale_timeout_s=1.5,
        controller__safe_command=[0.5, -1.0],
    )
    settings = NodeSettings(node, ControllerNodeSettings)
    assert settings.read() == settings_from(
        {
            "seed": 7,
            "controller.trigger": "observation",
            "controller.stale_timeout_s": 1.5,
            "controller.safe_command": [0.5, -1.0],
        },
        schema=ControllerNodeSettings,
    )
    assert set(settings.given) == {
        "seed",
        "controller.trigger",
        "controller.stale_timeout_s",
        "controller.safe_command",
    }


def test_integer_serves_as_a_number(make_node: Callable[..., Node]) -> None:
    node = make_node(controller__rate_hz=50, controller__safe_command=[1, 2])
    settings = NodeSettings(node, ControllerNodeSettings)
    controller = settings.read().controller
    assert (controller.rate_hz, controller.safe_command) == (50.0, [1.0, 2.0])
    assert set_to(node, "controller.rate_hz", 20).successful
    assert settings.read().controller.rate_hz == 20.0
    assert isinstance(settings.read().controller.rate_hz, float)


def test_settings_of_other_nodes_are_kept_apart_and_named_in_one_line(
    make_node: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(
        RcutilsLogger, "info", lambda self, message, **kwargs: lines.append(message)
    )
    node = make_node(
        planner__horizon=3,
        planner__candidates=4,
        training__updates=7,
        training__exploration_noise=0.5,
        env_id="Pendulum-v1",
        use_sim_time=True,
        seed=1,
    )
    settings = NodeSettings(node, ControllerNodeSettings)
    assert settings.given == {"seed": 1, "training.exploration_noise": 0.5}
    assert settings.unused == {
        "planner.horizon": 3,
        "planner.candidates": 4,
        "training.updates": 7,
        "env_id": "Pendulum-v1",
    }
    assert settings.read() == settings_from(settings.given, schema=ControllerNodeSettings)
    assert lines == ["given, but not used by this node: env_id, planner.*, training.updates"]


def test_nothing_is_said_where_everything_is_used(
    make_node: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(
        RcutilsLogger, "info", lambda self, message, **kwargs: lines.append(message)
    )
    settings = NodeSettings(make_node(seed=1, use_sim_time=True), ControllerNodeSettings)
    assert settings.unused == {}
    assert lines == []


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("controller__stale_timeout", "controller.stale_timeout_s"),
        ("planner__horizont", "planner.horizon"),
        ("controler__rate_hz", "controller.rate_hz"),
        ("sed", "seed"),
    ],
)
def test_unknown_name_is_refused_with_the_closest_one(
    make_node: Callable[..., Node], wrong: str, right: str
) -> None:
    with pytest.raises(UserError) as caught:
        NodeSettings(make_node(**{wrong: 1.0}), ControllerNodeSettings)
    name = wrong.replace("__", ".")
    assert f"{name}: unknown setting (did you mean {right}?)" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["rate_hz", "safe_command", "horizn", "planner.speed", "planet_ros.controller.rate_hz"],
)
def test_what_may_be_ours_in_the_wrong_place_is_refused(
    make_node: Callable[..., Node], name: str
) -> None:
    with pytest.raises(UserError, match="unknown setting"):
        NodeSettings(make_node(**{name.replace(".", "__"): 1.0}), ControllerNodeSettings)


def test_names_of_other_packages_are_passed_over_with_a_warning(
    make_node: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(
        RcutilsLogger, "warning", lambda self, message, **kwargs: lines.append(message)
    )
    monkeypatch.setattr(
        RcutilsLogger, "warn", lambda self, message, **kwargs: lines.append(message)
    )
    node = make_node(
        robot_description="<robot/>" * 1000,
        controller_manager__update_rate=100,
        FollowPath__max_speed=1.0,
        seed=3,
    )
    settings = NodeSettings(node, ControllerNodeSettings)
    assert settings.read().seed == 3
    assert settings.unused == {}
    (line,) = lines
    for name in ("robot_description", "controller_manager.update_rate", "FollowPath.max_speed"):
        assert name in line
    assert "<robot/>" not in line


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("controller.rate_hz", 1001.0, "0 ≤ value ≤ 1000"),
        ("controller.rate_hz", -1, "0 ≤ value ≤ 1000"),
        ("controller.stale_timeout_s", 0.0, "0 < value ≤ 3600"),
        ("controller.stale_timeout_s", math.nan, "0 < value ≤ 3600"),
        ("controller.max_missed", 2.0, "an integer"),
        ("controller.max_missed", True, "an integer"),
        ("controller.rate_hz", "50", "a number"),
        ("controller.trigger", "often", "timer or observation"),
        ("controller.safe_command", ["a"], "a list of float"),
        ("controller.safe_command", 0.5, "a list of float"),
        ("env_modules", "envs", "a list of str"),
    ],
)
def test_wrong_value_in_a_file_is_refused_with_what_was_expected(
    make_node: Callable[..., Node], name: str, value: Any, reason: str
) -> None:
    with pytest.raises(UserError) as caught:
        NodeSettings(make_node(**{name: value}), Settings)
    assert name in str(caught.value)
    assert reason in str(caught.value)


def test_all_wrong_values_are_named_at_once(make_node: Callable[..., Node]) -> None:
    node = make_node(controller__rate_hz=-1.0, controller__max_missed=-1)
    with pytest.raises(UserError, match=r"controller\.rate_hz.*controller\.max_missed"):
        NodeSettings(node, ControllerNodeSettings)


# ── empty lists ──────────────────────────────────────────────────────────────────────────────


def test_empty_list_can_be_filled_and_emptied_again(make_node: Callable[..., Node]) -> None:
    node = make_node()
    settings = NodeSettings(node, Settings)
    assert settings.read().controller.safe_command == []
    assert settings.read().env_modules == []
    assert set_to(node, "controller.safe_command", [0.5]).successful
    assert settings.read().controller.safe_command == [0.5]
    assert set_to(node, "controller.safe_command", []).successful
    assert settings.read().controller.safe_command == []
    assert set_to(node, "env_modules", ["one", "two"]).successful
    assert settings.read().env_modules == ["one", "two"]


def test_empty_list_in_a_file_is_an_empty_list(make_node: Callable[..., Node]) -> None:
    node = make_node(controller__safe_command=[], env_modules=[])
    settings = NodeSettings(node, Settings)
    assert settings.read() == Settings()


@pytest.mark.parametrize("given", [{}, {"controller__safe_command": [], "env_modules": []}])
def test_an_empty_list_has_the_type_of_its_list(
    make_node: Callable[..., Node], given: dict[str, Any]
) -> None:
    node = make_node(**given)
    NodeSettings(node, Settings)
    types = {
        name: node.get_parameter(name).type_
        for name, setting in SCHEMA.items()
        if isinstance(setting.default, list)
    }
    assert types["controller.safe_command"] is Parameter.Type.DOUBLE_ARRAY
    assert types["env_modules"] is Parameter.Type.STRING_ARRAY
    assert types["world_model.hidden_sizes"] is Parameter.Type.INTEGER_ARRAY
    assert Parameter.Type.BYTE_ARRAY not in types.values()
    # As `ros2 param set` sends an empty list, and as it comes back.
    bools = Parameter("controller.safe_command", Parameter.Type.BOOL_ARRAY, [])
    assert node.set_parameters([bools])[0].successful
    assert node.get_parameter("controller.safe_command").type_ is Parameter.Type.DOUBLE_ARRAY


def test_an_integer_for_a_number_becomes_one(make_node: Callable[..., Node]) -> None:
    node = make_node(controller__rate_hz=50)
    NodeSettings(node, ControllerNodeSettings)
    assert node.get_parameter("controller.rate_hz").type_ is Parameter.Type.DOUBLE
    assert set_to(node, "controller.rate_hz", 20).successful
    assert node.get_parameter("controller.rate_hz").type_ is Parameter.Type.DOUBLE


# ── changes while the node runs ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "value", "bounds"),
    [
        ("controller.stale_timeout_s", -1.0, ("0", "3600")),
        ("controller.stale_timeout_s", 0.0, ("0 <", "3600")),  # the bound itself is excluded
        ("controller.stale_timeout_s", -1, ("0", "3600")),  # an integer for a number
        ("controller.rate_hz", 1000.5, ("0", "1000")),
        ("controller.rate_hz", math.nan, ("0", "1000")),
        ("controller.rate_hz", math.inf, ("0", "1000")),
        ("controller.max_missed", 1001, ("0", "1000")),
        ("controller.max_missed", -1, ("0", "1000")),
        ("controller.max_missed", 1.0, ("an integer",)),
        ("controller.trigger", "often", ("timer or observation",)),
        ("controller.safe_command", ["a"], ("a list of float",)),
        ("controller.safe_command", [math.nan], ("a list of float",)),
        ("planner.elites", 41, ("planner.candidates = 40",)),  # a rule between two settings
    ],
)
def test_wrong_value_is_refused_with_its_bound_and_the_old_one_stays(
    make_node: Callable[..., Node], name: str, value: Any, bounds: tuple[str, ...]
) -> None:
    node = make_node(controller__rate_hz=30.0)
    settings = NodeSettings(node, Settings)
    before = settings.read()
    result = set_to(node, name, value)
    assert not result.successful
    assert name in result.reason
    for bound in bounds:
        assert bound in result.reason
    assert settings.read() == before


def test_number_for_a_list_is_refused_and_the_old_one_stays(
    make_node: Callable[..., Node],
) -> None:
    node = make_node()
    settings = NodeSettings(node, ControllerNodeSettings)
    assert not set_to(node, "controller.safe_command", 0.5).successful
    assert settings.read() == ControllerNodeSettings()


@pytest.mark.parametrize(
    "name",
    ["seed", "controller.safe_command"],
)
def test_setting_cannot_be_deleted(make_node: Callable[..., Node], name: str) -> None:
    node = make_node()
    settings = NodeSettings(node, ControllerNodeSettings)
    assert not set_to(node, name, None).successful
    assert settings.read() == ControllerNodeSettings()


def test_values_set_together_are_judged_together(make_node: Callable[..., Node]) -> None:
    node = make_node()
    settings = NodeSettings(node, Settings)
    both = [Parameter("planner.elites", value=50), Parameter("planner.candidates", value=60)]
    assert node.set_parameters_atomically(both).successful
    assert (settings.read().planner.elites, settings.read().planner.candidates) == (50, 60)
    wrong = [Parameter("planner.elites", value=10), Parameter("planner.horizon", value=0)]
    assert not node.set_parameters_atomically(wrong).successful
    assert settings.read().planner.elites == 50


def test_bound_itself_is_accepted(make_node: Callable[..., Node]) -> None:
    node = make_node(controller__rate_hz=30.0)
    settings = NodeSettings(node, ControllerNodeSettings)
    assert set_to(node, "controller.rate_hz", 0.0).successful
    assert set_to(node, "seed", 2**31 - 1).successful
    assert (settings.read().controller.rate_hz, settings.read().seed) == (0.0, 2**31 - 1)


def test_what_cannot_change_is_read_only(make_node: Callable[..., Node]) -> None:
    node = make_node(env_modules=[], seed=3)
    settings = NodeSettings(node, BridgeNodeSettings, changeable=("bridge.real_time_factor",))
    for setting in schema(BridgeNodeSettings):
        read_only = node.describe_parameter(setting.name).read_only
        assert read_only == (setting.name != "bridge.real_time_factor")
    result = set_to(node, "env_id", "Other-v0")
    assert not result.successful
    assert "read-only" in result.reason
    assert set_to(node, "bridge.real_time_factor", 2).successful
    assert settings.read().bridge.real_time_factor == 2.0
    assert settings.read().seed == 3


def test_a_change_that_waits_is_said_to(
    make_node: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(
        RcutilsLogger, "info", lambda self, message, **kwargs: lines.append(message)
    )
    node = make_node()
    NodeSettings(node, ControllerNodeSettings, effect="at the next configure")
    assert lines == []
    assert not set_to(node, "controller.rate_hz", -3.0).successful
    assert lines == []
    assert set_to(node, "controller.rate_hz", 30.0).successful
    assert lines == ["controller.rate_hz: taken up at the next configure"]
