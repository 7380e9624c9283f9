"""Parameter files are read as ROS reads them, and written so that all readers agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from words import WORDS

from planet_ros.config import Settings, load_settings, save_settings, settings_from
from planet_ros.config.files import refuse_repetitions
from planet_ros.config.ros_yaml import dump_yaml, load_yaml
from planet_ros.errors import UserError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", WORDS)
def test_a_word_is_what_it_is_to_ros(text: str) -> None:
    found = load_yaml(f"a: {text}\n")["a"]
    assert (type(found), found) == (type(WORDS[text]), WORDS[text])


def test_a_number_with_an_exponent_is_a_number_on_the_command_line_too(tmp_path: Path) -> None:
    path = written(tmp_path, "/**:\n  ros__parameters:\n    training: {learning_rate: 1e-3}\n")
    assert load_settings(path).training.learning_rate == 0.001


def test_what_is_no_number_to_ros_is_refused_on_the_command_line_too(tmp_path: Path) -> None:
    path = written(tmp_path, "/**:\n  ros__parameters:\n    planner: {horizon: 1_0}\n")
    with pytest.raises(UserError, match=r"planner\.horizon: found '1_0', expected an integer"):
        load_settings(path)


TEXTS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20)
VALUES = st.one_of(
    TEXTS,
    st.sampled_from(list(WORDS)),
    st.floats(allow_nan=False),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.lists(st.sampled_from(["x", *WORDS])),
)


@given(value=VALUES)
@hypothesis_settings(max_examples=200, deadline=None)
def test_what_is_written_is_read_the_same_by_both_readers(value: Any) -> None:
    text = dump_yaml({"a": value})
    assert load_yaml(text) == {"a": value}
    assert yaml.safe_load(text) == {"a": value}


def test_names_that_are_truths_to_ros_survive_being_saved(tmp_path: Path) -> None:
    settings = settings_from({"env_action_names": ["x", "y"], "env_observation_names": ["no"]})
    save_settings(settings, tmp_path / "settings.yaml")
    assert load_settings(tmp_path / "settings.yaml") == settings
    assert "'y'" in (tmp_path / "settings.yaml").read_text()


REPEATED = {
    "a section": "/**:\n  ros__parameters:\n    planner: {horizon: 3}\n    planner: {elites: 2}\n",
    "a setting": "/**:\n  ros__parameters:\n    seed: 3\n    seed: 3\n",
    "a node": "/**:\n  ros__parameters: {seed: 3}\n/**:\n  ros__parameters: {model: a}\n",
    "a dotted name": (
        "/**:\n  ros__parameters:\n    planner: {horizon: 3}\n    planner.horizon: 4\n"
    ),
    "a node in two spellings": (
        "/trainer:\n  ros__parameters: {seed: 3}\ntrainer:\n  ros__parameters: {seed: 4}\n"
    ),
}


@pytest.mark.parametrize("what", REPEATED)
def test_what_is_given_twice_is_refused_for_nodes_and_command_line(
    tmp_path: Path, what: str
) -> None:
    path = written(tmp_path, REPEATED[what])
    for read in (load_settings, refuse_repetitions):
        with pytest.raises(UserError, match=r"settings\.yaml: .* given twice"):
            read(path)


def test_a_second_document_is_refused_for_nodes_and_command_line(tmp_path: Path) -> None:
    path = written(
        tmp_path, "/**:\n  ros__parameters: {seed: 3}\n---\n/**:\n  ros__parameters: {seed: 4}\n"
    )
    for read in (load_settings, refuse_repetitions):
        with pytest.raises(UserError, match="expected one document, found 2"):
            read(path)


ALIAS = "/**:\n  ros__parameters:\n    a: &a {b: *a}\n"
COMPLEX = "/**:\n  ros__parameters:\n    ? [a]\n    : 1\n"


@pytest.mark.parametrize(("text", "reason"), [(ALIAS, "no aliases"), (COMPLEX, "expected a name")])
def test_what_ros_does_not_know_is_a_reason(tmp_path: Path, text: str, reason: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError, match=reason):
        load_settings(path)
    refuse_repetitions(path)  # ROS refuses it


def test_what_occurs_twice_is_written_out() -> None:
    names = ["x"]
    assert dump_yaml({"a": names, "b": names}).count("- x") == 2


@pytest.mark.parametrize("name", ["y", "on", "1", "1.5", "~", "<<", "''"])
def test_a_name_is_a_text_whatever_it_looks_like(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, f"/**:\n  ros__parameters: {{seed: 3, {name}: 1}}\n")
    refuse_repetitions(path)
    text = name.strip("'")
    assert load_yaml(path.read_text())["/**"]["ros__parameters"] == {"seed": 3, text: 1}
    assert load_settings(path).seed == 3


@pytest.mark.parametrize("text", ["a: [1", "- 1\n", "/talker:\n  ros__parameters: {rate: 1}\n", ""])
def test_what_else_is_wrong_with_a_nodes_file_is_left_to_ros(tmp_path: Path, text: str) -> None:
    refuse_repetitions(written(tmp_path, text))


def test_a_more_specific_section_may_say_otherwise(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "/**:\n  ros__parameters: {seed: 3}\n/trainer:\n  ros__parameters: {seed: 4}\n",
    )
    refuse_repetitions(path)
    assert load_settings(path) == Settings(seed=4)


# ── files that are shared with other nodes ───────────────────────────────────────────────────


def test_other_nodes_sections_and_names_are_passed_over_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(
        tmp_path,
        "/**:\n  ros__parameters: {seed: 3, robot_description: <robot/>}\n"
        "/talker:\n  ros__parameters: {seed: 9, rate: 1.0}\n"
        "left:\n  trainer:\n    ros__parameters: {planner: {horizon: 4}}\n",
    )
    settings = load_settings(path)
    assert (settings.seed, settings.planner.horizon) == (3, 4)
    told = capsys.readouterr().err
    assert "robot_description" in told and "/talker" in told
    assert "left" not in told


@pytest.mark.parametrize("name", ["sed", "safe_command", "controler.rate_hz", "planner.x"])
def test_a_name_that_may_be_ours_is_refused(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, f"/**:\n  ros__parameters:\n    {name}: 1.0\n")
    with pytest.raises(UserError, match=f"{name}: unknown setting"):
        load_settings(path)
