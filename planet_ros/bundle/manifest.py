"""What ``manifest.json`` says about a bundle; docs/bundle.md describes it for other programs."""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from planet_ros.config import PlannerSettings
from planet_ros.errors import UserError

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ObservationPart(_Part):
    """One input of ``observe.onnx`` that comes from sensors."""

    name: str
    shape: list[int]
    dtype: Literal["float32"] = "float32"
    unit: str = ""


class ActionPart(_Part):
    """One dimension of the action vector."""

    name: str
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    unit: str = ""

    @model_validator(mode="after")
    def _range(self) -> ActionPart:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not less than high {self.high:g}")
        return self


class Graph(_Part):
    """An ONNX file of the bundle."""

    file: str
    sha256: str
    bytes: int = Field(ge=1)


class EnvironmentRecord(_Part):
    """Where the model was learned; `planet_ros.environment.EnvironmentSpec` in JSON."""

    id: str
    kwargs: dict[str, Any] = {}
    modules: list[str] = []
    wrappers: list[str] = []


class Evaluation(_Part):
    """How well the model did; returns are of whole episodes, errors are root mean squares.

    The errors are those of the predicted reward on an episode that the model had not seen.
    """

    source: str = ""
    mean_return: float | None = None
    worst_return: float | None = None
    episodes: int = 0
    one_step_reward_error: float | None = None
    horizon_reward_error: float | None = None


class Manifest(_Part):
    """The whole of ``manifest.json``."""

    format: Literal["planet_ros bundle"] = "planet_ros bundle"
    version: int = FORMAT_VERSION
    model_kind: str
    belief_size: int = Field(ge=1)
    horizon: int = Field(ge=1)
    control_period_s: float = Field(gt=0, allow_inf_nan=False)
    observation: list[ObservationPart] = Field(min_length=1)
    action: list[ActionPart] = Field(min_length=1)
    planner: PlannerSettings
    environment: EnvironmentRecord | None = None
    environment_steps: int = 0
    decisions: int = 0
    episodes: int = 0
    seed: int | None = None
    evaluation: Evaluation = Evaluation()
    created: str = ""
    software: dict[str, str] = {}
    graphs: dict[Literal["observe", "imagine"], Graph]

    @property
    def low(self) -> NDArray[np.float32]:
        """(A,) least action."""
        return np.array([part.low for part in self.action], dtype=np.float32)

    @property
    def high(self) -> NDArray[np.float32]:
        """(A,) greatest action."""
        return np.array([part.high for part in self.action], dtype=np.float32)

    def to_json(self) -> bytes:
        """The file's content."""
        return (self.model_dump_json(indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes, name: str) -> Manifest:
        """Parse and check the file's content.

        Raises:
            UserError: It is not JSON, has another version, or a field is missing or wrong.
        """
        try:
            document = json.loads(content)
        except ValueError as error:
            raise UserError(f"{name}: is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise UserError(f"{name}: found a {type(document).__name__}, expected an object")
        version = document.get("version")
        if version != FORMAT_VERSION:
            raise UserError(
                f"{name}: version: found {version}, expected {FORMAT_VERSION}; export the model "
                "again with this version of planet_ros"
            )
        try:
            manifest = cls.model_validate(document)
        except ValidationError as error:
            fields = "; ".join(
                f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}"
                + ("" if item["type"] == "missing" else f", found {item['input']!r}")
                for item in error.errors()
            )
            raise UserError(f"{name}: {fields}") from None
        if set(manifest.graphs) != {"observe", "imagine"}:
            raise UserError(
                f"{name}: graphs: found {sorted(manifest.graphs)}, expected observe and imagine"
            )
        if manifest.planner.horizon != manifest.horizon:
            raise UserError(
                f"{name}: planner.horizon: found {manifest.planner.horizon}, expected horizon = "
                f"{manifest.horizon}"
            )
        return manifest
