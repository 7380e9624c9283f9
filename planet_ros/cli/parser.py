"""The arguments of ``planet-ros``; each command's help teaches by example."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from planet_ros import __version__
from planet_ros.cli.datasets import (
    CONVERT_EXAMPLES,
    add_convert_arguments,
    add_import_arguments,
)
from planet_ros.cli.evidence import add_evidence_commands

ROBOTS = ["pendulum", "base", "arm"]
"""Those that are simulated."""


def _path(text: str) -> Path:
    """A path; ``~`` is the home folder, also where the shell does not say so."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"found {text!r}: {error}") from None


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="planet-ros",
        description="Learn a world model from experience, and control with it by planning.",
        epilog="start with:  planet-ros demo",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = _command(
        subparsers,
        "train",
        "learn an environment in one process, as fast as the machine goes",
        """
  planet-ros train --config config/pendulum.yaml --steps 1000 --output runs/pendulum
  planet-ros train --env-id MountainCarContinuous-v0 --steps 5000 --output runs/car \\
      --set training.random_steps=3000 --set training.random_noise_beta=2 \\
      --set planner.horizon=80
  planet-ros train --resume --output runs/pendulum --steps 2000
  planet-ros train --set planner.horizon=15 --set world_model.members=3
  planet-ros train --data data/robot --output runs/robot
  planet-ros train --data runs/pendulum --config config/pendulum.yaml --steps 2000 \\
      --output runs/more

With --data it learns from episodes that are there already, as of planet-ros import: some are held
out, and the model that predicts them best is kept. With --steps too it goes on in the environment.

The output folder then holds model/ (the bundle for the robot), checkpoint/, episodes/,
metrics.jsonl, learning_curves.png and settings.yaml. Ctrl-C saves; --resume goes on.""",
    )
    _settings_options(train)
    train.add_argument("--steps", type=int, help="environment steps in all (training.steps)")
    train.add_argument("--seed", type=int, help="seed of everything random")
    train.add_argument("--output", type=_path, help="folder of the run (training.output)")
    train.add_argument(
        "--data",
        type=_path,
        nargs="+",
        metavar="DIR",
        help="folders of episodes, or of runs, to learn from (offline.data)",
    )
    train.add_argument(
        "--interface", help="document of the robot, where the folders do not hold it"
    )
    train.add_argument(
        "--resume", action="store_true", help="go on with the run in the output folder"
    )

    evaluate = _command(
        subparsers,
        "evaluate",
        "run a bundle in its environment, by onnxruntime alone",
        """
  planet-ros evaluate --model runs/pendulum/model --episodes 20 --seed 1000
  planet-ros evaluate --model runs/pendulum/model --json | tail -n 1
  planet-ros evaluate --model runs/pendulum/model --gif swing_up.gif
  planet-ros evaluate --model runs/pendulum/model --env-kwargs '{"g": 9.81}'

Episode i starts from reset(seed=SEED+i). The environment is the one that the bundle was
learned in, unless --env-id says otherwise; so is the planner, unless --config or --set do.""",
    )
    _model_option(evaluate)
    _settings_options(evaluate)
    evaluate.add_argument("--episodes", type=int, default=10, help="how many (default: 10)")
    evaluate.add_argument("--seed", type=int, default=1000, help="first start (default: 1000)")
    evaluate.add_argument("--env-kwargs", help="arguments of the environment, a JSON object")
    evaluate.add_argument(
        "--allow-python",
        action="append",
        default=[],
        metavar="MODULE",
        help="a Python module that the bundle may name for its environment or wrappers, beside "
        "those of Gymnasium and planet_ros: it is imported, which runs it",
    )
    evaluate.add_argument(
        "--max-steps",
        type=int,
        help="cut episodes after so many decisions (default: 1000 where the environment names no "
        "time limit)",
    )
    evaluate.add_argument("--gif", type=_path, help="write the first episode as a GIF here")
    evaluate.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object on the last line: returns, mean, worst, steps, decisions, cut, "
        "tick_ms",
    )

    export = _command(
        subparsers,
        "export",
        "write the bundle of a run's checkpoint",
        """
  planet-ros export --run runs/pendulum --output pendulum_bundle
  planet-ros export --run runs/pendulum --output short --set planner.horizon=12""",
    )
    _run_option(export)
    export.add_argument("--output", type=_path, required=True, help="folder of the new bundle")
    _set_option(export)

    imagine = _command(
        subparsers,
        "imagine",
        "show what a model predicts beside what came true",
        """
  planet-ros imagine --run runs/pendulum
  planet-ros imagine --run runs/pendulum --episode 3 --context 10 --steps 40
  planet-ros imagine --run runs/pendulum --json | tail -n 1

The model of the checkpoint is shown the first frames of a stored episode and predicts the rest
from the actions alone. The output folder then holds curves of the reward and of each number, with
the spread of sampled trajectories, and each image as a GIF and as a strip. The errors are over
predictions from up to 20 places in the episode. The model has learned from the episode, though of
the newest one it has seen least.""",
    )
    _run_option(imagine)
    imagine.add_argument(
        "--episode", type=int, help="number of a stored one (default: the newest long enough)"
    )
    imagine.add_argument("--context", type=int, default=5, help="frames shown (default: 5)")
    imagine.add_argument(
        "--steps", type=int, help="how many to predict (default: to the end, at most 50)"
    )
    imagine.add_argument(
        "--samples",
        type=int,
        default=20,
        help="trajectories to draw (default: 20); an ensemble has one for each member",
    )
    imagine.add_argument("--seed", type=int, default=0, help="seed of these (default: 0)")
    imagine.add_argument(
        "--output", type=_path, help="folder of the pictures (default: imagined/ in the run)"
    )
    imagine.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object on the last line: episode, context, steps, files, errors",
    )

    info = _command(
        subparsers,
        "info",
        "check a bundle and say what is in it",
        """
  planet-ros info runs/pendulum/model
  planet-ros info runs/pendulum/model --json""",
    )
    info.add_argument("model", type=_path, help="folder of a bundle")
    info.add_argument("--json", action="store_true", help="print the manifest as one JSON object")

    add_evidence_commands(lambda *words: _command(subparsers, *words), _path)

    config = _command(
        subparsers,
        "config",
        "print the reference of all settings, or those of a file",
        """
  planet-ros config
  planet-ros config planner
  planet-ros config --config config/pendulum.yaml
  planet-ros config --markdown > docs/configuration.md""",
    )
    config.add_argument("section", nargs="?", default="", help="show names that start so")
    config.add_argument("--markdown", action="store_true", help="print the reference page")
    _settings_options(config)

    interface = _command(
        subparsers,
        "interface",
        "check the document that says what a robot is to a model, or write a first one from a bag",
        """
  planet-ros interface robot.yaml
  planet-ros interface pendulum
  planet-ros interface recorded_bag > robot.yaml
  planet-ros interface --markdown > docs/interface.md

Of a bag, states and commands are told apart by their types and names, and ranges are those of the
commands in it: what is printed is to be edited, and says where.""",
    )
    interface.add_argument(
        "document",
        nargs="?",
        help="a file, the name of one that comes with the package (config/interfaces/), or a bag",
    )
    interface.add_argument("--markdown", action="store_true", help="print the reference page")

    delay = _command(
        subparsers,
        "delay",
        "estimate from experience how late commands act",
        """
  planet-ros delay runs/robot
  planet-ros delay runs/robot --max 20
  planet-ros delay runs/robot/episodes --json | tail -n 1

Each row of the table is a delay in control periods: how much of what is left unexplained of the
observation's next change, by the state and all other commands, the commands of that many periods
earlier explain, on steps that were held out. The first that explains much is the delay, and the
last line says what to set as delay_periods in the robot's interface. The estimate is beyond what
the run's interface compensates already. It takes some hundred steps with commands that change
from one to the next: random ones (training.random_steps) do best. Commands that act within the
period in which they are sent have the delay 0.""",
    )
    delay.add_argument(
        "experience", type=_path, metavar="RUN|EPISODES", help="folder of a run, or of episodes"
    )
    delay.add_argument(
        "--max",
        dest="most",
        type=int,
        default=10,
        metavar="N",
        help="look for delays of up to N periods beyond what is compensated (default: 10)",
    )
    delay.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object on the last line: delay_periods, compensated, more, reason, "
        "shown_by, steps, lags",
    )

    topics = _command(
        subparsers,
        "topics",
        "list the topics of bags, with types, rates and fields",
        """
  planet-ros topics recorded_bag
  planet-ros topics recorded_bag --json | tail -n 1

A bag is the folder that `ros2 bag record` or `planet-ros record` writes, or one file of it, in MCAP
or sqlite3. It takes no ROS.""",
    )
    _bags_argument(topics)
    topics.add_argument(
        "--json", action="store_true", help="print one JSON object on the last line"
    )

    importing = _command(
        subparsers,
        "import",
        "make episodes of the messages in bags, or of data sets of Minari and LeRobot",
        """
  planet-ros import recorded_bag --interface robot.yaml --output data/robot
  planet-ros import bags/* --interface robot.yaml --output data/robot --namespace robot1
  planet-ros import minari:D4RL/pendulum/random-v0 --output data/pendulum
  planet-ros import lerobot:data/pusht --output data/robot --reward next.reward
  planet-ros train --data data/robot --output runs/robot

The bags are read together, in the order of time, by the object that makes steps of live topics: at
each control period the newest state, and what was commanded by whomever. What was used and what was
not, and why, is printed, with the rate of each topic and how late commands act. Episodes are cut
where something is missing, and after end.after_steps of the interface (else after 1000 steps). The
folder then holds one npz file an episode, and the interface.

A data set is minari:ID, minari:FOLDER or lerobot:FOLDER, or a folder that is one. It takes no
interface; with one, the episodes are of that robot, with the reward that it says.""",
    )
    _bags_argument(importing)
    _interface_option(importing, required=False)
    add_import_arguments(importing)
    importing.add_argument(
        "--output", type=_path, required=True, help="folder of the episodes, a new one"
    )
    importing.add_argument(
        "--json", action="store_true", help="print one JSON object on the last line"
    )

    converting = _command(
        subparsers,
        "convert",
        "write episodes as a data set of Minari or LeRobot",
        CONVERT_EXAMPLES,
    )
    add_convert_arguments(converting)

    record = _command(
        subparsers,
        "record",
        "record the topics of an interface to a bag, where ros2 bag is not at hand",
        """
  planet-ros record --interface robot.yaml --output recorded_bag
  planet-ros record --interface base --output recorded_bag --seconds 60

Ctrl-C ends it. The bag is in MCAP with zstd, with the definitions of its types, as `ros2 bag`
and Foxglove read it.""",
    )
    _interface_option(record)
    record.add_argument("--output", type=_path, required=True, help="folder of the bag, a new one")
    record.add_argument(
        "--seconds", type=float, default=0.0, help="end after so long (default: with Ctrl-C)"
    )

    policy = _command(
        subparsers,
        "policy",
        "print the SROS2 policy of the nodes that some settings start",
        """
  planet-ros policy > policy.xml
  planet-ros policy --robot base > policy.xml
  planet-ros policy --interface my_robot.yaml --set training.collect=listen > policy.xml

The nodes are started in a domain of their own where nothing moves, and what each of them
publishes, subscribes to, offers and calls is what it will be allowed (docs/security.md). With
--interface these are the trainer and the controller of that robot; its drivers are somebody else's.
With --set 'robots=["robot1", "robot2"]' each of these has a controller in its namespace.""",
    )
    _settings_options(policy)
    policy.add_argument(
        "--interface", help="document of a robot of one's own (the setting interface)"
    )
    policy.add_argument(
        "--robot",
        choices=ROBOTS,
        help="a simulated robot, with its preset robot_NAME.yaml",
    )

    demo = _command(
        subparsers,
        "demo",
        "learn to swing up a pendulum with three processes over ROS topics",
        """
  planet-ros demo
  planet-ros demo --output runs/demo --steps 1000 --episodes 10
  planet-ros demo --robot base --output runs/base
  planet-ros demo --robot base --model runs/base/model --output runs/base_again

gym_bridge simulates, trainer learns, controller plans; then the controller alone is evaluated
on fresh starts, over the same topics. With --robot the simulator is a robot with topics of its
own (docs/robots.md), of which its interface is all that the others know. The last line is one
JSON object.""",
    )
    demo.add_argument(
        "--robot",
        choices=ROBOTS,
        help="a simulated robot in place of an environment, with its preset robot_NAME.yaml",
    )
    demo.add_argument("--output", type=_path, default=Path("runs/demo"), help="folder of the run")
    demo.add_argument("--config", type=_path, help="parameter file (default: the preset)")
    demo.add_argument("--steps", type=int, help="environment steps to learn from")
    demo.add_argument(
        "--episodes",
        type=int,
        help="fresh starts, goals of the base, or circles of the arm (default: 10, 20 and 10)",
    )
    demo.add_argument("--seed", type=int, default=0, help="seed of the run (default: 0)")
    demo.add_argument(
        "--model",
        type=_path,
        help="with --robot: drive it with this bundle, and learn nothing",
    )
    demo.add_argument(
        "--record",
        type=_path,
        metavar="BAG",
        help="with --robot: record all its topics while it is learned",
    )
    return parser


def _command(subparsers: Any, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _bags_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bags", type=_path, nargs="+", metavar="BAG", help="folder of a bag, or a file of it"
    )


def _interface_option(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument(
        "--interface",
        required=required,
        help="document of the robot: a file, or the name of one that comes with the package",
    )
    parser.add_argument(
        "--namespace", default="", help="in which the robot has its topics (default: none)"
    )
    parser.add_argument(
        "--lock-step",
        action="store_true",
        help="it is a simulation that waits for the command after each step",
    )


def _model_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=_path, required=True, help="folder of a bundle")


def _run_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run", dest="run_folder", type=_path, required=True, help="folder of a run"
    )


def _settings_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=_path, help="ROS parameter file, as in config/")
    parser.add_argument("--env-id", help="Gymnasium id of the environment")
    _set_option(parser)


def _set_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any setting by its dotted name; `planet-ros config` lists them",
    )
