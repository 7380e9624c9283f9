"""``planet-ros policy``: what each node has to be allowed, seen of real nodes.

They run in a domain of their own, on a model that has learned nothing, and nothing moves: the
simulator waits, and the controller is configured but not active.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from planet_ros.bundle.runtime import Bundle
from planet_ros.config import LearnerSettings, find_config, load_settings, narrowed
from planet_ros.environments import Environment, EnvironmentSpec
from planet_ros.errors import UserError
from planet_ros.interface.files import load_interface
from planet_ros.interface.signature import signature_of
from planet_ros.ros.types import make
from planet_ros.supervision.policies import TIMEOUT_S, Profile, policy_xml, profile_of
from planet_ros.supervision.processes import NodeProcess, own_domain, variables
from planet_ros.supervision.robots import PAUSE_SERVICE
from planet_ros.supervision.supervisor import Supervisor
from planet_ros.training.learner import Learner
from planet_ros.training.run import RunFolder
from planet_ros.training.tasks import task_of


def policy_text(config: Path | None, values: Mapping[str, Any], robot: str | None) -> str:
    """The policy of all nodes that some settings start.

    Args:
        config: Parameter file of the nodes; None: the preset.
        values: Settings in place of those of the file.
        robot: Of the simulated ones; None: an environment, or where there is an interface the
            robot that this describes, which is somebody else's and has no policy here.

    Raises:
        UserError: A setting is wrong, or a node cannot be started.
    """
    config = config or find_config(f"robot_{robot}.yaml" if robot else "pendulum.yaml")
    values = dict(values)
    if robot:
        values = {"training.pause_service": PAUSE_SERVICE, **values, "robot.name": robot}
    settings = load_settings(config, values)
    simulator = "robot" if robot else "" if settings.interface else "gym_bridge"
    with tempfile.TemporaryDirectory() as folder, own_domain() as domain, variables(domain):
        bundle = _untrained(narrowed(settings, LearnerSettings), Path(folder) / "model")
        values.update(
            {
                "use_sim_time": bool(simulator),
                "model": str(bundle.path),
                "training.output": f"{folder}/run",
                "training.resume": False,
                "bridge.wait_for_learner": True,
                "robot.start_paused": True,
            }
        )
        places = [
            (node, namespace)
            for node in ("controller", simulator)
            for namespace in settings.robots or [""]
            if node
        ]
        return policy_xml(
            _seen([*places, ("trainer", "")], config=config, values=values, logs=Path(folder))
        )


def _untrained(settings: LearnerSettings, path: Path) -> Bundle:
    """A bundle that asks for all topics that one of these settings would."""
    if settings.interface:
        interface = load_interface(settings.interface)
        signature = signature_of(interface, make)
        learner = Learner(
            settings,
            signature,
            RunFolder(path),
            environment=None,
            interface=interface,
            task=task_of(interface, signature, make),
        )
    else:
        environment = Environment(EnvironmentSpec.of(settings))
        environment.close()
        learner = Learner(
            settings, environment.signature, RunFolder(path), environment=environment.spec
        )
    return learner.export(path=path)


def _seen(
    places: list[tuple[str, str]], *, config: Path, values: Mapping[str, Any], logs: Path
) -> Iterator[Profile]:
    """Start nodes in their namespaces, and yield what each of them does."""
    with contextlib.ExitStack() as running:
        nodes = []
        for number, (name, namespace) in enumerate(places):
            log = logs / f"{number}-{name}.log"
            nodes.append(NodeProcess(name, values, config=config, namespace=namespace, log=log))
            running.enter_context(nodes[-1])

        def while_alive() -> None:
            for node in nodes:
                if node.poll() is not None:
                    raise UserError(f"the {node.name} ended with code {node.poll()}: {node.output}")

        supervisor = running.enter_context(Supervisor())
        for name, namespace in places:
            if name == "controller":
                _configure(supervisor, f"{namespace}/{name}".lstrip("/"), while_alive)
        for name, namespace in places:
            yield profile_of(supervisor, name, namespace, while_alive)


def _configure(supervisor: Supervisor, name: str, while_alive: Callable[[], None]) -> None:
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    answer = supervisor.call(ChangeState, f"{name}/change_state", request, TIMEOUT_S, while_alive)
    if not answer.success:
        raise UserError(f"{name} refuses to be configured")
