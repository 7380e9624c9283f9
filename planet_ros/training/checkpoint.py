"""Checkpoints as tensors (npz) and JSON, without pickle."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from planet_ros.bundle.manifest import Evaluation
from planet_ros.data import Signature
from planet_ros.errors import UserError
from planet_ros.files import folder_written_whole

TENSORS_FILE = "tensors.npz"
STATE_FILE = "state.json"
FORMAT_VERSION: Literal[2] = 2

_RANDOM_STATE = "random/torch"
_Count = Annotated[int, Field(ge=0)]


class RunState(BaseModel):
    """``state.json``: where a run stands, but for the numbers in its tensors.

    Attributes:
        signature: What the model is learned for, as in a bundle's manifest.
        environment_steps: Taken in the episodes kept so far.
        decisions: Actions in them; fewer where each was repeated.
        episodes: How many there were; number of the next one's file.
        fits: How often the model was fitted.
        judged_steps: Decisions up to which the model's errors were measured.
        one_step_reward_error: As it was measured last; None: it never was.
        horizon_reward_error: Likewise.
        disagreement: Of the model's members on the newest data, over a horizon; None: nobody can.
        penalty: On disagreement, chosen for the model as it is now; None: that of the settings.
        evaluation: What the model as it is now was found to be worth; None: nobody looked.
        metrics_bytes: Length of ``metrics.jsonl``; what follows belongs to no checkpoint.
        sampling: State of the generator that draws sequences.
        passed_over: Starts of episodes of which nothing came, because the environment failed.
        tensors: Names of all that is in ``tensors.npz``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[2] = FORMAT_VERSION
    signature: Signature
    environment_steps: _Count
    decisions: _Count
    episodes: _Count
    fits: _Count
    judged_steps: _Count
    one_step_reward_error: float | None
    horizon_reward_error: float | None
    disagreement: float | None = None
    penalty: float | None = None
    evaluation: Evaluation | None
    metrics_bytes: _Count
    sampling: dict[str, Any]
    passed_over: _Count = 0
    tensors: tuple[str, ...] = ()


class Checkpoint(NamedTuple):
    """What was saved."""

    state: RunState
    tensors: dict[str, np.ndarray]


def save_checkpoint(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    state: RunState,
) -> None:
    """Write modules, optimizer, torch's random state and `state` as one."""
    tensors = {
        f"{prefix}/{name}": value
        for prefix, module in modules.items()
        for name, value in module.state_dict().items()
    }
    for index, slots in optimizer.state_dict()["state"].items():
        for slot, value in slots.items():
            tensors[f"optimizer/{index}/{slot}"] = torch.as_tensor(value)
    tensors[_RANDOM_STATE] = torch.get_rng_state()
    state = state.model_copy(update={"tensors": tuple(tensors)})
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value.cpu().numpy() for name, value in tensors.items()})
    with folder_written_whole(path) as folder:
        (folder / TENSORS_FILE).write_bytes(buffer.getvalue())
        (folder / STATE_FILE).write_text(json.dumps(state.model_dump(mode="json"), indent=2) + "\n")


def read_checkpoint(path: Path) -> Checkpoint:
    """The saved state and tensors.

    Raises:
        UserError: A file is missing or damaged, or is of another version of this package.
    """
    try:
        content = json.loads((path / STATE_FILE).read_bytes())
        with np.load(path / TENSORS_FILE, allow_pickle=False) as file:
            tensors = {name: file[name] for name in file.files}
    except Exception as error:  # zip and npy parsing raise many kinds
        raise UserError(f"{path}: not a whole checkpoint: {error}") from None
    if isinstance(content, dict) and "sampling" in content and "signature" not in content:
        raise UserError(
            f"{path}: found a checkpoint of an older version of planet_ros, without a signature; "
            "this version cannot continue it: learn anew into another folder (training.output), "
            "or go on with the version that wrote it. Its bundle can still be used"
        )
    try:
        state = RunState.model_validate_json(json.dumps(content))
    except ValidationError as error:
        fields = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'all of it'}: {item['msg']}"
            for item in error.errors()
        )
        raise UserError(f"{path / STATE_FILE}: not the state of a run: {fields}") from None
    if set(state.tensors) != set(tensors):
        raise UserError(
            f"{path}: not a whole checkpoint: {TENSORS_FILE} does not hold what {STATE_FILE} "
            f"names; they differ by {sorted(set(state.tensors) ^ set(tensors))}"
        )
    return Checkpoint(state, tensors)


def load_tensors(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Put what `save_checkpoint` wrote into modules and optimizer made from the same settings.

    Torch's own random numbers go on from there too.

    Args:
        path: Of the checkpoint, for errors.
        tensors: What was read from it.
        modules: With the names that they were saved by.
        optimizer: Of one of them.

    Raises:
        UserError: It was written with other settings.
    """
    try:
        for prefix, module in modules.items():
            module.load_state_dict(
                {
                    name.removeprefix(f"{prefix}/"): torch.from_numpy(value)
                    for name, value in tensors.items()
                    if name.startswith(f"{prefix}/")
                }
            )
        optimizer.load_state_dict(_optimizer_state(tensors, optimizer))
        torch.set_rng_state(torch.from_numpy(tensors[_RANDOM_STATE]))
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: was written with other world_model settings or another environment or task, "
            f"or of another kind of model: {error}"
        ) from None


def _optimizer_state(
    tensors: Mapping[str, np.ndarray], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """What was saved of the optimizer, as `load_state_dict` takes it.

    Raises:
        ValueError: It is of other parameters.
    """
    state = optimizer.state_dict()
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer/"):
            _, number, slot = name.split("/")
            index = int(number)
            if index >= len(parameters) or value.shape not in ((), tuple(parameters[index].shape)):
                raise ValueError(f"{name} of shape {value.shape} has no parameter of that shape")
            slots.setdefault(index, {})[slot] = torch.from_numpy(value)
    return {"state": slots, "param_groups": state["param_groups"]}
