"""Commands on experience: ``import``, ``topics``, ``record``, ``delay``, a bag's interface."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from planet_ros.data import Episode, EpisodeStore, Signature
from planet_ros.data.signature import MAX_DELAY
from planet_ros.data.store import folder_of_episodes
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.messages.fields import Make, shortened

MOST_DELAY_STEPS = 20_000
"""The newest steps that a delay is estimated from."""


def import_bags(options: argparse.Namespace) -> int:
    """``planet-ros import``, of bags."""
    if options.interface is None or options.period is not None or options.reward:
        raise UserError(
            "--interface: found none, expected the document of the robot: it says what of a bag is "
            "a step (planet-ros interface BAG writes a first one)"
            if options.interface is None
            else "--period, --reward: found with bags, expected with data sets: the interface says "
            "both"
        )
    from planet_ros.data.delay import estimate_delay
    from planet_ros.datasets.importing import import_bags as run

    interface = load_interface(options.interface)
    with progress_of("messages") as progress:
        result = run(
            options.bags,
            interface,
            options.output,
            together=options.lock_step,
            namespace=options.namespace,
            judge=judge_of(interface),
            progress=progress,
        )
    episodes = EpisodeStore(options.output, capacity_steps=MOST_DELAY_STEPS).episodes
    delay = estimate_delay(episodes, compensated=interface.delay_periods)
    if options.json:
        print(json.dumps({**result.to_dict(), "delay": delay.to_dict()}))
        return 0
    for note in result.notes:
        print(f"note: {note}")
    print(f"{'messages':>9}  {'a second':>9}  topic")
    for topic, use in result.topics.items():
        print(f"{use.used:9}  {use.rate_hz:9.4g}  {topic} ({use.type})")
        for reason, count in use.dropped.most_common():
            at_s = use.first_dropped_s[reason]
            print(f"{'':22}dropped {count}, the first at {at_s:.2f} s: {shortened(reason)}")
    for reason, count in result.cuts.most_common():
        print(f"cut {count} times, first at {result.first_cut_s[reason]:.2f} s: {reason}")
    print(delay.text)
    print(
        f"{result.steps} steps in {result.episodes} episodes of {result.seconds:.1f} s, in "
        f"{options.output}"
    )
    return 0


@contextlib.contextmanager
def progress_of(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how many there are already, of all: what is given is called with both."""
    from planet_ros.training.progress import Progress

    bar: Progress | None = None
    counted = 0

    def advance(done: int, total: int) -> None:
        nonlocal bar, counted
        bar = bar or Progress(total, unit)
        bar.advance(done - counted)
        counted = done

    try:
        yield advance
    finally:
        if bar is not None:
            bar.close()


def judge_of(interface: Interface | None) -> Callable[[Episode], Episode]:
    """What functions of the document say of an episode; without any, as it is."""
    if interface is None:
        return lambda episode: episode
    if interface.reward.kind != "function" and not interface.end.function:
        return lambda episode: episode
    from planet_ros.interface.signature import signature_of
    from planet_ros.models import relabel
    from planet_ros.training.tasks import task_of

    make = any_messages()
    task = task_of(interface, signature_of(interface, make), make)
    assert task is not None
    return lambda episode: relabel(episode, task)


def topics(options: argparse.Namespace) -> int:
    """``planet-ros topics``."""
    from planet_ros.datasets.bags import Bag

    with Bag(options.bags) as bag:
        rows = []
        for topic in bag.topics.values():
            fields: list[tuple[str, str]] = []
            with contextlib.suppress(UserError):  # of a type that nobody defines
                fields = bag.make.fields(topic.type)
            rate_hz = topic.count / bag.seconds if bag.seconds > 0 else 0.0
            rows.append(
                {
                    "topic": topic.name,
                    "type": topic.type,
                    "count": topic.count,
                    "rate_hz": round(rate_hz, 3),
                    "fields": dict(fields),
                }
            )
        notes, seconds = bag.notes, bag.seconds
    if options.json:
        print(json.dumps({"seconds": round(seconds, 3), "topics": rows, "notes": notes}))
        return 0
    for note in notes:
        print(f"note: {note}")
    print(f"{seconds:.1f} s")
    print(f"{'messages':>9}  {'a second':>9}  topic")
    for row in rows:
        print(f"{row['count']:9}  {row['rate_hz']:9.4g}  {row['topic']} ({row['type']})")
        for name, kind in row["fields"].items():  # type: ignore[attr-defined]
            print(f"{'':24}{name}: {kind}")
    return 0


def first_interface(path: Path) -> str:
    """A first document for what a bag holds."""
    from planet_ros.datasets.bags import Bag
    from planet_ros.datasets.drafting import draft_interface

    with Bag([path]) as bag:
        return draft_interface(bag)


def record(options: argparse.Namespace) -> int:
    """``planet-ros record``."""
    from planet_ros.ros.recording import record as run

    if options.seconds < 0:
        raise UserError(f"--seconds: found {options.seconds:g}, expected 0 or more")
    counts = run(
        load_interface(options.interface),
        options.output,
        namespace=options.namespace,
        lock_step=options.lock_step,
        seconds=options.seconds,
        say=lambda line: print(line, file=sys.stderr),
    )
    for topic, count in counts.items():
        print(f"{count:9}  {topic}")
    print(options.output)
    return 0


def delay(options: argparse.Namespace) -> int:
    """``planet-ros delay``."""
    from planet_ros.data.delay import estimate_delay

    if not 1 <= options.most <= MAX_DELAY:
        raise UserError(f"--max: found {options.most}, expected 1 to {MAX_DELAY}")
    episodes, signature = _experience(options.experience)
    estimate = estimate_delay(
        episodes,
        parts=None if signature is None else [part.name for part in signature.parts("vector")],
        most=options.most,
        compensated=0 if signature is None else signature.delay_periods,
    )
    if options.json:
        print(json.dumps(estimate.to_dict()))
        return 0
    if estimate.lags:
        print(f"{'periods':>7}  {'explained':>9}  {'certainty':>9}")
    for lag in estimate.lags:
        print(f"{lag.periods:7}  {lag.explained:9.1%}  {lag.certainty:9.1f}")
    print(estimate.text)
    return 0


def _experience(path: Path) -> tuple[Sequence[Episode], Signature | None]:
    """The newest episodes of a run or of a folder, and the run's signature, where there is one."""
    run = path.parent if path.name == "episodes" else path
    signature = None
    if (run / "checkpoint").is_dir():
        from planet_ros.training.checkpoint import read_checkpoint

        signature = read_checkpoint(run / "checkpoint").state.signature
    episodes = EpisodeStore(folder_of_episodes(path), capacity_steps=MOST_DELAY_STEPS).episodes
    if not episodes:
        raise UserError(
            f"{path}: found no episodes that can be read, expected the folder of a run, or one of "
            "episode-NUMBER.npz"
        )
    return episodes, signature


def any_messages() -> Make:
    """What gives empty messages: of ROS's types as they are installed, or of Jazzy's without it."""
    try:
        from planet_ros.ros.types import make
    except ModuleNotFoundError:
        from planet_ros.datasets.types import BagTypes, default_types

        return BagTypes(default_types())
    return make
