"""Time to hand a model over: tracing its graphs once, exporting new weights, loading the bundle.

python benchmarks/export.py
python benchmarks/export.py --dynamo
"""

from __future__ import annotations

import argparse
import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from planning import (
    CONFIGS,
    about,
    bundle_of,
    interleaved,
    print_machine,
    print_table,
    untrained_model,
)

from planet_ros.bundle.export import BundleExporter, _Imagine
from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import load_settings
from planet_ros.models import WorldModel


def main() -> None:
    options = _options()
    settings = load_settings(options.config)
    with tempfile.TemporaryDirectory() as folder:
        model, horizon = untrained_model(settings), settings.planner.horizon
        bundle = bundle_of(model, settings, Path(folder) / "model")
        fields = about(model, settings)
        exporter = BundleExporter(model, horizon)
        cases: dict[str, Callable[[], object]] = {
            "trace the graphs": lambda: BundleExporter(model, horizon),
            "write a bundle with new weights": lambda: exporter.export(bundle.path, fields),
            "read, check and warm it up": lambda: load_bundle(bundle.path),
        }
        if options.dynamo:
            cases["trace imagine with dynamo=True"] = lambda: trace_with_dynamo(model, horizon)
        times = interleaved(cases, options.seconds)
    print_machine()
    print_table(f"{options.config.name}, horizon {horizon}", times, "write")


def trace_with_dynamo(model: WorldModel, horizon: int) -> None:
    """What torch's newer exporter needs for the same graph."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it says what is not installed
    inputs = torch.zeros(model.belief_size), torch.zeros(2, horizon, model.signature.actions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Imagine(model),
            inputs,
            io.BytesIO(),  # type: ignore[arg-type]
            dynamo=True,
            verbose=False,
            dynamic_shapes={"belief": None, "actions": {0: torch.export.Dim("N")}},
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=CONFIGS / "pendulum.yaml",
        help="settings of the model (default: config/pendulum.yaml)",
    )
    parser.add_argument("--dynamo", action="store_true", help="time the newer exporter too")
    parser.add_argument("--seconds", type=float, default=20.0, help="in all (default: 20)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
