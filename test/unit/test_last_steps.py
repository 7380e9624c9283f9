"""An episode's last steps are learned from as often as its others, whoever asks for sequences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planet_ros.config import Settings
from planet_ros.data import ActionPart, Episode, ObservationPart, Signature
from planet_ros.training.learner import Learner
from planet_ros.training.run import RunFolder

SIGNATURE = Signature(
    (ObservationPart("observation", (2,)),), (ActionPart("push", -1.0, 1.0),), period_s=0.05
)
LENGTH = 20
MakeSettings = Callable[..., Settings]


def terminated_episode(rng: np.random.Generator) -> Episode:
    return Episode(
        {"observation": rng.normal(size=(LENGTH + 1, 2)).astype(np.float32)},
        rng.uniform(-1, 1, (LENGTH, 1)).astype(np.float32),
        rng.normal(size=LENGTH),
        True,
        False,
    )


@pytest.mark.parametrize(
    ("kind", "starts"),
    [
        # The loss reads one step of four: any step can be that one.
        ("ensemble", LENGTH),
        # The loss reads all of them, so that a sequence has to be whole.
        ("rssm", LENGTH - 3),
    ],
)
def test_model_learns_from_terminal_steps_as_often_as_they_happen(
    tmp_path: Path,
    tiny_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    starts: int,
) -> None:
    settings = tiny_settings(
        tmp_path / "run",
        {
            "world_model.kind": kind,
            "world_model.predict_continue": True,
            "training.sequence_length": 4,
            "training.updates": 40,
        },
    )
    learner = Learner(settings, SIGNATURE, RunFolder(tmp_path / "run"), environment=None)
    terminal, masks = [], []
    loss = learner.model.loss

    def recording(batch: Any, loss_steps: int) -> Any:
        terminal.append(1 - batch.continues.flatten(0, -2))
        masks.append(batch.mask.flatten(0, -2))
        return loss(batch, loss_steps)

    monkeypatch.setattr(learner.model, "loss", recording)
    rng = np.random.default_rng(0)
    for _ in range(3):
        learner.add(terminated_episode(rng))
    learner.fit()
    read = slice(0, 1) if kind == "ensemble" else slice(None)
    seen, there = np.concatenate(terminal)[:, read], np.concatenate(masks)[:, read]
    assert there.all()
    # One start of each episode ends with its terminal step, of so many that it has.
    assert seen.sum(axis=-1).mean() == pytest.approx(1 / starts, rel=0.4)
