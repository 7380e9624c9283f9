"""``planet-ros import``, ``topics``, ``record`` and the first interface of a bag."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from planet_ros.data import Episode, EpisodeStore
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface
from planet_ros.interface.files import load_interface
from planet_ros.messages.fields import Make, shortened

MOST_DELAY_STEPS = 20_000


def import_bags(options: argparse.Namespace) -> int:
    """``planet-ros import``."""
    from planet_ros.data.delay import estimate_delay
    from planet_ros.datasets.importing import import_bags as run
    from planet_ros.training.progress import Progress

    interface = load_interface(options.interface)
    bar: Progress | None = None
    counted = 0

    def advance(done: int, total: int) -> None:
        nonlocal bar, counted
        bar = bar or Progress(total, "messages")
        bar.advance(done - counted)
        counted = done

    try:
        result = run(
            options.bags,
            interface,
            options.output,
            together=options.lock_step,
            namespace=options.namespace,
            judge=_judge(interface),
            progress=advance,
        )
    finally:
        if bar is not None:
            bar.close()
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


def _judge(interface: Interface) -> Callable[[Episode], Episode]:
    """What functions of the document say of an episode; without any, as it is."""
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


def any_messages() -> Make:
    """What gives empty messages: of ROS's types as they are installed, or of Jazzy's without it."""
    try:
        from planet_ros.ros.types import make
    except ModuleNotFoundError:
        from planet_ros.datasets.types import BagTypes, default_types

        return BagTypes(default_types(), default_types())
    return make
