"""What ``manifest.json`` says about a bundle; docs/bundle.md describes it for other programs."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import from_json

from planet_ros.bundle.graph_check import MAX_GRAPH_BYTES
from planet_ros.config import PlannerSettings
from planet_ros.data import Signature
from planet_ros.errors import UserError
from planet_ros.interface.document import Interface

FORMAT_VERSION = 2
MANIFEST_FILE = "manifest.json"
MAX_MANIFEST_BYTES = 1_000_000

MAX_BELIEF_SIZE = 1_000_000
MAX_HORIZON = 1000
MAX_PLANNED_NUMBERS = 2**24
"""Numbers of all candidates' actions together, candidates × horizon × actions: 64 MB."""

GRAPHS = ("observe", "imagine", "predict", "propose")
"""Graphs that are known: the first two are required, the last is reserved and not run."""

GOAL = "goal"
"""Input of ``imagine.onnx`` where there is a goal, and what a reader has to know then."""

_OPTIONAL_OUTPUTS = ("graphs.imagine.continues", "graphs.imagine.disagreement")
_HASH_FIELD, _NO_HASH = "manifest_sha256", "0" * 64
_UPDATE = "update planet_ros"
_MOST_SHOWN = 200  # characters of a value in an error


class _Part(BaseModel):
    # A field that is not known is passed over: `Manifest.requires` names those that must not be.
    # It holds for the signature too, whose dataclasses take the configuration of what holds them.
    # Validators are made when they are first needed, as those of the settings.
    model_config = ConfigDict(
        extra="ignore", frozen=True, protected_namespaces=(), defer_build=True
    )


class Graph(_Part):
    """An ONNX file of the bundle."""

    file: str
    sha256: str
    bytes: int = Field(ge=1, le=MAX_GRAPH_BYTES)


class EnvironmentRecord(_Part):  # type: ignore[no-redef]  # pydantic.mypy adds **kwargs too
    """Where the model was learned; `planet_ros.environments.EnvironmentSpec` in JSON."""

    id: str
    kwargs: dict[str, Any] = {}
    modules: list[str] = []
    wrappers: list[str] = []


class Evaluation(_Part):
    """How well the model did; errors are root mean squares.

    Returns are of whole episodes, unless `source` says that they were cut.
    The errors are those of the predicted reward on an episode that the model had not seen.
    """

    source: str = ""
    mean_return: float | None = None
    worst_return: float | None = None
    episodes: int = 0
    one_step_reward_error: float | None = None
    horizon_reward_error: float | None = None


class Manifest(_Part):
    """The whole of ``manifest.json``, but for its own hash, which `to_json` adds."""

    format: Literal["planet_ros bundle"] = "planet_ros bundle"
    version: int = FORMAT_VERSION
    requires: list[str] = []
    model_kind: str
    belief_size: int = Field(ge=1, le=MAX_BELIEF_SIZE)
    horizon: int = Field(ge=1, le=MAX_HORIZON)
    signature: Signature
    planner: PlannerSettings
    interface: Interface | None = None
    environment: EnvironmentRecord | None = None
    environment_steps: int = 0
    decisions: int = 0
    episodes: int = 0
    seed: int | None = None
    evaluation: Evaluation = Evaluation()
    data_disagreement: float | None = Field(None, gt=0, allow_inf_nan=False)
    created: str = ""
    software: dict[str, str] = {}
    graphs: dict[Literal["observe", "imagine", "predict", "propose"], Graph]

    @field_validator("planner", mode="before")
    @classmethod
    def _known_planner_fields(cls, value: Any) -> Any:
        """Settings refuse what they do not know; here it is passed over."""
        return _only(value, PlannerSettings.model_fields)

    @field_validator("graphs", mode="before")
    @classmethod
    def _known_graphs(cls, value: Any) -> Any:
        return _only(value, GRAPHS)

    @classmethod
    def of(cls, fields: Mapping[str, Any], name: str) -> Manifest:
        """Make one from its fields, and check what they say together.

        Args:
            fields: By their names; values may be objects or what JSON makes of them.
            name: Of what holds them, for the error.

        Raises:
            UserError: A field is missing or wrong.
        """
        try:
            manifest = cls.model_validate(dict(fields))
        except ValidationError as error:
            texts = [
                f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}"
                + ("" if item["type"] == "missing" else f", found {_shown(item['input'])}")
                for item in error.errors(include_url=False)
            ]
            more = f"; and {len(texts) - 5} more" if len(texts) > 5 else ""
            raise UserError(f"{name}: {'; '.join(texts[:5])}{more}") from None
        manifest._check_whole(name)
        return manifest

    def _check_whole(self, name: str) -> None:
        missing = {"observe", "imagine"} - set(self.graphs)
        if missing:
            raise UserError(
                f"{name}: graphs: found {sorted(self.graphs)}, expected observe and imagine"
            )
        if self.planner.horizon != self.horizon:
            raise UserError(
                f"{name}: planner.horizon: found {self.planner.horizon}, expected horizon = "
                f"{self.horizon}"
            )
        if self.interface is not None and self.interface.period_s != self.signature.period_s:
            raise UserError(
                f"{name}: interface.period_s: found {self.interface.period_s:g}, expected "
                f"signature.period_s = {self.signature.period_s:g}"
            )
        numbers = self.planner.candidates * self.horizon * self.signature.actions
        if numbers > MAX_PLANNED_NUMBERS:
            raise UserError(
                f"{name}: planner.candidates: found {self.planner.candidates} candidates of "
                f"{self.horizon} steps and {self.signature.actions} actions, {numbers} numbers, "
                f"expected at most {MAX_PLANNED_NUMBERS}"
            )

    def to_json(self) -> bytes:
        """The file's content, with its own hash in it."""
        # A line more behind the version's, put there as text: this is done at every export.
        version = f'"version": {FORMAT_VERSION},\n'
        before, _, after = self.model_dump_json(indent=2).partition(version)
        content = f'{before}{version}  "{_HASH_FIELD}": "{_NO_HASH}",\n{after}\n'.encode()
        return content.replace(_NO_HASH.encode(), _own_hash(content, _NO_HASH).encode(), 1)

    @classmethod
    def from_json(cls, content: bytes, name: str) -> Manifest:
        """Parse and check the file's content; a document of version 1 is read as one of this.

        Raises:
            UserError: It is too long, is not JSON, was altered, has another version, requires
                something unknown, or a field is missing or wrong.
        """
        if len(content) > MAX_MANIFEST_BYTES:
            raise UserError(
                f"{name}: found {len(content)} bytes, expected at most {MAX_MANIFEST_BYTES}"
            )
        try:
            document = from_json(content)
        except ValueError as error:  # nesting that is too deep is one too
            raise UserError(f"{name}: is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise UserError(f"{name}: found a {type(document).__name__}, expected an object")
        version = document.get("version")
        if version != 1 or _HASH_FIELD in document:
            _check_own_hash(content, document.get(_HASH_FIELD), name)
        if version not in (1, FORMAT_VERSION):
            raise UserError(
                f"{name}: version: found {_shown(version)}, expected 1 or {FORMAT_VERSION}; "
                f"{_UPDATE}, or export the model with this version of it"
            )
        _check_requirements(document.get("requires", []), name)
        if version == 1:
            document = _from_version_1(document)
        return cls.of(document, name)


def _only(value: Any, known: typing.Container[str]) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: field for name, field in value.items() if name in known}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _own_hash(content: bytes, digits: str) -> str:
    """SHA-256 of the content with zeros in place of the digits of this hash itself."""
    return hashlib.sha256(content.replace(digits.encode(), _NO_HASH.encode(), 1)).hexdigest()


def _check_own_hash(content: bytes, digits: Any, name: str) -> None:
    if not isinstance(digits, str) or not re.fullmatch("[0-9a-f]{64}", digits):
        raise UserError(
            f"{name}: {_HASH_FIELD}: found {_shown(digits)}, expected the manifest's own SHA-256 "
            "in 64 lower-case hexadecimal digits: the file is of another version, or was altered; "
            "copy the bundle again"
        )
    found = _own_hash(content, digits)
    if found != digits:
        raise UserError(
            f"{name}: found SHA-256 {found}, expected {digits} as its {_HASH_FIELD} says: the "
            "file was altered; copy the bundle again"
        )


def _check_requirements(required: Any, name: str) -> None:
    if not isinstance(required, list):
        raise UserError(f"{name}: requires: found {_shown(required)}, expected a list of names")
    known = {*_field_names(Manifest), *(f"graphs.{graph}" for graph in GRAPHS[:2])}
    known |= {_HASH_FIELD, GOAL, *_OPTIONAL_OUTPUTS}
    unknown = [item for item in required if not isinstance(item, str) or item not in known]
    if unknown:
        raise UserError(
            f"{name}: requires: found {_shown(unknown)}, which this version of planet_ros does "
            f"not know; {_UPDATE}"
        )


def _field_names(kind: Any, before: str = "") -> Iterator[str]:
    """Dotted names of all fields of a type, and of the types within it.

    An interface is understood as a whole or refused: its fields cannot be required one by one.
    """
    if kind is Interface:
        return
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = {name: field.annotation for name, field in kind.model_fields.items()}
    elif dataclasses.is_dataclass(kind):
        fields = typing.get_type_hints(kind)
    else:
        for inner in typing.get_args(kind):
            yield from _field_names(inner, before)
        return
    for name, inner in fields.items():
        yield before + name
        yield from _field_names(inner, f"{before}{name}.")


def _from_version_1(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of this version. What has not even the form is left for the check to refuse."""
    fields = {**document, "version": FORMAT_VERSION}
    signature = {
        new: fields.pop(old)
        for old, new in (
            ("observation", "observation"),
            ("action", "action"),
            ("control_period_s", "period_s"),
        )
        if old in fields
    }
    if isinstance(signature.get("observation"), list):
        signature["observation"] = [
            {**part, "role": "image" if part.get("dtype") == "uint8" else "vector"}
            if isinstance(part, dict)
            else part
            for part in signature["observation"]
        ]
    return {**fields, "signature": signature}
