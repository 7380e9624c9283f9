"""Parameter files: presets, what a run and `ros2 param dump` write, and words as ROS reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from rclpy.node import Node
from words import WORDS

from planet_ros.config import (
    NODES,
    AnySection,
    Settings,
    TrainerNodeSettings,
    flatten,
    load_settings,
    narrowed,
    nest,
    save_settings,
    settings_from,
)
from planet_ros.ros.parameters import NodeSettings
from planet_ros.supervision.processes import command_line

pytestmark = pytest.mark.ros

PRESETS = sorted((Path(__file__).resolve().parents[2] / "config").glob("*.yaml"))


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    """A context of this module's own, in a domain that other test processes do not use."""
    context = rclpy.Context()
    domain = int(os.environ.get("ROS_DOMAIN_ID", 1 + os.getpid() % 100))
    rclpy.init(args=[], context=context, domain_id=domain)
    yield context
    rclpy.shutdown(context=context)


def read_from(
    path: Path, context: Any, name: str, section: type[AnySection]
) -> tuple[AnySection, dict[str, Any]]:
    """What a node of this name reads in a parameter file, and what it does not use of it."""
    node = Node(
        name,
        context=context,
        cli_args=["--ros-args", "--params-file", str(path)],
        use_global_arguments=False,
        start_parameter_services=False,
        enable_rosout=False,
    )
    try:
        settings = NodeSettings(node, section)
        return settings.read(), settings.unused
    finally:
        node.destroy_node()


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_node_reads_of_a_preset_all_that_the_command_line_reads(
    context: Any, path: Path, name: str
) -> None:
    read, unused = read_from(path, context, name, NODES[name])
    expected = load_settings(path, schema=NODES[name])
    assert type(read) is NODES[name]
    assert dict(flatten(read.model_dump())) == dict(flatten(expected.model_dump()))

    # The file itself has the last word: both could lose the same.
    (document,) = yaml.safe_load(path.read_text(encoding="utf-8")).values()
    written = dict(flatten(document["ros__parameters"]))
    assert written
    values = dict(flatten(read.model_dump()))
    assert {**unused, **{key: values[key] for key in written if key in values}} == written


def test_the_trainer_reads_the_settings_of_the_recurrent_model(context: Any) -> None:
    (path,) = [path for path in PRESETS if path.stem == "pendulum_pixels"]
    read, _ = read_from(path, context, "trainer", TrainerNodeSettings)
    assert read.rssm.kl_weight == 1.0
    assert Settings().rssm.kl_weight != 1.0


@pytest.mark.parametrize("name", NODES)
def test_a_node_reads_a_runs_settings(context: Any, tmp_path: Path, name: str) -> None:
    settings = settings_from(
        {"env_action_names": ["x", "y"], "training.learning_rate": 1e-05, "seed": 4}
    )
    save_settings(settings, tmp_path / "settings.yaml")
    read, _ = read_from(tmp_path / "settings.yaml", context, name, NODES[name])
    assert read == narrowed(settings, NODES[name])


def dumped(node: Node) -> str:
    """What `ros2 param dump` writes of a node."""
    parameters: dict[str, Any] = node.get_parameters_by_prefix("")
    values = {name: one.value for name, one in parameters.items()}
    plain = {
        name: list(value) if hasattr(value, "typecode") else value for name, value in values.items()
    }
    name = node.get_fully_qualified_name()
    return yaml.dump({name: {"ros__parameters": nest(plain)}}, default_flow_style=False)


@pytest.mark.parametrize("name", NODES)
def test_a_node_reads_its_own_dump_and_so_does_the_command_line(
    context: Any, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("/**:\n  ros__parameters: {seed: 4, controller: {rate_hz: 50}}\n")
    node = Node(
        name,
        context=context,
        cli_args=["--ros-args", "--params-file", str(file)],
        start_parameter_services=False,
        enable_rosout=False,
    )
    try:
        expected = NodeSettings(node, NODES[name]).read()
        text = dumped(node)
    finally:
        node.destroy_node()
    assert "!!" not in text  # such as bytes
    (tmp_path / "dump.yaml").write_text(text)
    read, unused = read_from(tmp_path / "dump.yaml", context, name, NODES[name])
    assert (read, unused) == (expected, {})
    assert load_settings(tmp_path / "dump.yaml", schema=NODES[name]) == expected


@pytest.mark.parametrize("text", [*WORDS])
def test_the_command_line_reads_a_word_as_ros_does(context: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"/**:\n  ros__parameters:\n    a: {text}\n")
    node = Node(
        "reader",
        context=context,
        cli_args=["--ros-args", "--params-file", str(path)],
        use_global_arguments=False,
        start_parameter_services=False,
        enable_rosout=False,
    )
    try:
        value = node._parameter_overrides["a"].value
    finally:
        node.destroy_node()
    assert (type(value), value) == (type(WORDS[text]), WORDS[text])


def test_empty_list_that_a_node_is_started_with_is_an_empty_list(
    context: Any, tmp_path: Path
) -> None:
    """Without a type, ROS gives no value at all; it overrides what the file says."""
    file = tmp_path / "a.yaml"
    file.write_text("/**:\n  ros__parameters:\n    env_modules: [a_module]\n    env_wrappers: []\n")
    _, _, _, *arguments = command_line("trainer", {"env_modules": []}, file)
    node = Node(
        "trainer",
        context=context,
        cli_args=arguments,
        start_parameter_services=False,
        enable_rosout=False,
    )
    try:
        assert NodeSettings(node, Settings).read() == Settings()
    finally:
        node.destroy_node()
