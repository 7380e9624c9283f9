"""Images as ``sensor_msgs/CompressedImage``: PNG or JPEG."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from planet_ros.errors import UserError
from planet_ros.messages.fields import reads, shortened

COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"

MAX_BYTES = 2**25
"""Bytes of a compressed picture at most."""

MAX_PIXELS = 2**24
"""Pixels of one at most: a few bytes can say that they are as many as no memory holds."""


@reads("compressed image", COMPRESSED_TYPE)
def read_compressed(message: Any) -> NDArray[np.uint8]:
    """The image (height, width, channels) of a message, grey or RGB.

    Its size is read first, and what is too large is not decoded.

    Raises:
        UserError: It is neither PNG nor JPEG, damaged, or too large.
    """
    data = message.data
    if len(data) > MAX_BYTES:
        raise UserError(f"compressed image: found {len(data)} bytes, expected at most {MAX_BYTES}")
    content = bytes(data)
    try:
        # Pillow has errors of many kinds for what is damaged, some of them its plug-ins' own.
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
            width, height = picture.size
            if width * height <= MAX_PIXELS:
                grey = picture.mode in ("1", "L")
                pixels = np.asarray(picture.convert("L" if grey else "RGB"))
                return pixels.reshape(height, width, 1 if grey else 3)
    except Exception as error:
        raise UserError(
            f"compressed image: found {len(content)} bytes that cannot be decoded "
            f"({shortened(error)}), expected PNG or JPEG"
        ) from None
    raise UserError(
        f"compressed image: found {height} × {width} pixels, expected at most {MAX_PIXELS} of them"
    )
