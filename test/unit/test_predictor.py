"""``predict.onnx``: a bundle may have it, and it costs nothing before it is asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from batches import floats, signature_of
from onnx import TensorProto, helper

from planet_ros.bundle import predictor
from planet_ros.bundle.export import OPSET, BundleExporter
from planet_ros.bundle.runtime import load_bundle
from planet_ros.config import PlannerSettings, RssmSettings, WorldModelSettings
from planet_ros.data import Signature
from planet_ros.errors import UserError
from planet_ros.models import Ensemble, Rssm, WorldModel

HORIZON = 4
SIGNATURE = signature_of(3, floats([-2, 0]), floats([2, 10]))
BELIEF, ACTIONS = floats([1, 2, 3]), np.full((HORIZON, 2), 0.5, np.float32)


def export(model: WorldModel, signature: Signature, path: Path) -> Path:
    about = {
        "model_kind": "any",
        "horizon": HORIZON,
        "signature": signature,
        "planner": PlannerSettings(horizon=HORIZON),
    }
    BundleExporter(model, HORIZON).export(path, about)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = Ensemble(SIGNATURE, WorldModelSettings(members=2, hidden_sizes=[8]))
    return export(model, SIGNATURE, tmp_path / "model")


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Another manifest, with a hash that agrees."""
    file = folder / "manifest.json"
    document = json.loads(file.read_text())
    change(document)
    document["manifest_sha256"] = "0" * 64
    document["manifest_sha256"] = hashlib.sha256(json.dumps(document).encode()).hexdigest()
    file.write_text(json.dumps(document))


def rewrite(folder: Path, content: bytes) -> None:
    (folder / "predict.onnx").write_bytes(content)
    about = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit(folder, lambda document: document["graphs"]["predict"].update(about))


def graph(*nodes: onnx.NodeProto, shape: tuple[int, int] = (HORIZON, 3)) -> bytes:
    """One whose vectors nodes compute."""
    model = helper.make_model(
        helper.make_graph(
            list(nodes),
            "predict",
            [
                helper.make_tensor_value_info("belief", TensorProto.FLOAT, [3]),
                helper.make_tensor_value_info("actions", TensorProto.FLOAT, [HORIZON, 2]),
            ],
            [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, shape)],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    return bytes(model.SerializeToString())


def test_it_is_loaded_when_it_is_first_asked_and_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    session_of = predictor.session_of

    def counted(content: bytes, name: str) -> Any:
        loaded.append(name)
        return session_of(content, name)

    monkeypatch.setattr(predictor, "session_of", counted)
    bundle = load_bundle(folder)
    assert bundle.predict is not None and not loaded
    first, second = bundle.predict(BELIEF, ACTIONS), bundle.predict(BELIEF, ACTIONS)
    assert loaded == [f"{folder}/predict.onnx"]
    assert first.shape == (HORIZON, 3) and first.dtype == np.float32
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, bundle.predict(BELIEF + 1, ACTIONS))
    assert not np.array_equal(first, bundle.predict(BELIEF, ACTIONS + 1))


def test_a_bundle_without_it_loads_as_before(folder: Path) -> None:
    (folder / "predict.onnx").unlink()
    edit(folder, lambda document: document["graphs"].pop("predict"))
    bundle = load_bundle(folder)
    assert bundle.predict is None
    assert bundle.model.imagine(BELIEF, ACTIONS[None]).rewards.shape == (1, HORIZON)


def test_who_sees_images_alone_has_none(tmp_path: Path) -> None:
    signature = signature_of({}, floats([-2, 0]), floats([2, 10]), {"camera": (4, 5, 3)})
    sizes = {"deterministic_size": 7, "stochastic_size": 4, "hidden_size": 9}
    model = Rssm(signature, RssmSettings(**sizes, image_hidden_size=11), False)
    folder = export(model, signature, tmp_path / "model")
    assert not (folder / "predict.onnx").exists()
    assert load_bundle(folder).predict is None


def test_a_file_that_was_altered_is_refused_with_the_bundle(folder: Path) -> None:
    file = folder / "predict.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"predict\.onnx: found SHA-256 .*the file was altered"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            graph(helper.make_node("Identity", ["actions"], ["vectors"]), shape=(HORIZON, 2)),
            r"output vectors: found .*4, 2.* expected .*4, 3",
        ),
        (graph(helper.make_node("Identity", ["wishes"], ["vectors"])), "cannot load it"),
        (graph(helper.make_node("Loop", ["a", "b"], ["vectors"])), "found the operator 'Loop'"),
        (
            graph(
                helper.make_node("Constant", [], ["shape"], value_ints=[HORIZON, 3]),
                helper.make_node("Log", ["belief"], ["infinite"]),
                helper.make_node("Expand", ["infinite", "shape"], ["vectors"]),
            ),
            "not finite for zeros",
        ),
        (b"no graph", "is not an ONNX file"),
    ],
)
def test_one_that_cannot_be_used_costs_no_more_than_itself(
    folder: Path, content: bytes, reason: str
) -> None:
    rewrite(folder, content)
    bundle = load_bundle(folder)
    assert bundle.model.imagine(BELIEF, ACTIONS[None]).rewards.shape == (1, HORIZON)
    assert bundle.predict is not None
    with pytest.raises(UserError, match=rf"predict\.onnx: .*({reason})"):
        bundle.predict(BELIEF, ACTIONS)
    with pytest.raises(UserError, match="could not be loaded before"):
        bundle.predict(BELIEF, ACTIONS)
