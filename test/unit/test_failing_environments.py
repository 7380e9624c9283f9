"""Environments that fail, or never end: nothing is lost, and a resume gets on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from tiny_environments import PointMass

from planet_ros.bundle.runtime import load_bundle
from planet_ros.cli.main import main
from planet_ros.config import Settings
from planet_ros.data import EpisodeStore
from planet_ros.environments import BrokenEnvironment, Environment, EnvironmentSpec
from planet_ros.environments.vector import Environments
from planet_ros.errors import UserError
from planet_ros.training import evaluate as evaluation
from planet_ros.training.checkpoint import read_checkpoint
from planet_ros.training.evaluate import evaluate
from planet_ros.training.loop import HELD_OUT_SEED, train

MakeSettings = Callable[..., Settings]
ID = "PlanetRosTest/Moody-v0"

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*:UserWarning:gymnasium"),
    pytest.mark.usefixtures("same_signal_handler"),
]


def raises(point: Moody) -> Any:
    raise RuntimeError("the motor is stuck")


def asserts(point: Moody) -> Any:
    raise AssertionError


def stops(point: Moody) -> Any:
    raise SystemExit(3)


def lacks(point: Moody) -> Any:
    nothing: dict[str, float] = {}
    return nothing["gear"]


def shaped_reward(point: Moody) -> Any:
    return point.observation(), np.array([1.0]), False, False, {}


def no_reward(point: Moody) -> Any:
    return point.observation(), None, False, False, {}


def other_shape(point: Moody) -> Any:
    return np.zeros(3, np.float32), 0.0, False, False, {}


def matrix(point: Moody) -> Any:
    return np.zeros((2, 1), np.float32), 0.0, False, False, {}


def text(point: Moody) -> Any:
    return "here", 0.0, False, False, {}


def too_large(point: Moody) -> Any:
    return np.full(2, 1e300), 0.0, False, False, {}


def four_values(point: Moody) -> Any:
    return point.observation(), 0.0, False, {}


def no_info(point: Moody) -> Any:
    return point.observation(), 0.0, False, False, None


FAULTS: dict[Callable[[Moody], Any], str] = {
    raises: r"failed with RuntimeError: the motor is stuck \(.*test_failing.*, line \d+, in raises",
    asserts: r"failed with AssertionError: raise AssertionError \(.*test_failing.*, in asserts",
    stops: r"failed with SystemExit: 3 \(",
    shaped_reward: r"found a reward of shape \(1,\), \[1\.\], expected a number: .*float\(reward\)",
    no_reward: r"failed with TypeError|expected a number",
    other_shape: r"found 'observation' of float32 \[3\], expected 'observation' of float32 \[2\]",
    matrix: r"found 'observation' of shape \[2, 1\], expected \[2\]",
    text: r"failed with ValueError: could not convert string",
    too_large: r"found observation \[inf inf\] at step \d+ of the episode after action",
    four_values: r"failed with ValueError: not enough values",
    no_info: r"failed with AttributeError|failed with AssertionError",
}


class Moody(PointMass):
    """Fails in the episode of one seed, at a step of it; 0 is its reset."""

    def __init__(self, seed: int, at: int, fault: Any) -> None:
        super().__init__()
        self._bad, self._at, self._fault = seed, at, fault

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self._seed, self._index = seed, 0
        first = super().reset(seed=seed)
        if (seed, 0) == (self._bad, self._at):
            return self._fault(self)[0], {}
        return first

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._index += 1
        if (self._seed, self._index) == (self._bad, self._at):
            return self._fault(self)
        return super().step(action)


@pytest.fixture
def moody() -> Iterator[Callable[..., str]]:
    """``moody(seed, at, fault)``: the id of an environment that fails there."""

    def register(seed: int, at: int, fault: Any) -> str:
        gymnasium.register(
            ID,
            entry_point=f"{__name__}:Moody",
            max_episode_steps=20,
            kwargs={"seed": seed, "at": at, "fault": fault},
        )
        return ID

    yield register
    gymnasium.registry.pop(ID, None)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_fault_names_the_environment_the_step_and_what_was_wrong(
    moody: Callable[..., str], fault: Any
) -> None:
    made = Environment(EnvironmentSpec(moody(0, 2, fault)))
    made.reset(seed=0)
    made.step(np.zeros(2))
    with pytest.raises(BrokenEnvironment, match=FAULTS[fault]) as caught:
        made.step(np.zeros(2))
    assert str(caught.value).startswith(f"{ID}: ")
    assert "step 2" in str(caught.value)
    copies = Environments(made, 2, "sync")
    copies.reset([1, 0])
    copies.step({0: np.zeros(2), 1: np.zeros(2)})
    with pytest.raises(BrokenEnvironment) as again:
        copies.step({0: np.zeros(2), 1: np.zeros(2)})
    assert str(again.value) == f"copy 2 of 2: {caught.value}"


def starts(run: Path) -> list[Any]:
    return [one.observation["observation"][0] for one in EpisodeStore(run / "episodes").episodes]


def start_of(seed: int) -> Any:
    return (
        Environment(EnvironmentSpec("PlanetRosTest/PointMass-v0"))
        .reset(seed=seed)
        .observation["observation"]
    )


@pytest.mark.parametrize(
    ("at", "fault", "seeds"),
    [
        (0, raises, [0, 2, 3, 4]),  # nothing came of the second start
        (0, too_large, [0, 2, 3, 4]),
        (1, shaped_reward, [0, 2, 3, 4]),
        (7, other_shape, [0, 1, 2, 3, 4]),  # the six steps before it are kept
    ],
)
def test_run_is_saved_and_a_resume_goes_on_with_the_next_start(
    moody: Callable[..., str],
    tmp_path: Path,
    tiny_settings: MakeSettings,
    at: int,
    fault: Any,
    seeds: list[int],
) -> None:
    folder, values = tmp_path / "run", {"env_id": moody(1, at, fault), "training.steps": 80}
    with pytest.raises(BrokenEnvironment) as caught:
        train(tiny_settings(folder, values))
    taken = 20 + max(0, at - 1)
    assert f"the {taken} environment steps before it are saved" in str(caught.value)
    assert f"planet-ros train --resume --output {folder}" in str(caught.value)
    assert read_checkpoint(folder / "checkpoint").state.environment_steps == taken
    train(tiny_settings(folder, {**values, "training.resume": True}))
    assert EpisodeStore(folder / "episodes").steps == 80
    np.testing.assert_array_equal(starts(folder), [start_of(seed) for seed in seeds])


def test_every_start_that_fails_is_passed_over(
    moody: Callable[..., str],
    tmp_path: Path,
    tiny_settings: MakeSettings,
) -> None:
    folder, values = tmp_path / "run", {"env_id": moody(0, 0, raises), "training.resume": True}
    values["training.accept_changes"] = True
    for bad in range(3):
        values["env_kwargs"] = f'{{"seed": {bad}}}'
        with pytest.raises(BrokenEnvironment, match="the 0 environment steps before it"):
            train(tiny_settings(folder, values))
        assert read_checkpoint(folder / "checkpoint").state.passed_over == bad + 1


def test_command_ends_with_2_and_draws_what_came_before(
    moody: Callable[..., str],
    fails: Callable[..., str],
    tmp_path: Path,
    tiny_settings: MakeSettings,
) -> None:
    from planet_ros.config import save_settings

    folder = tmp_path / "run"
    save_settings(tiny_settings(folder, {"env_id": moody(3, 5, raises)}), tmp_path / "a.yaml")
    message = fails("train", "--config", tmp_path / "a.yaml")
    assert re.search(rf"planet-ros train: error: {ID}: step 5 .*RuntimeError: the motor", message)
    assert load_bundle(folder / "model").manifest.environment_steps == 64
    assert (folder / "learning_curves.png").exists()


def test_fault_in_the_evaluation_leaves_what_was_learned(
    moody: Callable[..., str], tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    folder = tmp_path / "run"
    overrides = {"env_id": moody(HELD_OUT_SEED, 3, raises), "training.evaluation_episodes": 2}
    with pytest.raises(BrokenEnvironment, match=r"was in the evaluation: the model is learned and"):
        train(tiny_settings(folder, overrides))
    assert load_bundle(folder / "model").manifest.environment_steps == 120


def test_environment_that_cannot_be_closed_costs_a_warning_and_no_run(
    tmp_path: Path, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PointMass, "close", raises)
    with pytest.warns(UserWarning, match="PointMass-v0: cannot be closed: RuntimeError: the motor"):
        train(tiny_settings(tmp_path / "run", {"training.steps": 20}))
    assert load_bundle(tmp_path / "run" / "model").manifest.environment_steps == 20


class TestMaking:
    """Whatever a constructor raises is said with its kind, its text and its place."""

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            (
                asserts,
                r"AssertionError: raise AssertionError \(.*test_failing\w+\.py, line \d+, in",
            ),
            (raises, r"RuntimeError: the motor is stuck \(.*test_failing\w+\.py, line \d+, in"),
            (lacks, r"KeyError: 'gear' \(.*test_failing\w+\.py, line \d+, in"),
            (
                lambda _: Path("/nowhere/model.xml").read_text(),
                r"FileNotFoundError: .*/nowhere/model\.xml",
            ),
            (stops, r"SystemExit: 3 \("),
        ],
    )
    def test_environment(self, fault: Any, reason: str) -> None:
        def constructor(**_: Any) -> Any:
            fault(Moody)

        gymnasium.register(ID, entry_point=constructor)
        try:
            with pytest.raises(UserError, match=f"env_id: '{ID}' .*cannot be made: {reason}"):
                Environment(EnvironmentSpec(ID))
        finally:
            gymnasium.registry.pop(ID)

    def test_wrapper(self) -> None:
        spec = EnvironmentSpec(
            "PlanetRosTest/PointMass-v0", wrappers=(f"{__name__}:wrapper_that_asserts",)
        )
        with pytest.raises(UserError, match=r"cannot be applied: AssertionError: raise Assert"):
            Environment(spec)

    def test_module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "module_that_fails.py").write_text("import gymnasium\nassert not gymnasium\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(
            UserError, match=r"cannot be imported: AssertionError: assert not gym.*"
        ):
            Environment(EnvironmentSpec("Pendulum-v1", modules=("module_that_fails",)))


def wrapper_that_asserts(env: gymnasium.Env) -> gymnasium.Env:
    raise AssertionError


# ── episodes without an end ──────────────────────────────────────────────────────────────────


@pytest.fixture
def endless() -> Iterator[str]:
    gymnasium.register("PlanetRosTest/Endless-v0", entry_point="tiny_environments:PointMass")
    yield "PlanetRosTest/Endless-v0"
    gymnasium.registry.pop("PlanetRosTest/Endless-v0")


LIMITED = 'gymnasium.wrappers:TimeLimit {"max_episode_steps": 20}'


class TestWithoutAnEnd:
    def test_is_said_at_the_start_with_cures_that_work(
        self,
        endless: str,
        tmp_path: Path,
        tiny_settings: MakeSettings,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def learned(name: str, overrides: dict[str, Any]) -> tuple[int, str]:
            train(tiny_settings(tmp_path / name, {"env_id": endless, **overrides}))
            fits = (tmp_path / name / "metrics.jsonl").read_text().count('"fit",')
            return fits, capsys.readouterr().err

        fits, said = learned("plain", {})
        assert fits == 1
        assert f"{endless}: names no time limit" in said.splitlines()[1]
        assert "set training.episode_steps or training.update_every_steps" in said
        assert 'TimeLimit {"max_episode_steps": 200} in env_wrappers' in said
        for name, cure in (
            ("often", {"training.update_every_steps": 20}),
            ("cut", {"training.episode_steps": 20}),
            ("wrapped", {"env_wrappers": [LIMITED]}),
            ("made", {"env_kwargs": '{"max_episode_steps": 20}'}),
        ):
            fits, said = learned(name, cure)
            assert fits == 4
            assert "no time limit" not in said

    def test_evaluation_cuts_it_and_says_so(
        self,
        endless: str,
        tiny_run: Path,
        prints: Callable[..., str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(evaluation, "LONGEST_EPISODE", 30)
        bundle = load_bundle(tiny_run / "model")
        result = evaluate(bundle, Environment(EnvironmentSpec(endless)), episodes=2, seed=0)
        assert (result.steps, len(result.returns), result.cut) == (60, 2, 2)
        limited = Environment(EnvironmentSpec("PlanetRosTest/PointMass-v0"))
        assert evaluate(bundle, limited, episodes=2, seed=0).cut == 0
        arguments = ["--model", tiny_run / "model", "--env-id", endless, "--episodes", 2]
        output = prints("evaluate", *arguments, "--max-steps", 25)
        assert output.startswith("2 episodes were cut: they had not ended\nreturn: ")

    def test_evaluation_after_training_cuts_it_not_before_what_was_seen(
        self,
        endless: str,
        tmp_path: Path,
        tiny_settings: MakeSettings,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr("planet_ros.training.loop.LONGEST_EPISODE", 10)
        overrides = {"env_id": endless, "training.evaluation_episodes": 1, "training.steps": 60}
        train(tiny_settings(tmp_path / "run", overrides))
        assert "(1 were cut: they had not ended)" in capsys.readouterr().err
        manifest = load_bundle(tmp_path / "run" / "model").manifest
        assert manifest.evaluation.episodes == 1

    def test_film_of_it_ends(
        self,
        endless: str,
        tiny_run: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        prints: Callable[..., str],
    ) -> None:
        monkeypatch.setattr(evaluation, "LONGEST_EPISODE", 10)
        arguments = ["--model", tiny_run / "model", "--env-id", endless, "--episodes", 1]
        prints("evaluate", *arguments, "--gif", tmp_path / "a.gif")
        assert (tmp_path / "a.gif").exists()


# ── Ctrl-C ───────────────────────────────────────────────────────────────────────────────────


class TestCtrlC:
    def test_in_the_evaluation_is_a_stop_like_any_other(
        self,
        tmp_path: Path,
        tiny_settings: MakeSettings,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        from planet_ros.config import save_settings

        def interrupted(*_: Any, **__: Any) -> Any:
            raise KeyboardInterrupt

        folder = tmp_path / "run"
        overrides = {"training.evaluation_episodes": 1, "training.steps": 60}
        save_settings(tiny_settings(folder, overrides), tmp_path / "a.yaml")
        with monkeypatch.context() as patch:
            patch.setattr("planet_ros.training.loop.evaluate", interrupted)
            assert main(["train", "--config", str(tmp_path / "a.yaml")]) == 130
        error = capsys.readouterr().err
        assert f"stopped in the evaluation; the model is learned and saved in {folder}" in error
        assert f"planet-ros train --resume --output {folder}" in error
        assert (folder / "learning_curves.png").exists()
        assert main(["train", "--resume", "--output", str(folder)]) == 0
        assert "evaluation: mean return" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "place", ["planet_ros.cli.commands.load_settings", "planet_ros.cli.main.build_parser"]
    )
    def test_while_starting_is_said(
        self, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupted(*_: Any, **__: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(place, interrupted)
        assert main(["train"]) == 130
        output = capsys.readouterr().err.strip()
        assert output in ("planet-ros train: stopped", "planet-ros: stopped")
