"""What the oldest packages that are allowed would complain about."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

import planet_ros.bundle.manifest
import planet_ros.config
import planet_ros.training.checkpoint


def models(kind: type[BaseModel] = BaseModel) -> Iterator[type[BaseModel]]:
    for one in kind.__subclasses__():
        if one.__module__.startswith("planet_ros."):
            yield one
        yield from models(one)


@pytest.mark.parametrize("model", [*models()], ids=lambda model: model.__name__)
def test_names_of_fields_are_free_in_pydantic_2_6(model: type[BaseModel]) -> None:
    """It warns of every field that begins with ``model_`` unless it is told not to."""
    if model.model_config.get("protected_namespaces") != ():
        assert not [name for name in model.model_fields if name.startswith("model_")]


def test_manifest_is_among_them() -> None:
    assert planet_ros.bundle.manifest.Manifest in [*models()]
    assert planet_ros.config.Settings in [*models()]
