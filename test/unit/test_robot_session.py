"""A run whose steps come from a robot: who acts, and when the model is fitted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plain_messages as plain
import pytest
from arrays import float32

from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import Settings
from planet_ros.data import Step
from planet_ros.errors import UserError
from planet_ros.interface.files import load_interface
from planet_ros.interface.signature import signature_of
from planet_ros.report.dreams import dream_of
from planet_ros.training.export import export_checkpoint
from planet_ros.training.loop import train
from planet_ros.training.session import Session
from planet_ros.training.tasks import task_of

MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_session(root: Path, tmp_path: Path, tiny_settings: MakeSettings) -> Callable[..., Session]:
    def make(robot: bool = True, **overrides: Any) -> Session:
        interface = load_interface(root / "config/interfaces/pendulum.yaml")
        values = {f"training.{name}": value for name, value in overrides.items()}
        return Session(
            tiny_settings(tmp_path / "run", values),
            signature_of(interface, plain.make),
            environment=None,
            interface=interface if robot else None,
            say=lambda line: None,
        )

    return make


def step(index: int) -> Step:
    seen = {"joint": float32([1, 0, index])}
    return Step(index, seen, float32([0.5]), -1.0, False, False)


@pytest.mark.parametrize(
    ("collect", "before", "after"),
    [("plan", True, False), ("random", True, True), ("listen", False, False)],
)
def test_who_acts(
    make_session: Callable[..., Session], collect: str, before: bool, after: bool
) -> None:
    session = make_session(collect=collect, random_steps=10, updates=2)
    assert session.explores == before
    for index in range(20):
        session.add(step(index))
    session.fit()
    assert session.explores == after
    for index in range(20, 121):
        session.add(step(index))
    assert session.finished
    assert not session.explores
    session.finish()
    episodes = [one for one in session.run.metrics() if one["kind"] == "episode"]
    assert [one["random"] for one in episodes] == [True]  # it began before there was a model


@pytest.mark.parametrize(("robot", "every", "fits"), [(True, 0, 1), (True, 7, 2), (False, 0, 0)])
def test_a_robots_model_is_fitted_at_cuts_unless_every_so_many_steps(
    make_session: Callable[..., Session], robot: bool, every: int, fits: int
) -> None:
    session = make_session(robot, random_steps=5, update_every_steps=every)
    due = [session.add(step(index)) for index in [*range(9), *range(7)]]
    assert sum(due) == fits
    assert due[9] == (robot and every == 0)


def test_a_robots_run_is_opened_again_from_its_folder_alone(
    root: Path, tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    """Its document may be gone, and what it knows of the reward is what the weights go with."""
    interface, run = load_interface(root / "config/interfaces/pendulum.yaml"), tmp_path / "run"
    signature = signature_of(interface, plain.make)
    session = Session(
        tiny_settings(run, {"training.random_steps": 20, "training.updates": 2}),
        signature,
        environment=None,
        interface=interface,
        task=task_of(interface, signature, plain.make),
        say=lambda line: None,
    )
    for index in range(30):
        session.add(step(index))
    session.fit()
    session.finish()
    session.close()
    learned = load_bundle(session.run.bundle)
    copy = export_checkpoint(run, tmp_path / "model", {"planner.horizon": 7}, plain.make)
    assert copy.manifest.interface == interface == learned.manifest.interface
    assert (copy.manifest.horizon, learned.manifest.horizon) == (7, 4)
    assert copy.manifest.environment is None
    seen, action = {"joint": float32([1, 0, 3])}, float32([0.5])
    plans = np.zeros((1, 4, 1), np.float32)
    rewards = []
    for bundle, horizon in ((learned, 4), (copy, 7)):
        belief = bundle.model.observe(bundle.model.initial_belief(), action, seen)
        ahead = np.resize(plans, (1, horizon, 1))
        rewards.append(bundle.model.imagine(belief, ahead).rewards[0, :4])
    np.testing.assert_allclose(rewards[0], rewards[1], rtol=1e-5)
    assert dream_of(run, context=4, steps=5, make=plain.make).steps == 5
    with pytest.raises(UserError, match="the run of a robot, expected the types of its messages"):
        export_checkpoint(run, tmp_path / "other", {})
    with pytest.raises(UserError, match=r"the run of a robot.*resume:=true"):
        train(tiny_settings(run, {"training.resume": True}))
