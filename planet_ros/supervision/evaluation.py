"""Whole episodes of a bundle over topics, in lock-step, in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from planet_ros.supervision.processes import NodeProcess
from planet_ros.supervision.supervisor import Record, Supervisor


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
    }
    act = {"model": str(model.resolve()), "seed": seed, "controller.trigger": "observation"}

    def node(name: str, parameters: Mapping[str, Any]) -> NodeProcess:
        return NodeProcess(name, parameters, config=config, log=logs / f"{name}-evaluation.log")

    with node("gym_bridge", bridge) as simulator, node("controller", act) as controller:

        def check_alive() -> None:
            simulator.check_alive()
            controller.check_alive()

        supervisor.activate("controller", while_alive=check_alive)
        return supervisor.record_episodes(episodes, say=say, while_alive=check_alive)
