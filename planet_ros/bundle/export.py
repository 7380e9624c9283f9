"""From a model in torch to a bundle on disk."""

from __future__ import annotations

import copy
import hashlib
import io
import platform
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from planet_ros.bundle.graph_check import check_graph
from planet_ros.bundle.manifest import GOAL, MANIFEST_FILE, Graph, Manifest
from planet_ros.errors import UserError
from planet_ros.files import folder_written_whole
from planet_ros.models import WorldModel

OPSET = 17
"""Understood by onnxruntime from 1.13 on, older than any that the robot may have."""


class BundleExporter:
    """Writes bundles of one model: its graphs are traced once, later exports replace weights."""

    def __init__(self, model: WorldModel, horizon: int) -> None:
        """Trace the graphs.

        Args:
            model: The model, whose weights are read anew at each `export`.
            horizon: Steps that ``imagine.onnx`` and ``predict.onnx`` look ahead.

        Raises:
            UserError: A graph is not self-contained, or has an operator that a bundle may not, or
                that ONNX does not know.
        """
        self._model = model
        traced = _with_values_of_their_own(model)
        signature = model.signature
        action = torch.zeros(signature.actions)
        belief = torch.zeros(model.belief_size)
        zeros = {name: torch.from_numpy(value) for name, value in signature.zeros().items()}
        parts = {part.name: zeros[part.name] for part in signature.seen}
        goal = {} if signature.goal is None else {GOAL: zeros[signature.goal.name]}
        # Two candidates: one would let the tracer take N for a constant.
        actions = torch.zeros(2, horizon, signature.actions)
        with torch.no_grad():
            imagined = traced.imagine(belief, actions, *goal.values())._asdict()
            expects = traced.predict(belief, actions[0]) is not None
        predicted = [name for name, value in imagined.items() if value is not None]
        self._graphs = {
            "observe": _trace(
                _Observe(traced, list(parts)),
                {"belief": belief, "action": action, **parts},
                outputs={"next_belief": ()},
            ),
            "imagine": _trace(
                _Imagine(traced),
                {"belief": belief, "actions": actions, **goal},
                outputs=dict.fromkeys(predicted, (0,)),
                dynamic={"actions": (0,)},
            ),
        }
        if expects:
            self._graphs["predict"] = _trace(
                _Predict(traced),
                {"belief": belief, "actions": actions[0]},
                outputs={"vectors": ()},
            )
        for name, graph in self._graphs.items():
            check_graph(graph.SerializeToString(), f"{name}.onnx")

    def export(self, path: Path, about: Mapping[str, Any]) -> None:
        """Write the model with its present weights; `path` is replaced whole or not at all.

        Args:
            path: Folder of the bundle.
            about: The fields of `Manifest` besides those of the graphs.

        Raises:
            UserError: A field is missing or wrong, or a graph is too large.
        """
        weights = self._model.state_dict()
        with folder_written_whole(path) as folder:
            graphs = {}
            for name, graph in self._graphs.items():
                _replace_weights(graph, weights)
                content = graph.SerializeToString()
                file = f"{name}.onnx"
                (folder / file).write_bytes(content)
                graphs[name] = Graph(
                    file=file, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)
                )
            manifest = Manifest.of(
                {
                    **about,
                    "requires": [
                        *([] if self._model.signature.goal is None else [GOAL]),
                        *([] if about.get("interface") is None else ["interface"]),
                    ],
                    "planner": _resolved(about["planner"]),
                    "belief_size": self._model.belief_size,
                    "graphs": graphs,
                    "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                    "software": {
                        "python": platform.python_version(),
                        "torch": torch.__version__,
                        "onnx": onnx.__version__,
                        "numpy": np.__version__,
                    },
                },
                str(path / MANIFEST_FILE),
            )
            (folder / MANIFEST_FILE).write_bytes(manifest.to_json())


def _resolved(planner: Any) -> Any:
    """Planner settings with numbers in place of what is chosen automatically.

    A reader without planet_ros has to know how many elites there are.
    """
    own = getattr(planner, "own", None)
    if own is None:
        return planner
    return {**planner.model_dump(), "elites": own().elites}


def _with_values_of_their_own(model: WorldModel) -> WorldModel:
    """A copy in which no two weights are equal.

    The exporter keeps one of several equal tensors and lets it stand for the others: whatever is
    still at its first value, such as a scale of 1, would afterwards be replaced together.
    """
    copied = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*copied.parameters(), *copied.buffers()):
            tensor.uniform_(0.5, 1.5, generator=generator)
    return copied


class _Observe(nn.Module):
    """`WorldModel.observe` as a module, which is what torch exports."""

    def __init__(self, model: WorldModel, parts: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self._parts = parts

    def forward(self, belief: Tensor, action: Tensor, *parts: Tensor) -> Tensor:
        observation = dict(zip(self._parts, parts, strict=True))
        # The ensemble's belief is the observation alone: the sum keeps the other inputs in the
        # graph, whose interface is the same for every kind of model.
        unused = 0 * (belief.sum() + action.sum())
        return self.model.observe(belief, action, observation) + unused


class _Imagine(nn.Module):
    """`WorldModel.imagine` likewise; what is not predicted is no output."""

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, belief: Tensor, actions: Tensor, goal: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        imagined = self.model.imagine(belief, actions, goal)
        if goal is not None:  # an input of the graph, whether or not the task looks at it
            imagined = imagined._replace(rewards=imagined.rewards + 0 * goal.sum())
        return tuple(value for value in imagined if value is not None)


class _Predict(nn.Module):
    """`WorldModel.predict` likewise."""

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, belief: Tensor, actions: Tensor) -> Tensor:
        vectors = self.model.predict(belief, actions)
        assert vectors is not None  # it was asked before
        return vectors + 0 * (belief.sum() + actions.sum())


def _trace(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Mapping[str, tuple[int, ...]],
    dynamic: Mapping[str, tuple[int, ...]] | None = None,
) -> onnx.ModelProto:
    """Trace a module, with the dimensions in `dynamic` and `outputs` left open."""
    axes = {**(dynamic or {}), **{name: open_ for name, open_ in outputs.items() if open_}}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that torch now prefers (dynamo=True) gives the same numbers but takes ten
        # seconds for a graph that this one traces in one; torch is pinned in setup.py.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                module,
                tuple(inputs.values()),
                buffer,  # type: ignore[arg-type]  # a file object will do, say its docs
                dynamo=False,
                opset_version=OPSET,
                # Folding would melt weights into constants that `_replace_weights` cannot find.
                do_constant_folding=False,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes={name: dict.fromkeys(dims, "N") for name, dims in axes.items()},
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise UserError(
                f"the graph that gives {', '.join(outputs)} cannot be exported: {error}; a task's "
                f"functions take operations that ONNX has in opset {OPSET}"
            ) from error
    return onnx.load_from_string(buffer.getvalue())


def _replace_weights(graph: onnx.ModelProto, weights: Mapping[str, Tensor]) -> None:
    """Set every weight in the graph to the model's; `weights` is its ``state_dict``."""
    for initializer in graph.graph.initializer:
        name = initializer.name.removeprefix("model.")
        if name not in weights:
            raise RuntimeError(
                f"the traced graph holds {initializer.name}, which is not a weight of the model: "
                "compute it from inputs, or register it as a buffer"
            )
        value = weights[name].detach().cpu().numpy()
        initializer.CopyFrom(numpy_helper.from_array(value, initializer.name))
