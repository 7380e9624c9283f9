"""Checkpoints as tensors (npz) and JSON, without pickle."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from planet_ros.errors import UserError
from planet_ros.files import folder_written_whole

TENSORS_FILE = "tensors.npz"
STATE_FILE = "state.json"


def save_checkpoint(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
) -> None:
    """Write modules, optimizer, torch's random state and `state` (JSON values) as one."""
    tensors = {
        f"{prefix}/{name}": value
        for prefix, module in modules.items()
        for name, value in module.state_dict().items()
    }
    for index, slots in optimizer.state_dict()["state"].items():
        for slot, value in slots.items():
            tensors[f"optimizer/{index}/{slot}"] = torch.as_tensor(value)
    tensors["random/torch"] = torch.get_rng_state()
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value.cpu().numpy() for name, value in tensors.items()})
    with folder_written_whole(path) as folder:
        (folder / TENSORS_FILE).write_bytes(buffer.getvalue())
        (folder / STATE_FILE).write_text(json.dumps(state, indent=2) + "\n")


def load_checkpoint(
    path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote into modules and optimizer made from the same settings.

    Returns:
        The `state` that was saved.

    Raises:
        UserError: A file is missing or damaged, or was written with other settings.
    """
    state, tensors = read_checkpoint(path)
    for prefix, module in modules.items():
        _load_module(path, module, tensors, prefix)
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer/"):
            _, index, slot = name.split("/")
            slots.setdefault(int(index), {})[slot] = torch.from_numpy(value)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})
    torch.set_rng_state(torch.from_numpy(tensors["random/torch"]))
    return state


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The saved state and tensors.

    Raises:
        UserError: A file is missing or damaged.
    """
    try:
        state = json.loads((path / STATE_FILE).read_text())
        with np.load(path / TENSORS_FILE, allow_pickle=False) as file:
            return state, {name: file[name] for name in file.files}
    except Exception as error:  # zip and npy parsing raise many kinds
        raise UserError(f"{path}: not a whole checkpoint: {error}") from None


def _load_module(
    path: Path, module: nn.Module, tensors: Mapping[str, np.ndarray], prefix: str
) -> None:
    weights = {
        name.removeprefix(f"{prefix}/"): torch.from_numpy(value)
        for name, value in tensors.items()
        if name.startswith(f"{prefix}/")
    }
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"{path}: was written with other world_model settings or another environment: {error}"
        ) from None
