"""Graphs in onnxruntime: made in bounded time, and looked at before they are used."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from planet_ros.errors import UserError

Array = NDArray[np.float32]
T = TypeVar("T")

LOAD_LIMIT_S = 10.0
"""For making the sessions and running the graphs once, which takes some 20 ms."""

ELEMENTS = {"float32": "tensor(float)", "uint8": "tensor(uint8)"}
FLOAT = ELEMENTS["float32"]


def within(seconds: float, name: str, work: Callable[[onnxruntime.RunOptions], T]) -> T:
    """Do something with graphs on a thread, and wait for it no longer than some time.

    A run ends after the operator that it is at when the time is up. What does not end then (one
    huge operator, or a session that is still being made, which computes whatever does not depend
    on the inputs) is left behind: it takes a processor until it is through, but nobody waits.

    Raises:
        UserError: It took longer.
    """
    options = onnxruntime.RunOptions()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(options))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="bundle", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        options.terminate = True
        thread.join(seconds / 10)
        raise UserError(
            f"{name}: the graphs were not through after {seconds:g} s, expected a small part of "
            "the control period; export a smaller model, or plan with fewer candidates"
        )
    if errors:
        raise errors[0]
    return results[0]


def session_of(content: bytes, name: str) -> onnxruntime.InferenceSession:
    """Make a session of a graph, on the processor and with one thread.

    Args:
        content: Of the file.
        name: Of the file, for the error.

    Raises:
        UserError: onnxruntime cannot load it.
    """
    options = onnxruntime.SessionOptions()
    # One thread that sleeps when idle: on small products more threads are slower, and spinning
    # takes the processor from the rest of the robot (docs/performance.md).
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Not onnxruntime's own format, which `check_graph` does not read.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 4  # what is wrong is in the exception
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class
        raise UserError(f"{name}: onnxruntime cannot load it: {cut(error)}") from None


def check_nodes(
    nodes: list[Any],
    where: str,
    expected: dict[str, tuple[list[Any], str]],
    required: tuple[str, ...] | None = None,
) -> list[str]:
    """See that a graph's inputs or outputs have their shapes and types.

    Args:
        nodes: What the graph has.
        where: File and kind, for the error.
        expected: Shape, in which a text is a dimension left open, and type by name.
        required: Names that must be there, and others may be; None: exactly the expected ones.

    Returns:
        The names, of the expected ones, that are there.

    Raises:
        UserError: A name is missing or one too many, or a shape or a type is another.
    """
    found = {node.name: (node.type, list(node.shape)) for node in nodes}
    wrong = set(found) ^ set(expected) if required is None else set(required) - set(found)
    if wrong:
        raise UserError(
            f"{where}s: found {cut(sorted(found))}, expected {cut(list(required or expected))}"
        )
    there = [name for name in expected if name in found]
    for name in there:
        (shape, element), (kind, actual) = expected[name], found[name]
        fits = len(actual) == len(shape) and all(
            _fits(have, want, exact=required is None)
            for have, want in zip(actual, shape, strict=True)
        )
        if kind != element or not fits:
            raise UserError(f"{where} {name}: found {kind} {actual}, expected {element} {shape}")
    return there


def _fits(have: Any, want: int | str, exact: bool) -> bool:
    """Whether a dimension is the one that is wanted, or left open where a text is.

    Of an output a graph need not say how large it is: that is looked at when it has run.
    """
    if isinstance(want, str):
        return not (exact and isinstance(have, int))
    return have == want or not (exact or isinstance(have, int))


def check_found(value: Array, shape: tuple[int, ...], where: str) -> None:
    """See that what a graph gave has its shape, and is finite.

    Raises:
        UserError: It is not.
    """
    if value.shape != shape:
        raise UserError(f"{where}: found shape {value.shape}, expected {shape}")
    if not np.isfinite(value).all():
        raise UserError(f"{where}: found values that are not finite for zeros as input")


def cut(value: object) -> str:
    """A text for an error, which may be of any length."""
    text = str(value)
    return text if len(text) <= 500 else f"{text[:500]}…"
