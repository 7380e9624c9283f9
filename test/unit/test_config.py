"""The schema of settings: what it refuses, how it says so, and the files made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from planet_ros.config import (
    Settings,
    flatten,
    load_settings,
    nest,
    reference_markdown,
    save_settings,
    schema,
    settings_from,
)
from planet_ros.errors import UserError


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        settings_from(values)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("planner.horizn", "planner.horizon"),
        ("planer.horizon", "planner.horizon"),
        ("sed", "seed"),
        ("horizon", "planner.horizon"),
        ("training.members", "world_model.members"),
        ("bridg.safe_command", "bridge.safe_command"),
        ("controler.safe_command", "controller.safe_command"),
    ],
)
def test_unknown_setting_is_refused_with_the_closest_name(name: str, meant: str) -> None:
    assert f"{name}: unknown setting (did you mean {meant}?)" in refusal({name: 1})


def test_unknown_setting_that_resembles_nothing_is_refused_without_a_guess() -> None:
    message = refusal({"qqqqqq": 1})
    assert "qqqqqq: unknown setting" in message
    assert "did you mean" not in message


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("planner.horizon", "12", "an integer"),
        ("planner.horizon", 12.5, "an integer"),
        ("planner.horizon", True, "an integer"),
        ("planner.discount", "0.9", "a number"),
        ("planner.discount", None, "a number"),
        ("world_model.normalize", 1, "true or false"),
        ("world_model.normalize", "true", "true or false"),
        ("world_model.hidden_sizes", 64, "a list of int"),
        ("world_model.hidden_sizes", ["a"], "a list of int"),
        ("env_id", 3, "a string"),
    ],
)
def test_value_of_another_type_is_refused(name: str, value: Any, expected: str) -> None:
    message = refusal({name: value})
    assert f"{name}: found " in message
    assert f"expected {expected}" in message


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("planner.horizon", 0, "1 ≤ value ≤ 1000"),
        ("planner.horizon", 1001, "1 ≤ value ≤ 1000"),
        ("planner.discount", 0.0, "0 < value ≤ 1"),
        ("planner.momentum", 1.0, "0 ≤ value < 1"),
        ("training.learning_rate", float("nan"), "0 < value ≤ 1"),
        ("controller.rate_hz", float("inf"), "0 ≤ value ≤ 1000"),
        ("planner.kind", "mppi", "icem or cem"),
        ("seed", -1, "0 ≤ value"),
    ],
)
def test_value_out_of_bounds_is_refused_with_the_bounds(
    name: str, value: Any, allowed: str
) -> None:
    message = refusal({name: value})
    assert f"{name}: found {value!r}" in message
    assert allowed in message


def test_every_bound_of_the_schema_is_enforced() -> None:
    for setting in schema():
        for bound, direction in zip(setting.bounds, (-1, 1), strict=True):
            if bound is not None:
                outside = setting.type(bound + direction)
                assert f"{setting.name}: found {outside!r}" in refusal({setting.name: outside})


def test_integer_serves_as_number() -> None:
    settings = settings_from({"planner.discount": 1, "controller.safe_command": [1, 2]})
    assert settings.planner.discount == 1.0
    assert settings.controller.safe_command == [1.0, 2.0]


def test_more_elites_than_candidates_are_refused() -> None:
    message = refusal({"planner.elites": 41, "planner.candidates": 40})
    assert "planner.elites: found 41, expected at most planner.candidates = 40" in message


def test_loss_over_more_steps_than_a_sequence_has_is_refused() -> None:
    message = refusal({"training.loss_steps": 3, "training.sequence_length": 2})
    assert "training.loss_steps: found 3" in message
    assert "training.sequence_length = 2" in message


@pytest.mark.parametrize("sizes", [[], [0], [64] * 9, [5000]])
def test_impossible_layers_are_refused(sizes: list[int]) -> None:
    assert "world_model.hidden_sizes: found" in refusal({"world_model.hidden_sizes": sizes})


@pytest.mark.parametrize("text", ["{", "[]", "3", ""])
def test_environment_arguments_that_are_no_json_object_are_refused(text: str) -> None:
    message = refusal({"env_kwargs": text})
    assert "env_kwargs: found" in message
    assert "JSON object" in message


@pytest.mark.parametrize("setting", ["env_action_names", "env_observation_names"])
@pytest.mark.parametrize("names", [[""], ["torque [N m]", " "], ["x" * 101]])
def test_names_that_say_nothing_or_too_much_are_refused(setting: str, names: list[str]) -> None:
    message = refusal({setting: names})
    assert f"{setting}: found {names!r}, expected names of 1 to 100 characters" in message


@pytest.mark.parametrize("folders", [[""], ["/models", " "]])
def test_an_empty_name_allows_no_folder(folders: list[str]) -> None:
    """It would be the working directory, whatever that is."""
    message = refusal({"controller.model_folders": folders})
    assert f"controller.model_folders: found {folders!r}, expected folders such as" in message


def test_names_and_units_of_an_interface_are_settings() -> None:
    names = ["angular velocity [rad/s]", "x" * 100]
    settings = settings_from({"env_observation_names": names, "env_action_names": ["torque [N m]"]})
    assert settings.env_observation_names == names
    assert settings.env_action_names == ["torque [N m]"]
    assert Settings().env_observation_names == Settings().env_action_names == []


def test_all_problems_of_a_file_are_reported_at_once() -> None:
    message = refusal({"planner.horizon": 0, "planner.discount": 2.0})
    assert "planner.horizon" in message
    assert "planner.discount" in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: [1", "is not YAML"),
        (b"\xff\xfe\x00\xd8", "is not YAML"),
        (b"", "found NoneType"),
        (b"- 1\n", "found list"),
        (b"planner:\n  horizon: 3\n", "ros__parameters"),
        (b"/**:\n  ros__parameters: 3\n", "found 3"),
        (b"/**:\n  ros__parameters:\n    planner: {horizn: 3}\n", "did you mean planner.horizon"),
        (b"/**:\n  ros__parameters:\n    planner: {horizon: 0}\n", "1 ≤ value"),
    ],
)
def test_wrong_parameter_file_is_refused_with_its_path(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_settings(path)
    assert str(caught.value).startswith(str(path))
    assert reason in str(caught.value)


def test_missing_parameter_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: cannot be read: No such file"):
        load_settings(tmp_path / "none.yaml")


def test_parameters_that_ros_declares_itself_are_left_to_the_nodes(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("/**:\n  ros__parameters:\n    use_sim_time: true\n    seed: 5\n")
    assert load_settings(path) == Settings(seed=5)


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    save_settings(settings_from({"seed": 5, "planner.horizon": 7}), path)
    settings = load_settings(path, {"planner.horizon": 9})
    assert (settings.seed, settings.planner.horizon) == (5, 9)


def test_settings_cannot_change_after_they_were_checked() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().planner.horizon = 0  # type: ignore[misc]


SAMPLES = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**31 - 1),
        "env_id": st.text(
            st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=20
        ),
        "env_modules": st.lists(st.sampled_from(["a", "true", "1", "a.b", "~", "- x"])),
        "training.learning_rate": st.floats(1e-12, 1),
        "world_model.hidden_sizes": st.lists(st.integers(1, 4096), min_size=1, max_size=8),
        "world_model.normalize": st.booleans(),
        "planner.kind": st.sampled_from(["icem", "cem"]),
        "controller.safe_command": st.lists(st.floats(-1e9, 1e9)),
    },
)


@given(values=SAMPLES)
@hypothesis_settings(max_examples=40, deadline=None)
def test_settings_survive_being_saved_and_loaded(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    settings = settings_from(values)
    path = tmp_path_factory.mktemp("settings") / "settings.yaml"
    save_settings(settings, path)
    assert load_settings(path) == settings


def test_schema_has_every_setting_once_with_its_default() -> None:
    names = [setting.name for setting in schema()]
    assert len(names) == len(set(names))
    defaults = {setting.name: setting.default for setting in schema()}
    assert defaults == dict(flatten(Settings().model_dump()))
    assert all(setting.description for setting in schema())


def test_nest_undoes_flatten() -> None:
    values = Settings().model_dump()
    assert nest(dict(flatten(values))) == values


def test_reference_page_is_up_to_date(root: Path) -> None:
    page = (root / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == reference_markdown(), (
        "docs/configuration.md differs from the schema: run `make docs`"
    )


def test_reference_page_has_a_row_for_every_setting() -> None:
    page = reference_markdown()
    for setting in schema():
        assert page.count(f"| `{setting.name}` |") == 1
