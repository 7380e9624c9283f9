"""What each command does; the learner's packages are imported only by those that need them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planet_ros.bundle.runtime import load_bundle
from planet_ros.cli.datasets import environment_of_data
from planet_ros.cli.evidence import compare as compare
from planet_ros.cli.evidence import report as report
from planet_ros.config import (
    LearnerSettings,
    PlannerSettings,
    Settings,
    closest,
    flatten,
    load_settings,
    reference_markdown,
    schema,
    type_name,
)
from planet_ros.data import Signature
from planet_ros.datasets import BAG_SUFFIXES
from planet_ros.errors import UserError
from planet_ros.messages.fields import Make

if TYPE_CHECKING:  # what it needs is not on every robot
    from planet_ros.training.run import RunFolder


def train(options: argparse.Namespace) -> int:
    """``planet-ros train``."""
    values = _overrides(options)
    for name, value in (
        ("training.steps", options.steps),
        ("seed", options.seed),
        ("training.output", None if options.output is None else str(options.output)),
        ("training.resume", options.resume or None),
    ):
        if value is not None:
            values[name] = value
    if options.data:
        values["offline.data"] = [str(path) for path in options.data]
        environment = environment_of_data(options.data)
        if environment and options.config is None and not options.resume:
            values.setdefault("env_id", environment)
    if options.interface is not None:
        values["interface"] = options.interface
    settings = (
        _of_the_run(options, values) if options.resume else load_settings(options.config, values)
    )
    run = _trained(settings, online=options.steps is not None)
    print(f"bundle: {run.bundle}\nlearning curves: {run.curves_file}", file=sys.stderr)
    return 0


def _of_the_run(options: argparse.Namespace, values: dict[str, Any]) -> Settings:
    """The settings to continue a run with: its own, or a file's; what the command says is meant.

    Raises:
        UserError: There is no run, or the file says something else than the run's own settings.
    """
    from planet_ros.training.changes import changes, check_meant
    from planet_ros.training.run import RunFolder

    source = options.config
    if source is None:
        run = RunFolder.of(values.get("training.output", LearnerSettings().training.output))
        source = run.settings_file
        if not source.exists():
            raise UserError(f"--resume: {run.path} holds no run (no {source.name})")
    settings = load_settings(source, values)
    run = RunFolder.of(settings.training.output)
    if run.has_checkpoint and not settings.training.accept_changes:
        check_meant(run, changes(run, settings), values)
    training = settings.training.model_copy(update={"accept_changes": True})
    return settings.model_copy(update={"training": training})


def _trained(settings: Settings, online: bool) -> RunFolder:
    """Train, and draw what was learned, also where it was stopped.

    Args:
        settings: Of the run.
        online: Whether to go on in the environment after what is learned from data.
    """
    from planet_ros.report.attempt import attempt
    from planet_ros.report.curves import plot_learning_curves
    from planet_ros.training.run import RunFolder

    run = RunFolder.of(settings.training.output)
    before = _content(run.metrics_file)
    try:
        return _train(settings, online)
    finally:
        # A run that was refused, such as somebody else's in the same folder, is left as it is.
        if _content(run.metrics_file) != before:
            attempt(run.curves_file, lambda: plot_learning_curves(run))


def _train(settings: Settings, online: bool) -> RunFolder:
    from planet_ros.cli.experience import any_messages
    from planet_ros.training.checkpoint import read_checkpoint
    from planet_ros.training.experience import read_experience
    from planet_ros.training.loop import train as run_training
    from planet_ros.training.offline import train_offline
    from planet_ros.training.run import RunFolder

    folders = [Path(folder).expanduser() for folder in settings.offline.data]
    if not folders:
        return run_training(settings)
    run = RunFolder.of(settings.training.output)
    resumes = settings.training.resume and run.has_checkpoint
    if resumes and read_checkpoint(run.checkpoint).state.episodes:  # which are all of them then
        folders = [run.path]
    run = train_offline(settings, lambda: read_experience(folders, settings, any_messages()))
    if not online:
        return run
    training = settings.training.model_copy(update={"resume": True})
    return run_training(settings.model_copy(update={"training": training}))


def _content(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


def evaluate(options: argparse.Namespace) -> int:
    """``planet-ros evaluate``."""
    from dataclasses import replace

    from planet_ros.environments import Environment
    from planet_ros.environments.trust import python_of
    from planet_ros.training.evaluate import environment_of
    from planet_ros.training.evaluate import evaluate as run_evaluation
    from planet_ros.training.progress import Progress

    for name in ("episodes", "max_steps"):
        value = getattr(options, name)
        if value is not None and value < 1:
            option = name.replace("_", "-")
            raise UserError(f"--{option}: found {value}, expected at least 1")
    bundle = load_bundle(options.model)
    if options.env_id:
        spec = _environment_spec(options)
    else:
        trusted = python_of(_environment_spec(options)) if options.config else {}
        spec = environment_of(bundle, {*options.allow_python, *trusted})
    if options.env_kwargs is not None:
        spec = replace(spec, kwargs=_json_object("--env-kwargs", options.env_kwargs))
    planner = _planner(options, bundle.manifest.planner)
    environment = Environment(spec)
    try:
        with Progress(options.episodes, "episodes") as progress:

            def after_episode(index: int, total: float) -> None:
                progress.advance()
                progress.line(f"episode {index + 1} (seed {options.seed + index}): {total:.1f}")

            result = run_evaluation(
                bundle,
                environment,
                episodes=options.episodes,
                seed=options.seed,
                planner=planner,
                after_episode=after_episode,
                longest=options.max_steps,
            ).to_dict()
    finally:
        environment.close()
    # At once: no picture that cannot be drawn takes them away.
    if options.json:
        print(json.dumps(result), flush=True)
    else:
        ticks = result["tick_ms"]
        if result["cut"]:
            print(f"{result['cut']} episodes were cut: they had not ended")
        print(f"return: mean {result['mean']:.1f}, worst {result['worst']:.1f}")
        print(f"decision: p50 {ticks['p50']} ms, p99 {ticks['p99']} ms, max {ticks['max']} ms")
    if options.gif is not None:
        from planet_ros.report.gif import save_episode_gif

        try:
            save_episode_gif(bundle, spec, options.gif, seed=options.seed)
        except OSError as error:
            raise UserError(f"--gif: {options.gif} cannot be written: {error.strerror}") from None
        except UserError as error:
            raise UserError(f"--gif: {error}") from None
    return 0


def _environment_spec(options: argparse.Namespace) -> Any:
    from planet_ros.environments import EnvironmentSpec

    return EnvironmentSpec.of(load_settings(options.config, _overrides(options)))


def _planner(options: argparse.Namespace, learned: PlannerSettings) -> PlannerSettings:
    """The bundle's planner, with what the file and ``--set`` say of it instead."""
    values = dict(flatten({"planner": learned.model_dump()}))
    if options.config is not None:
        values.update(flatten({"planner": load_settings(options.config).planner.model_dump()}))
    values.update(_overrides(options))
    return load_settings(None, values).planner


def export(options: argparse.Namespace) -> int:
    """``planet-ros export``."""
    from planet_ros.training.export import export_checkpoint

    overrides = _assignments(options.set)
    bundle = export_checkpoint(
        options.run_folder, options.output, overrides, _messages_of(options.run_folder)
    )
    print(bundle.path)
    return 0


def imagine(options: argparse.Namespace) -> int:
    """``planet-ros imagine``."""
    from planet_ros.report.dream_pictures import draw
    from planet_ros.report.dreams import dream_of

    for name in ("context", "steps", "samples"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"--{name}: found {value}, expected at least 1")
    dreamt = dream_of(
        options.run_folder,
        number=options.episode,
        context=options.context,
        steps=options.steps,
        samples=options.samples,
        seed=options.seed,
        make=_messages_of(options.run_folder),
    )
    files = draw(dreamt, options.output or options.run_folder / "imagined")
    if options.json:
        result = {
            "episode": dreamt.number,
            "context": dreamt.context,
            "steps": dreamt.steps,
            "files": [str(file) for file in files],
            "errors": dreamt.errors,
        }
        print(json.dumps(result))
        return 0
    for file in files:
        print(file)
    print(
        f"episode {dreamt.number}: {dreamt.context} frames seen, {dreamt.steps} predicted; "
        "root mean square errors:"
    )
    names = list(dreamt.errors[0])
    print("  ".join(f"{name:>12}" for name in names))
    for errors in dreamt.errors:
        print("  ".join(f"{errors[name]:{max(12, len(name))}.4g}" for name in names))
    return 0


def _messages_of(path: Path) -> Make | None:
    """What gives empty messages, for a run that learned from a robot."""
    from planet_ros.cli.experience import any_messages
    from planet_ros.training.run import RunFolder

    return any_messages() if RunFolder(path).interface_file.exists() else None


def info(options: argparse.Namespace) -> int:
    """``planet-ros info``."""
    bundle = load_bundle(options.model)
    manifest = bundle.manifest
    if options.json:
        print(json.dumps(json.loads(manifest.to_json())))
        return 0
    environment = manifest.environment
    evaluation = manifest.evaluation
    signature = manifest.signature
    rows = {
        "bundle": f"{bundle.path} ({bundle.digest[:12]}), created {manifest.created}",
        "model": f"{manifest.model_kind}, belief of {manifest.belief_size}",
        "observation": "\n".join(_observation_lines(signature)),
        "action": "\n".join(
            f"{part.name}, {part.low:g} to {part.high:g} {part.unit}".rstrip()
            for part in signature.action
        ),
        "control period": f"{signature.period_s:g} s",
        "planner": f"{manifest.planner.kind}, horizon {manifest.horizon}, "
        f"{manifest.planner.candidates} candidates × {manifest.planner.iterations}",
        "learned in": f"{environment.id} {environment.kwargs or ''}" if environment else "unknown",
        "experience": f"{manifest.environment_steps} environment steps, "
        f"{manifest.episodes} episodes, seed {manifest.seed}",
        "evaluation": "none"
        if evaluation.mean_return is None
        else f"mean return {evaluation.mean_return:.1f}, worst {evaluation.worst_return:.1f} "
        f"({evaluation.source})",
    }
    for name, value in rows.items():
        first, *others = value.splitlines()
        print(f"{name + ':':16}{first}")
        for line in others:
            print(" " * 16 + line)
    return 0


def _observation_lines(signature: Signature) -> Iterator[str]:
    """What each part of an observation is, and what its numbers are called."""
    for part in signature.observation:
        size = " × ".join(map(str, part.shape))
        unit = f" [{part.unit}]" if part.unit and not part.numbers else ""
        yield f"{part.name}: {part.role} of {size}{unit}"
        for index in range(len(part.numbers)):
            yield f"    {part.label(index)}"


def config(options: argparse.Namespace) -> int:
    """``planet-ros config``."""
    if options.markdown:
        print(reference_markdown(), end="")
        return 0
    values = dict(flatten(load_settings(options.config, _overrides(options)).model_dump()))
    shown = [setting for setting in schema() if setting.name.startswith(options.section)]
    if not shown:
        names = {setting.name: None for setting in schema()}
        raise UserError(
            f"no setting starts with {options.section!r}{closest(options.section, names)}"
        )
    for setting in shown:
        allowed = f"; {setting.range_text}" if setting.range_text else ""
        print(f"{setting.name} = {json.dumps(values[setting.name])}")
        print(f"    {setting.description} ({type_name(setting.type)}{allowed})")
    return 0


def interface(options: argparse.Namespace) -> int:
    """``planet-ros interface``."""
    from planet_ros.interface.files import load_interface
    from planet_ros.interface.reference import interface_markdown, summary

    if options.document is None:
        print(interface_markdown(), end="")
        return 0
    if options.markdown:
        raise UserError("--markdown: found a document too, expected one of them")
    from planet_ros.cli.experience import any_messages, first_interface

    path = Path(options.document).expanduser()
    if path.is_dir() or path.suffix in BAG_SUFFIXES:
        print(first_interface(path), end="")
        return 0
    print(summary(load_interface(options.document), any_messages()))
    return 0


def delay(options: argparse.Namespace) -> int:
    """``planet-ros delay``."""
    from planet_ros.cli.experience import delay as run

    return run(options)


def import_(options: argparse.Namespace) -> int:
    """``planet-ros import``."""
    from planet_ros.cli.datasets import import_ as run

    return run(options)


def convert(options: argparse.Namespace) -> int:
    """``planet-ros convert``."""
    from planet_ros.cli.datasets import convert as run

    return run(options)


def topics(options: argparse.Namespace) -> int:
    """``planet-ros topics``."""
    from planet_ros.cli.experience import topics as run

    return run(options)


def record(options: argparse.Namespace) -> int:
    """``planet-ros record``."""
    from planet_ros.cli.experience import record as run

    return run(options)


def policy(options: argparse.Namespace) -> int:
    """``planet-ros policy``."""
    from planet_ros.cli.policy import policy_text

    values = _overrides(options)
    if options.interface is not None:
        values["interface"] = options.interface
    print(policy_text(options.config, values, options.robot), end="")
    return 0


def demo(options: argparse.Namespace) -> int:
    """``planet-ros demo``."""
    from planet_ros.cli.demo import run_demo

    return run_demo(options)


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    values = _assignments(options.set)
    if options.env_id is not None:
        values["env_id"] = options.env_id
    return values


def _assignments(texts: list[str]) -> dict[str, Any]:
    """Parse ``NAME=VALUE``, the value by the type that the schema gives the name."""
    known = {setting.name: setting for setting in schema()}
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set: found {text!r}, expected NAME=VALUE")
        if name not in known:
            raise UserError(f"--set: {name}: unknown setting{closest(name, known)}")
        annotation = known[name].type
        values[name] = value if annotation is str else _parse(name, value, annotation)
    return values


def _parse(name: str, text: str, annotation: Any) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise UserError(
            f"--set: {name}: found {text!r}, expected {type_name(annotation)}"
        ) from None


def _json_object(option: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UserError(f"{option}: found {text!r}, expected a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{option}: found {text!r}, expected a JSON object")
    return value
