"""What a bundle expects to be measured, for who watches: nothing is planned with it."""

from __future__ import annotations

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from planet_ros.bundle.graph_check import check_graph
from planet_ros.bundle.manifest import Manifest
from planet_ros.bundle.sessions import (
    FLOAT,
    LOAD_LIMIT_S,
    check_found,
    check_nodes,
    cut,
    session_of,
    within,
)
from planet_ros.errors import UserError

Array = NDArray[np.float32]

_VECTORS = ["vectors"]


class Predictor:
    """``predict.onnx``, which takes no time before it is first asked for something."""

    def __init__(self, manifest: Manifest, content: bytes, name: str) -> None:
        """Keep a graph for later.

        Args:
            manifest: Of its bundle.
            content: Of the file, with the hash that the manifest says.
            name: Of the file, for errors.
        """
        self._manifest, self._name = manifest, name
        self._content: bytes | None = content
        self._graph: onnxruntime.InferenceSession | None = None

    def __call__(self, belief: Array, actions: Array) -> Array:
        """What is expected to be measured after each action; for one thread at a time.

        Args:
            belief: (B,) to start from.
            actions: (H, A) taken from there.

        Returns:
            (H, O) all vectors of the observation, in the signature's order and units.

        Raises:
            UserError: The graph holds operators that are not allowed, cannot be loaded, has other
                inputs or outputs, takes too long, or gives numbers that are not finite for zeros.
        """
        if self._graph is None:
            content, self._content = self._content, None
            if content is None:
                raise UserError(f"{self._name}: could not be loaded before")
            check_graph(content, self._name)
            self._graph = within(
                LOAD_LIMIT_S, self._name, lambda options: self._loaded(content, options)
            )
        vectors: Array = self._graph.run(_VECTORS, {"belief": belief, "actions": actions})[0]
        return vectors

    def _loaded(
        self, content: bytes, options: onnxruntime.RunOptions
    ) -> onnxruntime.InferenceSession:
        manifest, signature = self._manifest, self._manifest.signature
        rows, name = manifest.horizon, self._name
        inputs = {"belief": ([manifest.belief_size], FLOAT)}
        inputs["actions"] = ([rows, signature.actions], FLOAT)
        shape = (rows, signature.vector_size)
        graph = session_of(content, name)
        check_nodes(graph.get_inputs(), f"{name}: input", inputs)
        check_nodes(
            graph.get_outputs(),
            f"{name}: output",
            {"vectors": (list(shape), FLOAT)},
            required=("vectors",),
        )
        belief = np.zeros(manifest.belief_size, np.float32)
        actions = np.tile(signature.middle, (rows, 1))
        try:
            found = graph.run(_VECTORS, {"belief": belief, "actions": actions}, options)[0]
        except Exception as error:
            raise UserError(f"{name}: the graph does not run: {cut(error)}") from None
        check_found(found, shape, f"{name}: vectors")
        return graph
