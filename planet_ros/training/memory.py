"""How much memory a run may come to need, and whether the machine has it."""

from __future__ import annotations

import math
import os

from planet_ros.config import LearnerSettings
from planet_ros.data import Signature
from planet_ros.errors import UserError

_REPLAY_COPIES = 3
"""Of what the replay holds, while an array that is full moves to one twice as long."""

_UNITS = ("B", "kB", "MB", "GB", "TB")


def check_memory(settings: LearnerSettings, signature: Signature) -> None:
    """Refuse a run whose episodes, or whose batch of images, will not fit into memory.

    Raises:
        UserError: They may need more than is free; the text has the figures.
    """
    free = _free_bytes()
    data, training = settings.data, settings.training
    pixels = sum(math.prod(shape) for shape in signature.images.values())
    numbers = 4 * (signature.vector_size + signature.actions)
    step = numbers + 8 + pixels
    steps = min(data.capacity_steps, training.steps, max(1, math.ceil(data.capacity_bytes / step)))
    # Beside the episodes there is the replay: numbers, reward, mask and continuation of each step.
    experience = steps * (step + _REPLAY_COPIES * (numbers + 3 * 4))
    # As uint8, as numbers, decoded, and the gradient of these: a lower bound.
    batch = training.batch_size * (training.sequence_length + 1) * pixels * (1 + 3 * 4)
    if experience + batch > free:
        raise UserError(
            f"data.capacity_bytes: {steps} steps of {text_of_bytes(step)} may take "
            f"{text_of_bytes(experience)}, and a batch {text_of_bytes(batch)}, but only "
            f"{text_of_bytes(free)} of memory are free; lower data.capacity_bytes (now "
            f"{data.capacity_bytes}), data.capacity_steps ({data.capacity_steps}), "
            f"training.batch_size ({training.batch_size}) or the size of the images"
        )


def text_of_bytes(count: float) -> str:
    """A number of bytes for a person, such as ``1.5 GB``."""
    power = 0
    while count >= 1000 and power < len(_UNITS) - 1:
        count, power = count / 1000, power + 1
    return f"{count:.3g} {_UNITS[power]}"


def _free_bytes() -> int:
    """Memory that this process can still get, by Linux's own estimate where there is one."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":") for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
