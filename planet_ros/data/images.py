"""Images as the world model takes them: uint8, of its own size and number of channels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def fit_image(image: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Scale an image and convert its colours; what fits already is given as it is, contiguous.

    Each pixel becomes the mean of the area it covers, and grey is luma (ITU-R BT.601), so that the
    same camera gives the same image whatever resolution it is set to.

    Args:
        image: (height, width, channels) with 1 channel (grey) or 3 (RGB).
        shape: Height, width and channels wanted, 1 or 3 of the latter.
    """
    if image.shape == shape:
        return np.ascontiguousarray(image)
    height, width, channels = shape
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    picture = picture.convert("L" if channels == 1 else "RGB")
    picture = picture.resize((width, height), Image.Resampling.BOX)
    return np.asarray(picture).reshape(shape)
