"""A simulation and a controller in processes of their own, and whole episodes of a bundle there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from planet_ros.supervision.processes import NodeProcess
from planet_ros.supervision.supervisor import Record, Supervisor


@contextmanager
def acting(
    supervisor: Supervisor,
    simulate: Mapping[str, Any],
    act: Mapping[str, Any],
    *,
    config: Path,
    logs: Path,
    doing: str,
    simulator: str = "gym_bridge",
) -> Iterator[Callable[[], None]]:
    """A simulation, and a controller that is active; both end with the block.

    Args:
        supervisor: Of the same ROS domain.
        simulate: Parameters of the simulation.
        act: Parameters of the controller.
        config: Parameter file of both.
        logs: Folder for what the two print.
        doing: What it is for, in the names of these files.
        simulator: The node that simulates.

    Returns:
        Raises UserError once one of the two has ended.

    Raises:
        UserError: A node ends, refuses or does not answer in time.
    """

    def node(name: str, parameters: Mapping[str, Any]) -> NodeProcess:
        return NodeProcess(name, parameters, config=config, log=logs / f"{name}-{doing}.log")

    with node(simulator, simulate) as simulation, node("controller", act) as controller:

        def check_alive() -> None:
            simulation.check_alive()
            controller.check_alive()

        supervisor.activate("controller", while_alive=check_alive)
        yield check_alive


def evaluate_over_topics(
    supervisor: Supervisor,
    model: Path,
    *,
    config: Path,
    simulation: Mapping[str, Any],
    episodes: int,
    seed: int,
    logs: Path,
    say: Callable[[str], None],
) -> Record:
    """Let a simulation and a controller run whole episodes; this process only listens.

    Args:
        supervisor: Of the same ROS domain.
        model: Folder of the bundle.
        config: Parameter file of both nodes.
        simulation: Parameters of the simulation that the file does not have.
        episodes: How many; episode i starts from ``reset(seed=seed + i)``.
        seed: Likewise.
        logs: Folder for what the two print.
        say: Takes a line for each episode.

    Raises:
        UserError: A node ends, refuses or does not answer in time.
    """
    bridge = {
        **simulation,
        "seed": seed,
        "bridge.mode": "lock_step",
        "bridge.wait_for_learner": True,
        "training.update_every_steps": 0,  # nobody fits a model within an episode
        "training.episode_steps": 0,  # and episodes are whole
    }
    act = {"model": str(model.resolve()), "seed": seed, "controller.trigger": "observation"}
    with acting(
        supervisor, bridge, act, config=config, logs=logs, doing="evaluation"
    ) as check_alive:
        return supervisor.record_episodes(episodes, say=say, while_alive=check_alive)
