"""Arrays as the code has them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def float32(values: ArrayLike) -> NDArray[np.float32]:
    """Numbers as an array; numpy's own `float32` is typed as if it gave a single one."""
    return np.asarray(values, dtype=np.float32)
