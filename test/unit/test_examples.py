"""What stands in examples/ does what it says, and the pages that explain it show its own code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray
from own_environment import HELD_OUT, ID, SPEC
from own_model import LinearQuadratic, make_linear
from own_planner import Mppi, MppiSettings
from planner_contract import GOAL, HALF_RANGE, HIGH, LOW, PlannerContract, quadratic

from planet_ros.bundle.runtime import load_bundle
from planet_ros.environments import Environment
from planet_ros.errors import UserError
from planet_ros.planning import Planner
from planet_ros.training.loop import train
from planet_ros.training.session import Session

ACHIEVED = {
    "own_environment": "learned from 400 steps",
    "own_model": "linear_quadratic, learned from 150 steps",
    "own_planner": "planned with MPPI",
}
"""Each example, and what it says of what it has learned."""

RANDOM_AT_MOST, LEARNED_AT_LEAST = 36.0, 47.0
"""Mean returns of the cart, of 50 at most."""


def blocks(page: Path, language: str) -> list[str]:
    """Code blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def mean_return(printed: str, what: str) -> float:
    found = re.search(rf"^{re.escape(what)}: mean return (-?[\d.]+), worst", printed, re.MULTILINE)
    assert found, printed
    return float(found.group(1))


@pytest.fixture
def shell(root: Path, tmp_path: Path) -> Callable[[str], str]:
    """Runs a command as the pages give it, in a folder with examples/ and .venv/bin alone."""
    (tmp_path / "examples").symlink_to(root / "examples")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name, starts in (("python", ""), ("planet-ros", "-m planet_ros.cli.main")):
        program = tmp_path / ".venv" / "bin" / name
        lines = (
            "#!/bin/sh",
            f"export PYTHONPATH='{root}':\"$PYTHONPATH\"",
            f"exec '{sys.executable}' {starts} \"$@\"",
        )
        program.write_text("\n".join(lines) + "\n", encoding="utf-8")
        program.chmod(0o755)

    def run(command: str) -> str:
        ran = subprocess.run(
            command,
            shell=True,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            timeout=240,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    return run


def test_every_example_has_its_test_and_its_page(root: Path) -> None:
    assert {path.name for path in (root / "examples").glob("*")} - {"__pycache__"} == {
        f"{name}.py" for name in ACHIEVED
    }
    for name in ACHIEVED:
        assert (root / "docs" / f"{name}.md").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", ACHIEVED)
def test_example_achieves_what_it_says(name: str, root: Path, tmp_path: Path) -> None:
    """As a user runs it, in an empty folder."""
    folder = tmp_path / "run"
    ran = subprocess.run(
        [sys.executable, str(root / "examples" / f"{name}.py"), "--output", str(folder)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert mean_return(ran.stdout, "random actions") < RANDOM_AT_MOST
    assert mean_return(ran.stdout, ACHIEVED[name]) > LEARNED_AT_LEAST
    assert ran.stdout.splitlines()[-1] == f"bundle: {folder / 'model'}"
    kind = "linear_quadratic" if name == "own_model" else "ensemble"
    assert load_bundle(folder / "model").manifest.model_kind == kind


@pytest.mark.parametrize("name", ACHIEVED)
def test_page_shows_the_code_of_its_example(name: str, root: Path) -> None:
    code = (root / "examples" / f"{name}.py").read_text(encoding="utf-8")
    page = root / "docs" / f"{name}.md"
    shown = blocks(page, "python")
    assert shown
    for block in shown:
        assert block in code, block


@pytest.mark.parametrize("name", ACHIEVED)
def test_page_says_what_its_example_achieves(name: str, root: Path) -> None:
    page = (root / "docs" / f"{name}.md").read_text(encoding="utf-8")
    printed = "\n".join(line.strip() for line in page.splitlines() if line.startswith("    "))
    assert mean_return(printed, "random actions") < RANDOM_AT_MOST
    assert mean_return(printed, ACHIEVED[name]) > LEARNED_AT_LEAST


@pytest.mark.slow
@pytest.mark.parametrize("name", ACHIEVED)
def test_commands_of_the_page_work(
    name: str, root: Path, shell: Callable[[str], str], tmp_path: Path
) -> None:
    """Those of the command line; the example itself has its test above."""
    page = root / "docs" / f"{name}.md"
    commands = "".join(blocks(page, "bash")).replace("\\\n", "").splitlines()
    script = f".venv/bin/python examples/{name}.py --output runs/"
    assert any(command.startswith(script) for command in commands)
    found: list[float] = []
    for command in commands:
        if not command.startswith((script, ".venv/bin/python -m pytest")):
            printed = shell(command)
            found += map(float, re.findall(r"^return: mean ([\d.]+)", printed, re.MULTILINE))
    assert len(found) == sum(" evaluate " in command for command in commands)
    assert all(one > LEARNED_AT_LEAST for one in found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ACHIEVED)
def test_page_names_tests_that_there_are(name: str, root: Path) -> None:
    commands = "".join(blocks(root / "docs" / f"{name}.md", "bash")).splitlines()
    tests = [command for command in commands if " -m pytest " in command]
    assert tests
    for command in tests:
        _, *arguments = shlex.split(command)
        ran = subprocess.run(
            [sys.executable, *arguments, "--collect-only", "--quiet"],
            capture_output=True,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            timeout=240,
            check=False,
        )
        assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"  # 5: none is selected


class TestOwnEnvironment:
    @pytest.mark.filterwarnings(
        "ignore:.*Box:UserWarning"
    )  # a force is in newtons, not from -1 to 1
    def test_it_keeps_to_gymnasiums_contract(self) -> None:
        check_env(gymnasium.make(ID).unwrapped, skip_render_check=True)

    def test_its_signature_has_names_units_and_period(self) -> None:
        signature = Environment(SPEC).signature
        (part,) = signature.observation
        assert [part.label(0), part.label(1)] == ["position [m]", "velocity [m/s]"]
        assert [(part.name, part.unit) for part in signature.action] == [("force", "N")]
        assert signature.period_s == 0.1

    def test_it_ends_off_the_rail_and_is_cut_after_fifty_steps(self) -> None:
        environment = Environment(SPEC)
        environment.reset(seed=HELD_OUT.start)
        push = np.ones(1, dtype=np.float32) * 2
        while not (step := environment.step(push)).last:
            assert 0.0 < step.reward <= 1.0
        assert (step.terminated, step.truncated) == (True, False)
        step = environment.reset(seed=HELD_OUT.start)
        while not step.last:
            x, v = step.observation["observation"]
            step = environment.step(np.array([-2 * x - 3 * v], dtype=np.float32))
        assert (step.terminated, step.truncated, step.index) == (False, True, 50)


class TestOwnModel:
    """That it keeps to the contract is in test_model_contract.py."""

    def test_training_takes_it_and_goes_on_with_it_alone(
        self, tiny_settings: Callable[..., Any], tmp_path: Path
    ) -> None:
        run = train(tiny_settings(tmp_path / "run"), make_model=make_linear)
        manifest = load_bundle(run.bundle).manifest
        assert (manifest.model_kind, manifest.environment_steps) == ("linear_quadratic", 120)
        more = {"training.resume": True, "training.steps": 160}
        with pytest.raises(UserError, match="or of another kind of model"):
            train(tiny_settings(tmp_path / "run", more))
        assert load_bundle(run.bundle).manifest == manifest
        train(tiny_settings(tmp_path / "run", more), make_model=make_linear)
        assert load_bundle(run.bundle).manifest.environment_steps == 160

    def test_session_takes_it(self, tiny_settings: Callable[..., Any], tmp_path: Path) -> None:
        session = Session(
            tiny_settings(tmp_path / "run"),
            Environment(SPEC).signature,
            environment=None,
            say=lambda text: None,
            make_model=make_linear,
        )
        assert isinstance(session.learner.averaged, LinearQuadratic)
        session.close()


class TestOwnPlanner(PlannerContract):
    def make(self, low: Any, high: Any, *, seed: int, **sizes: int) -> Planner:
        return Mppi(low, high, MppiSettings(**sizes), seed=seed)

    def test_temperature_says_how_far_it_follows_the_best(self) -> None:
        def first_plan(temperature: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            asked = []

            def evaluate(actions: NDArray[np.float32]) -> NDArray[np.float64]:
                asked.append(actions.copy())
                return quadratic(GOAL, HALF_RANGE)(actions)

            sizes = MppiSettings(
                horizon=2, candidates=30, elites=30, iterations=1, temperature=temperature
            )
            plan = Mppi(LOW, HIGH, sizes, seed=0).plan(evaluate)
            best = asked[0][quadratic(GOAL, HALF_RANGE)(asked[0]).argmax()]
            return plan.actions, np.stack([best, asked[0].mean(axis=0)])

        plan, (best, mean) = first_plan(1e-4)
        np.testing.assert_allclose(plan, best, rtol=1e-5)
        plan, (best, mean) = first_plan(1e6)
        np.testing.assert_allclose(plan, mean, rtol=1e-4, atol=1e-4)

    def test_unit_of_the_reward_changes_nothing(self) -> None:
        def scaled(actions: NDArray[np.float32]) -> NDArray[np.float64]:
            return 1e6 * quadratic(GOAL, HALF_RANGE)(actions)

        one = self.small(candidates=60).plan(quadratic(GOAL, HALF_RANGE))
        other = self.small(candidates=60).plan(scaled)
        np.testing.assert_allclose(one.actions, other.actions, rtol=1e-5)

    @pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
    def test_temperature_out_of_range_is_named(self, temperature: float) -> None:
        with pytest.raises(ValueError, match=r"temperature: found .*, expected more than 0"):
            MppiSettings(temperature=temperature)
