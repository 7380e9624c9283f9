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
VECTOR_PART = "observation"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ObservationPart(_Part):
    """One input of ``observe.onnx`` that comes from sensors: the vector, or an image.

    The vector is called ``observation`` and is float32; images are uint8, height × width ×
    channels, and have any other name.
    """

    name: str
    shape: list[int]
    dtype: Literal["float32", "uint8"] = "float32"
    unit: str = ""

    @model_validator(mode="after")
    def _vector_or_image(self) -> ObservationPart:
        vector = self.dtype == "float32"
        if (self.name == VECTOR_PART) != vector or len(self.shape) != (1 if vector else 3):
            raise ValueError(
                f"found {self.name} of {self.dtype} {self.shape}, expected {VECTOR_PART} of "
                "float32 with one dimension, or another name and uint8 with height, width and "
                "channels"
            )
        return self


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
    def observation_size(self) -> int:
        """Numbers in the observation vector; 0 where there are images alone."""
        return sum(part.shape[0] for part in self.observation if part.name == VECTOR_PART)

    @property
    def images(self) -> dict[str, tuple[int, int, int]]:
        """Height, width and channels of each image."""
        return {
            part.name: (part.shape[0], part.shape[1], part.shape[2])
            for part in self.observation
            if part.name != VECTOR_PART
        }

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
