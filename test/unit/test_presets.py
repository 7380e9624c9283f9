"""The files in ``config/``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from planet_ros.config import Settings, flatten, load_settings
from planet_ros.planning import KINDS

PRESETS = sorted((Path(__file__).resolve().parents[2] / "config").glob("*.yaml"))


def test_these_are_the_presets() -> None:
    pendulum = {"pendulum", "pendulum_notebook", "pendulum_no_velocity", "pendulum_pixels"}
    robots = {"robot_pendulum", "robot_base", "robot_arm"}
    assert {path.stem for path in PRESETS} == pendulum | robots | set(ACTION_REPEATS)


def written_in(path: Path) -> dict[str, Any]:
    """What a parameter file says, by dotted name."""
    (document,) = yaml.safe_load(path.read_text(encoding="utf-8")).values()
    return dict(flatten(document["ros__parameters"]))


OF_A_RUN = ("training.output", "training.resume", "training.command_period_s", "model")
"""What belongs to a run or to whoever starts it, and to no task."""

OF_THE_ENSEMBLE = ("members", "hidden_sizes", "activation", "target", "head")


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_loads_and_names_its_own_values_only(path: Path) -> None:
    """It says what the task is and how it is learned: not where, nor what acts or simulates."""
    written = written_in(path)
    loaded = dict(flatten(load_settings(path).model_dump()))
    assert loaded == {**dict(flatten(Settings().model_dump())), **written}
    of_others = [
        name for name in written if name in OF_A_RUN or name.startswith(("bridge.", "controller."))
    ]
    assert not of_others
    # Nor what the chosen kinds have no use for.
    settings = load_settings(path)
    model = {
        "ensemble": tuple(name for name in written if name.startswith("rssm.")),
        "rssm": tuple(f"world_model.{name}" for name in OF_THE_ENSEMBLE),
    }
    assert not set(model[settings.world_model.kind]) & set(written)
    planner = {name.partition(".")[2] for name in written if name.startswith("planner.")}
    own = {field.name for field in dataclasses.fields(KINDS[settings.planner.kind])}
    assert planner <= own | {"kind", "discount", "disagreement_penalty"}


ACTION_REPEATS = {
    "cartpole_swingup": 8,
    "reacher_easy": 4,
    "cheetah_run": 4,
    "finger_spin": 2,
    "cup_catch": 4,
    "walker_walk": 2,
}
"""PlaNet's six tasks, and how often an action is taken, from the paper's table 1."""


@pytest.mark.parametrize("name", ACTION_REPEATS)
def test_planets_six_tasks_are_of_dm_control_and_repeat_actions_as_in_the_paper(
    name: str, root: Path
) -> None:
    settings = load_settings(root / "config" / f"{name}.yaml")
    assert settings.env_id.startswith("dm_control/")
    assert settings.env_wrappers[0].endswith(f'{{"repeat": {ACTION_REPEATS[name]}}}')
    assert settings.rssm.image_network == "convolutional"


def test_planets_six_tasks_differ_in_the_environment_alone(root: Path) -> None:
    """A parameter file cannot include another, so that what they share stands in each of them."""
    task = ("env_id", "env_kwargs", "env_wrappers")
    files = {name: written_in(root / "config" / f"{name}.yaml") for name in ACTION_REPEATS}
    rest = {
        name: {key: value for key, value in written.items() if key not in task}
        for name, written in files.items()
    }
    first = rest["cartpole_swingup"]
    assert len(first) > 30
    for name, values in rest.items():
        assert values == first, name
    assert len({written["env_id"] for written in files.values()}) == len(files)
    for written in files.values():
        _, *wrappers = written["env_wrappers"]
        assert wrappers == ['planet_ros.wrappers:RenderedImage {"size": 64}']


def test_notebook_preset_has_the_hyper_parameters_of_the_notebook(root: Path) -> None:
    settings = load_settings(root / "config" / "pendulum_notebook.yaml")
    training, model, planner = settings.training, settings.world_model, settings.planner
    assert settings.env_id == "Pendulum-v1"
    assert settings.data.capacity_steps == 100_000  # BUFFER_CAPACITY_PLANET
    assert training.sequence_length == 50  # SEQUENCE_LENGTH
    assert training.loss_steps == 1  # "just predict based on the first step of each sequence"
    assert training.batch_size == 32  # MODEL_BATCH_SIZE
    assert training.updates == 100  # MODEL_TRAIN_STEPS
    assert training.learning_rate == 1e-3  # MODEL_LR
    assert training.weight_decay == 0  # torch.optim.Adam
    assert training.gradient_clip == 0  # commented out in the notebook
    assert training.random_steps == 1000  # INITIAL_RANDOM_STEPS
    assert training.update_every_steps == 100  # STEPS_PER_ITERATION_PLANET
    assert training.steps == 1000 + 50 * 100  # and NUM_ITERATIONS_PLANET
    assert model.hidden_sizes == [200, 200]  # HIDDEN_DIM_MODEL, fc1 and fc2
    assert model.activation == "relu"
    assert model.members == 1
    assert model.target == "state"
    assert model.head == "deterministic"
    assert not model.normalize
    assert not model.predict_continue
    assert planner.kind == "cem"
    assert planner.horizon == 12  # PLANNING_HORIZON
    assert planner.candidates == 1000  # CEM_CANDIDATES
    assert planner.elites == 100  # CEM_ELITES
    assert planner.iterations == 10  # CEM_ITERATIONS
    assert planner.discount == 0.99  # CEM_GAMMA
