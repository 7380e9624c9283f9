"""A bundle at work: checked, loaded and run by onnxruntime, without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from planet_ros.bundle.manifest import MANIFEST_FILE, VECTOR_PART, Graph, Manifest
from planet_ros.errors import UserError

Array = NDArray[np.float32]
Images = Mapping[str, NDArray[np.uint8]]

NO_IMAGES: Images = MappingProxyType({})

_ELEMENTS = {"float32": "tensor(float)", "uint8": "tensor(uint8)"}


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    Attributes:
        path: Folder it was read from.
        digest: SHA-256 of its manifest, which names the bundle.
        manifest: What it says about itself.
        model: Its graphs, ready to run.
    """

    path: Path
    digest: str
    manifest: Manifest
    model: OnnxWorldModel


class OnnxWorldModel:
    """The world-model contract in numpy; `planet_ros.models.WorldModel` gives the meanings."""

    def __init__(self, manifest: Manifest, observe: bytes, imagine: bytes, name: str) -> None:
        """Make the sessions and check the graphs' interfaces.

        Raises:
            UserError: A graph cannot be loaded or its inputs and outputs are not the manifest's.
        """
        self.belief_size = manifest.belief_size
        belief, actions = [manifest.belief_size], len(manifest.action)
        parts = {part.name: part.shape for part in manifest.observation}
        rows = ["N", manifest.horizon]
        self._takes_vector = VECTOR_PART in parts
        self._observe = _session(
            observe,
            f"{name}/{manifest.graphs['observe'].file}",
            {"belief": belief, "action": [actions], **parts},
            {"next_belief": belief},
            {part.name: _ELEMENTS[part.dtype] for part in manifest.observation},
        )
        self._imagine = _session(
            imagine,
            f"{name}/{manifest.graphs['imagine'].file}",
            {"belief": belief, "actions": [*rows, actions]},
            {"rewards": rows, "continues": rows, "disagreement": rows},
        )

    def initial_belief(self) -> Array:
        """Belief (B,) before anything was seen."""
        return np.zeros(self.belief_size, dtype=np.float32)

    def observe(
        self, belief: Array, action: Array, observation: Array, images: Images = NO_IMAGES
    ) -> Array:
        """Belief (B,) after taking `action` (A,) and then seeing `observation` (O,) and images."""
        inputs = {"belief": belief, "action": action, **images}
        if self._takes_vector:
            inputs[VECTOR_PART] = observation
        return self._observe.run(None, inputs)[0]

    def imagine(self, belief: Array, actions: Array) -> tuple[Array, Array, Array]:
        """Rewards, continues and disagreement (N, H) of candidates `actions` (N, H, A)."""
        rewards, continues, disagreement = self._imagine.run(
            None, {"belief": belief, "actions": actions}
        )
        return rewards, continues, disagreement


def load_bundle(path: Path | str) -> Bundle:
    """Read, check and warm up a bundle.

    Raises:
        UserError: The folder or a file is missing, was cut short or altered, is of another
            version, does not agree with the manifest, or gives numbers that are not finite. The
            text names the file and the field, what was found and what was expected.
    """
    path = Path(path)
    manifest, digest, observe, imagine = _read(path)
    model = OnnxWorldModel(manifest, observe, imagine, str(path))
    _warm_up(model, manifest, path)
    return Bundle(path=path, digest=digest, manifest=manifest, model=model)


def _read(path: Path) -> tuple[Manifest, str, bytes, bytes]:
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise UserError(f"{path}: found {found}, expected the folder of a bundle")
    content = _read_file(path / MANIFEST_FILE)
    try:
        manifest = Manifest.from_json(content, str(path / MANIFEST_FILE))
        observe = _read_graph(path, manifest.graphs["observe"])
        imagine = _read_graph(path, manifest.graphs["imagine"])
    except UserError:
        # A new bundle may have taken the folder's place between two reads.
        if _read_file(path / MANIFEST_FILE) != content:
            return _read(path)
        raise
    return manifest, hashlib.sha256(content).hexdigest(), observe, imagine


def _read_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None


def _read_graph(path: Path, graph: Graph) -> bytes:
    if Path(graph.file).name != graph.file:
        raise UserError(
            f"{path / MANIFEST_FILE}: graphs: found file {graph.file!r}, expected a name in the "
            "bundle's own folder"
        )
    content = _read_file(path / graph.file)
    if len(content) != graph.bytes:
        raise UserError(
            f"{path / graph.file}: found {len(content)} bytes, expected {graph.bytes} as "
            f"{MANIFEST_FILE} says: the file was cut short or replaced; copy the bundle again"
        )
    digest = hashlib.sha256(content).hexdigest()
    if digest != graph.sha256:
        raise UserError(
            f"{path / graph.file}: found SHA-256 {digest}, expected {graph.sha256} as "
            f"{MANIFEST_FILE} says: the file was altered; copy the bundle again"
        )
    return content


def _session(
    content: bytes,
    name: str,
    inputs: dict[str, list],
    outputs: dict[str, list],
    elements: Mapping[str, str] = MappingProxyType({}),
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One thread that sleeps when idle: on small products more threads are slower, and spinning
    # takes the processor from the rest of the robot (docs/performance.md).
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class
        raise UserError(f"{name}: onnxruntime cannot load it: {error}") from None
    for kind, found_nodes, expected in (
        ("input", session.get_inputs(), inputs),
        ("output", session.get_outputs(), outputs),
    ):
        found = {node.name: (node.type, list(node.shape)) for node in found_nodes}
        if set(found) != set(expected):
            raise UserError(f"{name}: {kind}s: found {sorted(found)}, expected {sorted(expected)}")
        for field, shape in expected.items():
            element, actual = found[field]
            wanted = elements.get(field, _ELEMENTS["float32"])
            fits = len(actual) == len(shape) and all(
                isinstance(want, str) or not isinstance(have, int) or have == want
                for have, want in zip(actual, shape, strict=True)
            )
            if element != wanted or not fits:
                raise UserError(
                    f"{name}: {kind} {field}: found {element} {actual}, expected {wanted} {shape}"
                )
    return session


def _warm_up(model: OnnxWorldModel, manifest: Manifest, path: Path) -> None:
    """Run both graphs once, so that the first tick is as fast as the others."""
    action = ((manifest.low + manifest.high) / 2).astype(np.float32)
    observation = np.zeros(manifest.observation_size, dtype=np.float32)
    images = {name: np.zeros(shape, np.uint8) for name, shape in manifest.images.items()}
    candidates = np.broadcast_to(
        action, (manifest.planner.candidates, manifest.horizon, len(action))
    )
    try:
        belief = model.observe(model.initial_belief(), action, observation, images)
        results = (belief, *model.imagine(belief, np.ascontiguousarray(candidates)))
    except Exception as error:
        raise UserError(f"{path}: the graphs do not run: {error}") from None
    expected = (manifest.planner.candidates, manifest.horizon)
    for name, value in zip(
        ("belief", "rewards", "continues", "disagreement"), results, strict=True
    ):
        shape = (manifest.belief_size,) if name == "belief" else expected
        if value.shape != shape:
            raise UserError(f"{path}: {name}: found shape {value.shape}, expected {shape}")
        if not np.isfinite(value).all():
            raise UserError(f"{path}: {name}: found values that are not finite for zeros as input")
