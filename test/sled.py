"""A sled on ice, seen by a camera: the smallest task that takes images and a memory.

Nothing slows the sled down, and no single picture shows how fast it is. Whatever is done by the
picture alone is a force that depends on the position, and keeps the sled swinging for ever.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

EPISODE_STEPS = 30
PUSH = 0.1
HEIGHT, WIDTH = 2, 16


class Sled(gymnasium.Env):
    """Picture (2, 16, 1), action (1,) in [-1, 1] as change of velocity, reward −position²."""

    def __init__(self) -> None:
        self.observation_space = Box(0, 255, (HEIGHT, WIDTH, 1), np.uint8)
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)
        self.position = self.velocity = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.position = self.np_random.choice([-1, 1]) * self.np_random.uniform(0.5, 1.0)
        self.velocity = 0.0
        return self.picture(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.velocity += PUSH * float(action[0])
        self.position += self.velocity
        if abs(self.position) > 2:  # the banks are soft
            self.position, self.velocity = float(np.clip(self.position, -2, 2)), 0.0
        return self.picture(), -(self.position**2), False, False, {}

    def picture(self) -> NDArray[np.uint8]:
        pixels = np.linspace(-2, 2, WIDTH)
        spot = np.exp(-np.square((pixels - self.position) / 0.3))
        return np.tile(np.round(255 * spot).astype(np.uint8), (HEIGHT, 1))[..., None]


gymnasium.register(
    "PlanetRosTest/Sled-v0", entry_point=f"{__name__}:Sled", max_episode_steps=EPISODE_STEPS
)
