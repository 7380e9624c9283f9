"""How late commands act, estimated from what the simulated robots do, whoever drives them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays import float32
from numpy.typing import NDArray

from planet_ros.data import Episode, EpisodeStore
from planet_ros.data import delay as estimation
from planet_ros.data.delay import estimate_delay
from planet_ros.planning.noise import colored_noise
from sim_bridge.robots.arm import Arm
from sim_bridge.robots.base import Base
from sim_bridge.robots.pendulum import Pendulum
from sim_bridge.robots.simulation import PERIOD_S, RobotSimulation

Values = NDArray[np.float64]
Robot = Pendulum | Base | Arm

ROBOTS: dict[str, Callable[[], Robot]] = {"pendulum": Pendulum, "base": Base, "arm": Arm}
MAX_RATE = {"pendulum": np.full(1, np.inf), "base": np.array([1.0, 3.0]), "arm": np.full(2, 3.0)}
EPISODE_STEPS = 50


def seen(robot: Robot, rng: np.random.Generator) -> Values:
    """What the robots' interfaces say, with the base's noise."""
    state: Any = robot.state
    if isinstance(robot, Pendulum):
        return np.array([math.cos(state.angle), math.sin(state.angle), state.velocity])
    if isinstance(robot, Arm):
        return np.concatenate([np.cos(state.position), np.sin(state.position), state.velocity])
    exact = [state.x, state.y, math.cos(state.yaw), math.sin(state.yaw), state.speed]
    noise = rng.standard_normal(6) * [0.001, 0.001, 0.001, 0.001, 0.005, 0.005]
    return np.array([*exact, state.turn_rate]) + noise


def driven(robot: Robot, observed: Values, goal: Values) -> Values:
    """The command of someone who wants something, and decides by what is seen."""
    if isinstance(robot, Pendulum):
        cosine, sine, velocity = observed
        if cosine > 0.8:
            return np.array([-10 * sine - 2 * velocity])
        return np.array([2.0 if velocity * (1 - cosine - velocity**2 / 20) >= 0 else -2.0])
    if isinstance(robot, Base):
        ahead = goal - observed[:2]
        turn = math.atan2(ahead[1], ahead[0]) - math.atan2(observed[3], observed[2])
        turn = math.remainder(turn, math.tau)
        return np.array([math.hypot(*ahead) * math.cos(turn), 2 * turn])
    return 1.5 * goal


def experience(
    name: str, delay: int, drive: float | str, seed: int = 0, steps: int = 1000, shift: int = 0
) -> list[Episode]:
    """Episodes whose commands act `delay` periods late.

    Args:
        name: Of the robot.
        delay: All in all, the robot's own included.
        drive: ``"driver"``, or the exponent of the noise that commands are.
        seed: Of everything.
        steps: In all.
        shift: Periods that are compensated, as a timeline does.
    """
    rng = np.random.default_rng(seed)
    robot = ROBOTS[name]()
    robot.delay_periods = 0
    simulation = RobotSimulation(robot, seed=seed, extra_delay_periods=delay)
    middle, half = (robot.high + robot.low) / 2, (robot.high - robot.low) / 2
    most = PERIOD_S * MAX_RATE[name]
    episodes = []
    for _ in range(steps // EPISODE_STEPS):
        simulation.restart()
        beta = 0.0 if drive == "driver" else float(drive)
        noise = colored_noise(beta, (1, 1000, len(middle)), rng)[0]
        observations, commands, last = [seen(robot, rng)], [], robot.hold()
        for step in range(EPISODE_STEPS):
            if step % 20 == 0:
                goal = rng.uniform(-2, 2, 2)
            wanted = middle + half * noise[step]
            if drive == "driver":
                wanted = driven(robot, observations[-1], goal) + 0.05 * half * noise[step]
            last = np.clip(np.clip(wanted, last - most, last + most), robot.low, robot.high)
            simulation.step(last)
            commands.append(last)
            observations.append(seen(robot, rng))
        action = float32(commands[: len(commands) - shift])
        observation = float32(observations[shift:])
        episodes.append(Episode({"seen": observation}, action, np.zeros(len(action)), False, True))
    return episodes


@pytest.mark.parametrize("delay", [0, 1, 3])
@pytest.mark.parametrize("drive", [0, 1, "driver"], ids=["white", "pink", "driver"])
@pytest.mark.parametrize("name", ROBOTS)
def test_delay_of_each_robot_is_found(name: str, drive: float | str, delay: int) -> None:
    estimate = estimate_delay(experience(name, delay, drive, steps=600))
    assert estimate.more == estimate.delay_periods == delay, estimate.text
    assert estimate.wrong == (delay > 0)
    assert [lag.periods for lag in estimate.lags] == list(range(11))
    best = estimate.lags[delay]
    assert best.explained > 0.9 and best.certainty > 10
    assert all(lag.explained < 0.3 for lag in estimate.lags[:delay])


@pytest.mark.parametrize(("delay", "compensated", "more"), [(3, 1, 2), (1, 1, 0), (1, 3, -2)])
def test_what_is_compensated_counts(delay: int, compensated: int, more: int) -> None:
    episodes = experience("pendulum", delay, 0, shift=compensated)
    estimate = estimate_delay(episodes, compensated=compensated)
    assert (estimate.more, estimate.delay_periods) == (more, delay)
    assert estimate.lags[0].periods == -compensated
    assert f"compensated {compensated}, found {abs(more)} " in estimate.text
    assert f"delay_periods: {delay}" in estimate.text
    assert ("set" in estimate.text) == estimate.wrong == (more != 0)


def test_it_says_which_number_shows_the_commands() -> None:
    assert estimate_delay(experience("pendulum", 1, 0)).shown_by == "seen[2]"


@pytest.mark.parametrize("drive", [0, 1, 2])
@pytest.mark.parametrize("name", ROBOTS)
def test_commands_that_have_no_effect_tell_nothing(name: str, drive: int) -> None:
    moved, others = (experience(name, 0, drive, seed=seed, steps=300) for seed in (0, 1))
    unrelated = [
        replace(one, action=other.action) for one, other in zip(moved, others, strict=True)
    ]
    estimate = estimate_delay(unrelated)
    assert estimate.more is None
    assert not estimate.wrong
    assert "no command of the last 10 periods goes with any change" in estimate.text


@pytest.mark.parametrize("drive", [0, 1])
@pytest.mark.parametrize("delay", [5, 6, 9])
def test_a_delay_beyond_what_is_looked_for_is_not_mistaken(delay: int, drive: int) -> None:
    episodes = experience("base", delay, drive, steps=400)
    estimate = estimate_delay(episodes, most=5)
    assert estimate.more is None
    assert "look further back" in estimate.reason
    assert estimate_delay(episodes, most=delay + 1).more == delay


def test_too_few_steps_tell_nothing() -> None:
    estimate = estimate_delay(experience("pendulum", 1, 0, steps=100))
    assert estimate.more is None
    assert "found 80 usable steps, expected 100" in estimate.text
    assert estimate_delay([]).more is None


def test_commands_that_never_change_tell_nothing() -> None:
    episodes = [replace(one, action=0 * one.action) for one in experience("pendulum", 0, 0)]
    assert "commands never change" in estimate_delay(episodes).reason


def test_what_never_moves_tells_nothing() -> None:
    still = [
        replace(one, observation={"seen": np.ones_like(one.observation["seen"])})
        for one in experience("pendulum", 0, 0)
    ]
    assert "nothing that is observed" in estimate_delay(still).reason


def test_images_alone_tell_nothing() -> None:
    image = np.zeros((5, 2, 2, 1), np.uint8)
    episode = Episode({"camera": image}, np.zeros((4, 1), np.float32), np.zeros(4), False, False)
    assert "nothing but images" in estimate_delay([episode]).reason


def test_short_episodes_are_looked_at_less_far_back() -> None:
    estimate = estimate_delay(_cut(experience("pendulum", 2, 0), 8))
    assert estimate.more == 2
    assert estimate.lags[-1].periods == 4


def _cut(episodes: list[Episode], steps: int) -> list[Episode]:
    return [
        Episode(
            {"seen": one.observation["seen"][at : at + steps + 1]},
            one.action[at : at + steps],
            np.zeros(steps),
            False,
            False,
        )
        for one in episodes
        for at in range(0, len(one) - steps, steps)
    ]


def test_numbers_of_no_use_do_not_hide_what_shows() -> None:
    """Numbers that never change, that are noise, and far more than are looked at."""
    rng = np.random.default_rng(0)
    episodes = [
        replace(
            one,
            observation={
                "noise": rng.standard_normal((len(one) + 1, 100), np.float32),
                "constant": np.full((len(one) + 1, 3), 7, np.float32),
                **one.observation,
            },
        )
        for one in experience("pendulum", 1, 0, steps=400)
    ]
    estimate = estimate_delay(episodes)
    assert (estimate.more, estimate.shown_by) == (1, "seen[2]")
    assert estimate_delay(episodes, parts=["noise", "constant"]).more is None


def test_much_experience_costs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimation, "MOST_ROWS", 300)
    estimate = estimate_delay(experience("pendulum", 1, 0, steps=1500))
    assert (estimate.more, estimate.rows) == (1, 300)


# ── the command ──────────────────────────────────────────────────────────────────────────────


def stored(folder: Path, episodes: list[Episode]) -> Path:
    store = EpisodeStore(folder)
    for episode in episodes:
        store.add(episode)
    store.write()
    return folder


class TestCommand:
    def test_prints_a_table_and_what_to_set(
        self, prints: Callable[..., str], tmp_path: Path
    ) -> None:
        folder = stored(tmp_path / "episodes", experience("base", 2, 0, steps=400))
        header, *rows, last = prints("delay", folder, "--max", 4).splitlines()
        assert header.split() == ["periods", "explained", "certainty"]
        assert [int(row.split()[0]) for row in rows] == [0, 1, 2, 3, 4]
        shares = [float(row.split()[1].rstrip("%")) for row in rows]
        assert int(np.argmax(shares)) == 2
        assert last == (
            "delay: compensated 0, found 2 more; set delay_periods: 2 in the interface, and learn "
            "anew"
        )

    def test_prints_json(self, prints: Callable[..., str], tmp_path: Path) -> None:
        folder = stored(tmp_path / "episodes", experience("base", 1, 0, steps=400))
        result = json.loads(prints("delay", folder, "--json"))
        assert (result["delay_periods"], result["compensated"], result["more"]) == (1, 0, 1)
        assert result["shown_by"].startswith("seen[")
        assert set(result["lags"][1]) == {"periods", "explained", "certainty"}

    @pytest.mark.parametrize("name", [".", "episodes"])
    def test_takes_a_run_and_what_it_compensates(
        self, prints: Callable[..., str], tiny_run: Path, tmp_path: Path, name: str
    ) -> None:
        assert json.loads(prints("delay", tiny_run / name, "--json"))["compensated"] == 0
        late = tmp_path / "run"
        (late / "checkpoint").mkdir(parents=True)
        for file in (tiny_run / "checkpoint").iterdir():
            (late / "checkpoint" / file.name).write_bytes(file.read_bytes())
        state = late / "checkpoint" / "state.json"
        content = json.loads(state.read_text())
        content["signature"]["delay_periods"] = 2
        content["signature"]["observation"][0]["name"] = "seen"
        state.write_text(json.dumps(content))
        stored(late / "episodes", experience("pendulum", 2, 0, steps=400, shift=2))
        assert "compensated 2, found 0 more; delay_periods: 2 is right" in prints(
            "delay", late / name
        )

    def test_experience_that_does_not_tell_is_no_failure(
        self, prints: Callable[..., str], tmp_path: Path
    ) -> None:
        folder = stored(tmp_path, experience("pendulum", 0, 0, steps=50))
        assert prints("delay", folder) == (
            "delay: the steps do not tell: found 40 usable steps, expected 100\n"
        )

    @pytest.mark.parametrize("most", [0, -1, 101])
    def test_refuses_a_range_that_is_none(
        self, fails: Callable[..., str], tmp_path: Path, most: int
    ) -> None:
        assert f"--max: found {most}, expected 1 to 100" in fails("delay", tmp_path, "--max", most)

    def test_refuses_a_folder_without_episodes(
        self, fails: Callable[..., str], tmp_path: Path
    ) -> None:
        assert "found no episodes" in fails("delay", tmp_path)
        assert "found no episodes" in fails("delay", tmp_path / "nowhere")
