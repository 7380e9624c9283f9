"""A bundle at work: checked, loaded and run by onnxruntime, without torch."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from planet_ros.bundle.graph_check import MAX_GRAPH_BYTES, check_graph
from planet_ros.bundle.manifest import GOAL, MANIFEST_FILE, MAX_MANIFEST_BYTES, Graph, Manifest
from planet_ros.bundle.predictor import Predictor
from planet_ros.bundle.sessions import (
    ELEMENTS,
    FLOAT,
    LOAD_LIMIT_S,
    check_found,
    check_nodes,
    cut,
    session_of,
    within,
)
from planet_ros.data import Parts
from planet_ros.errors import UserError

Array = NDArray[np.float32]

_MOST_READINGS = 100
"""Of a bundle that is replaced by another each time, before the reader gives up."""


class Rollouts(NamedTuple):
    """What a model expects of candidates; what it does not predict is None.

    Attributes:
        rewards: (N, H) in the environment's units.
        continues: (N, H) probability, 0 to 1, that the episode goes on after each step; None: it
            always does.
        disagreement: (N, H) in the reward's units, at least 0; None: there is nobody to disagree.
    """

    rewards: Array
    continues: Array | None = None
    disagreement: Array | None = None


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    Attributes:
        path: Folder it was read from.
        digest: SHA-256 of its manifest, which names the bundle.
        manifest: What it says about itself.
        model: Its graphs, ready to run.
        predict: What it expects to be measured, for who watches; None: it does not say.
    """

    path: Path
    digest: str
    manifest: Manifest
    model: OnnxWorldModel
    predict: Predictor | None = None


class OnnxWorldModel:
    """The world-model contract in numpy; `planet_ros.models.WorldModel` gives the meanings."""

    def __init__(
        self,
        manifest: Manifest,
        observe: onnxruntime.InferenceSession,
        imagine: onnxruntime.InferenceSession,
        name: str,
    ) -> None:
        """Check the graphs' interfaces.

        Raises:
            UserError: A graph's inputs and outputs are not the manifest's.
        """
        self.belief_size = manifest.belief_size
        belief, actions = ([manifest.belief_size], FLOAT), manifest.signature.actions
        rows = ["N", manifest.horizon]
        self._observe, self._imagine = observe, imagine
        observe_name = f"{name}/{manifest.graphs['observe'].file}"
        imagine_name = f"{name}/{manifest.graphs['imagine'].file}"
        parts = {
            part.name: (list(part.shape), ELEMENTS[part.dtype]) for part in manifest.signature.seen
        }
        goal = manifest.signature.goal
        self._takes_goal = goal is not None
        wanted = {} if goal is None else {GOAL: (list(goal.shape), FLOAT)}
        check_nodes(
            observe.get_inputs(),
            f"{observe_name}: input",
            {"belief": belief, "action": ([actions], FLOAT), **parts},
        )
        check_nodes(
            observe.get_outputs(),
            f"{observe_name}: output",
            {"next_belief": belief},
            required=("next_belief",),
        )
        check_nodes(
            imagine.get_inputs(),
            f"{imagine_name}: input",
            {"belief": belief, "actions": ([*rows, actions], FLOAT), **wanted},
        )
        self._predicted = check_nodes(
            imagine.get_outputs(),
            f"{imagine_name}: output",
            dict.fromkeys(Rollouts._fields, (rows, FLOAT)),
            required=("rewards",),
        )

    def initial_belief(self) -> Array:
        """Belief (B,) before anything was seen."""
        return np.zeros(self.belief_size, dtype=np.float32)

    def observe(
        self,
        belief: Array,
        action: Array,
        observation: Parts,
        options: onnxruntime.RunOptions | None = None,
    ) -> Array:
        """Belief (B,) after taking `action` (A,) and then seeing all parts but the goal."""
        inputs = {"belief": belief, "action": action, **observation}
        return self._observe.run(_NEXT_BELIEF, inputs, options)[0]

    def imagine(
        self,
        belief: Array,
        actions: Array,
        goal: Array | None = None,
        options: onnxruntime.RunOptions | None = None,
    ) -> Rollouts:
        """What candidates `actions` (N, H, A) bring, for a goal (G,) where there is one."""
        inputs = {"belief": belief, "actions": actions}
        if self._takes_goal and goal is not None:
            inputs[GOAL] = goal
        values = self._imagine.run(self._predicted, inputs, options)
        return Rollouts(**dict(zip(self._predicted, values, strict=True)))


_NEXT_BELIEF = ["next_belief"]


def load_bundle(path: Path | str, digest: str | None = None) -> Bundle:
    """Read, check and warm up a bundle, in bounded time and memory.

    Args:
        path: Its folder.
        digest: SHA-256 of its manifest as it was announced; None: whichever is found.

    Raises:
        UserError: The folder or a file is missing, was cut short or altered, is of another
            version, does not agree with the manifest, is not the one that was announced, holds
            operators that are not allowed, takes too long, or gives numbers that are not finite.
            The text names the file and the field, what was found and what was expected.
    """
    path = Path(path)
    content, manifest, graphs = read_files(path, digest)
    name = _printable(path)
    for graph in ("observe", "imagine"):
        check_graph(graphs[graph], f"{name}/{manifest.graphs[graph].file}")
    predict = None
    if "predict" in graphs and manifest.signature.vector_size:
        file = f"{name}/{manifest.graphs['predict'].file}"
        predict = Predictor(manifest, graphs["predict"], file)
    model = within(LOAD_LIMIT_S, name, lambda options: _loaded(manifest, graphs, name, options))
    digest = hashlib.sha256(content).hexdigest()
    return Bundle(path=path, digest=digest, manifest=manifest, model=model, predict=predict)


# ── files ────────────────────────────────────────────────────────────────────────────────────


def read_files(path: Path, digest: str | None) -> tuple[bytes, Manifest, dict[str, bytes]]:
    """The manifest, as it stands and parsed, and the graphs that belong to it, by name.

    Raises:
        UserError: A file is missing, too large, or does not agree with the manifest, or that has
            another SHA-256 than `digest`.
    """
    name = _printable(path)
    try:
        found = None if path.is_dir() else "a file" if path.exists() else "nothing"
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}") from None
    if found is not None:
        raise UserError(f"{name}: found {found}, expected the folder of a bundle")
    file = path / MANIFEST_FILE
    content = _read_file(file, MAX_MANIFEST_BYTES)
    for _ in range(_MOST_READINGS):
        try:
            _check_announced(content, digest, _printable(file))
            manifest = Manifest.from_json(content, _printable(file))
            return (
                content,
                manifest,
                {graph: _read_graph(path, about) for graph, about in manifest.graphs.items()},
            )
        except UserError:
            # A new bundle may have taken the folder's place between two reads.
            before, content = content, _read_file(file, MAX_MANIFEST_BYTES)
            if content == before:
                raise
    raise UserError(f"{name}: was replaced {_MOST_READINGS} times while it was read; try again")


def _check_announced(content: bytes, digest: str | None, name: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if digest is not None and found != digest:
        raise UserError(
            f"{name}: found SHA-256 {found}, expected {digest[:64]!r} as announced: it was "
            "replaced or altered since; announce the bundle that is there"
        )


def _read_file(file: Path, limit: int) -> bytes:
    """The content of a regular file; anything that one might wait for is not opened or read."""
    try:
        # What a device does when it is opened is its own affair: look before, and once more after.
        _check_regular(os.stat(file), file, limit)
        with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            _check_regular(os.fstat(opened.fileno()), file, limit)
            content = opened.read(limit + 1)
    except OSError as error:
        raise UserError(f"{_printable(file)}: cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise UserError(f"{_printable(file)}: grows while it is read; copy the bundle again")
    return content


def _check_regular(status: os.stat_result, file: Path, limit: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{_printable(file)}: cannot be read: found no regular file")
    if status.st_size > limit:
        raise UserError(
            f"{_printable(file)}: found {status.st_size} bytes, expected at most {limit}"
        )


def check_graph_name(file: str, where: str) -> None:
    """See that a graph's file is one in the bundle's own folder.

    Raises:
        UserError: It is none.
    """
    if Path(file).name != file or file in ("", "..") or "\0" in file:
        raise UserError(
            f"{where}: graphs: found file {file[:200]!r}, expected a name in the bundle's own "
            "folder"
        )


def _read_graph(path: Path, graph: Graph) -> bytes:
    check_graph_name(graph.file, _printable(path / MANIFEST_FILE))
    content = _read_file(path / graph.file, MAX_GRAPH_BYTES)
    if len(content) != graph.bytes:
        raise UserError(
            f"{_printable(path / graph.file)}: found {len(content)} bytes, expected {graph.bytes} "
            f"as {MANIFEST_FILE} says: the file was cut short or replaced; copy the bundle again"
        )
    digest = hashlib.sha256(content).hexdigest()
    if digest != graph.sha256:
        raise UserError(
            f"{_printable(path / graph.file)}: found SHA-256 {digest}, expected "
            f"{graph.sha256[:64]} as {MANIFEST_FILE} says: the file was altered; copy the bundle "
            "again"
        )
    return content


def _printable(path: Path) -> str:
    """The path's text; a name that is no UTF-8 would fail wherever it is written to."""
    return str(path).encode("utf-8", "backslashreplace").decode()


# ── graphs ───────────────────────────────────────────────────────────────────────────────────


def _loaded(
    manifest: Manifest, graphs: dict[str, bytes], name: str, options: onnxruntime.RunOptions
) -> OnnxWorldModel:
    observe, imagine = (
        session_of(graphs[graph], f"{name}/{manifest.graphs[graph].file}")
        for graph in ("observe", "imagine")
    )
    model = OnnxWorldModel(manifest, observe, imagine, name)
    _warm_up(model, manifest, name, options)
    return model


def _warm_up(
    model: OnnxWorldModel, manifest: Manifest, name: str, options: onnxruntime.RunOptions
) -> None:
    """Run both graphs once, so that the first tick is as fast as the others."""
    signature, candidates = manifest.signature, manifest.planner.candidates
    actions = np.empty((candidates, manifest.horizon, signature.actions), np.float32)
    actions[:] = signature.middle
    try:
        seen, goal = signature.split(signature.zeros())
        belief = model.observe(model.initial_belief(), signature.middle, seen, options)
        rollouts = model.imagine(belief, actions, goal, options)
    except Exception as error:
        raise UserError(f"{name}: the graphs do not run: {cut(error)}") from None
    for field, value in {"belief": belief, **rollouts._asdict()}.items():
        if value is None:
            continue
        shape = (model.belief_size,) if field == "belief" else actions.shape[:2]
        check_found(value, shape, f"{name}: {field}")
