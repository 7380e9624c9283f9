"""Which program reads which settings, and what a planner makes of its own."""

# A line below that must be an error of types is marked as one; mypy then says if it is none.
# mypy: warn-unused-ignores

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from planet_ros.config import (
    NODES,
    BridgeNodeSettings,
    ControllerNodeSettings,
    LearnerSettings,
    OfflineSettings,
    PlannerSettings,
    RobotNodeSettings,
    Section,
    Settings,
    TrainerNodeSettings,
    load_settings,
    save_settings,
    schema,
    settings_from,
    users,
)
from planet_ros.errors import UserError
from planet_ros.planning import KINDS, CemSettings, IcemSettings


def names_in(section: type[Section]) -> set[str]:
    return {setting.name for setting in schema(section)}


def test_every_setting_is_read_by_a_node_or_is_of_no_node_and_no_node_has_others() -> None:
    read = set().union(*(names_in(section) for section in NODES.values()))
    offline = {f"offline.{name}" for name in OfflineSettings.model_fields}  # of planet-ros train
    assert read | offline == names_in(Settings) and not read & offline
    whole = {setting.name: setting for setting in schema()}
    for section in NODES.values():
        for setting in schema(section):
            assert setting == whole[setting.name]  # defined once


def test_each_node_reads_the_sections_that_it_needs() -> None:
    assert names_in(TrainerNodeSettings) == {
        name
        for name in names_in(Settings)
        if not name.startswith(("bridge.", "controller.", "offline.", "robot.")) and name != "model"
    }
    assert names_in(ControllerNodeSettings) == {
        "seed",
        "model",
        "interface",
        "training.exploration_noise",
        *(name for name in names_in(Settings) if name.startswith("controller.")),
    }
    assert names_in(BridgeNodeSettings) == {
        "seed",
        "training.episode_steps",
        "training.update_every_steps",
        *(name for name in names_in(Settings) if name.startswith(("env_", "bridge."))),
    }
    assert names_in(RobotNodeSettings) == {
        "seed",
        *(name for name in names_in(Settings) if name.startswith("robot.")),
    }
    assert users("planner.horizon") == ["trainer"]
    assert users("training.exploration_noise") == ["controller", "trainer"]
    assert users("planner.horizont") == []


def test_what_a_node_did_not_declare_cannot_be_read() -> None:
    with pytest.raises(AttributeError):
        _ = ControllerNodeSettings().planner  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        _ = ControllerNodeSettings().training.updates  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        _ = BridgeNodeSettings().rssm  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        _ = BridgeNodeSettings().training.exploration_noise  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        _ = TrainerNodeSettings().controller  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        _ = settings_from({}, schema=BridgeNodeSettings).planner  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        _ = load_settings(None, schema=LearnerSettings).bridge  # type: ignore[attr-defined]


def test_a_bridge_and_a_learner_pause_at_the_same_steps() -> None:
    values = {"training.update_every_steps": 4}
    bridge = settings_from(values, schema=BridgeNodeSettings).training
    learner = settings_from(values, schema=LearnerSettings).training
    for schedule in (bridge, learner):
        pauses = [steps for steps in range(3, 20, 3) if schedule.pauses_at(steps, 3, False)]
        assert pauses == [6, 9, 12, 18]
        assert not schedule.pauses_at(3, 3, episode_ended=True)
    assert BridgeNodeSettings().training.pauses_at(3, 3, episode_ended=True)
    assert not BridgeNodeSettings().training.pauses_at(3, 3, episode_ended=False)


def test_a_file_for_all_gives_each_program_its_part(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    values = {"seed": 5, "planner.horizon": 7, "controller.rate_hz": 30.0, "rssm.kl_weight": 2.0}
    save_settings(settings_from(values), path)
    learner = load_settings(path, {"planner.horizon": 9}, schema=LearnerSettings)
    assert type(learner) is LearnerSettings
    assert (learner.seed, learner.planner.horizon, learner.rssm.kl_weight) == (5, 9, 2.0)
    controller = load_settings(path, schema=ControllerNodeSettings)
    assert (controller.seed, controller.controller.rate_hz) == (5, 30.0)


def test_what_a_file_says_for_others_is_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("/**:\n  ros__parameters:\n    planner: {horizon: 0}\n")
    with pytest.raises(UserError, match=r"planner\.horizon: found 0"):
        load_settings(path, schema=ControllerNodeSettings)


def test_an_override_for_another_program_is_refused() -> None:
    with pytest.raises(UserError, match=r"controller\.rate_hz: not used here, but by controller"):
        load_settings(None, {"controller.rate_hz": 3.0}, schema=LearnerSettings)
    with pytest.raises(UserError, match=r"planner\.horizon: not used here, but by trainer"):
        settings_from({"planner.horizon": 3}, schema=BridgeNodeSettings)
    with pytest.raises(UserError, match=r"did you mean planner\.horizon"):
        load_settings(None, {"planner.horizn": 3}, schema=BridgeNodeSettings)


def test_a_learners_settings_survive_being_saved_and_loaded(tmp_path: Path) -> None:
    settings = settings_from(
        {"rssm.kl_weight": 2.0, "training.resume": True}, schema=LearnerSettings
    )
    path = tmp_path / "settings.yaml"
    save_settings(settings, path)
    loaded = load_settings(path, schema=LearnerSettings)
    assert loaded.rssm.kl_weight == 2.0
    assert not loaded.training.resume  # said anew each time
    again = loaded.training.model_copy(update={"resume": True})
    assert loaded.model_copy(update={"training": again}) == settings


# The planner's own settings


def test_defaults_of_the_planner_are_its_own() -> None:
    assert PlannerSettings().own() == IcemSettings()


@pytest.mark.parametrize("kind", KINDS)
def test_each_planner_gets_its_own_settings_and_no_others(kind: str) -> None:
    values = {
        "horizon": 7,
        "candidates": 50,
        "elites": 11,
        "iterations": 2,
        "noise_beta": 0.5,
        "population_decay": 2.0,
        "keep_elites_fraction": 0.7,
        "momentum": 0.3,
        "initial_std": 0.9,
        "execute": "mean",
    }
    settings = settings_from({f"planner.{name}": value for name, value in values.items()})
    own = settings.planner.model_copy(update={"kind": kind}).own()
    assert type(own) is KINDS[kind]
    fields = [field.name for field in dataclasses.fields(own)]
    assert {name: getattr(own, name) for name in fields} == {name: values[name] for name in fields}


def test_the_choices_of_a_planner_are_the_planners_that_there_are() -> None:
    (kind,) = [setting for setting in schema() if setting.name == "planner.kind"]
    assert set(kind.choices) == set(KINDS)
    names = {field.name for made in KINDS.values() for field in dataclasses.fields(made)}
    assert names <= set(PlannerSettings.model_fields)
    assert set(PlannerSettings.model_fields) - names == {
        "kind",
        "discount",
        "disagreement_penalty",
    }


@pytest.mark.parametrize(
    ("candidates", "elites"), [(2, 1), (4, 1), (7, 1), (8, 2), (24, 5), (40, 8), (1000, 200)]
)
def test_elites_are_a_fifth_of_the_candidates_unless_said_otherwise(
    candidates: int, elites: int
) -> None:
    planner = settings_from({"planner.candidates": candidates}).planner
    assert planner.own().elites == elites
    cem = settings_from({"planner.candidates": candidates, "planner.kind": "cem"}).planner.own()
    assert cem == CemSettings(horizon=20, candidates=candidates, elites=elites, iterations=3)
    assert settings_from({"planner.elites": 2, "planner.candidates": 9}).planner.own().elites == 2
