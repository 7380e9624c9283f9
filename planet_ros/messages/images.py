"""Images as ``sensor_msgs/Image``, and back; depth, as grey between two distances."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from planet_ros.data.signature import MAX_NUMBERS
from planet_ros.errors import UserError
from planet_ros.messages.fields import (
    Make,
    header_stamp_ns,
    put_bytes,
    quoted,
    reads,
    time_message,
)

IMAGE_TYPE = "sensor_msgs/msg/Image"

# Bytes of a pixel, and which of them are grey or red, green and blue.
_ENCODINGS = {
    "mono8": (1, slice(0, 1)),
    "rgb8": (3, slice(0, 3)),
    "bgr8": (3, slice(None, None, -1)),
    "rgba8": (4, slice(0, 3)),
    "bgra8": (4, slice(2, None, -1)),
    # OpenCV's names, and its order of colours.
    "8UC1": (1, slice(0, 1)),
    "8UC3": (3, slice(None, None, -1)),
}


# Type of a pixel of depth, and its unit in metres.
_DEPTHS = {"16UC1": ("u2", 0.001), "32FC1": ("f4", 1.0)}


def image_message(make: Make, image: NDArray[np.uint8], stamp_ns: int, frame_id: str = "") -> Any:
    """A message of an image (height, width, channels): ``mono8`` of 1 channel, ``rgb8`` of 3."""
    message = make(IMAGE_TYPE)
    message.header.frame_id = frame_id
    message.height, message.width, channels = image.shape
    message.step = message.width * channels
    message.encoding = "mono8" if channels == 1 else "rgb8"
    message.header.stamp = time_message(make, stamp_ns)
    put_bytes(message, image)
    return message


@reads("image", IMAGE_TYPE)
def read_image(message: Any) -> NDArray[np.uint8]:
    """The image (height, width, channels) of a message, grey or RGB: a view of its bytes.

    Raises:
        UserError: The encoding is another than those of 8 bits in grey, RGB or BGR, the sizes do
            not add up, or there are too many pixels.
    """
    encoding = message.encoding
    if not isinstance(encoding, str) or encoding not in _ENCODINGS:
        raise UserError(
            f"image: found the encoding {quoted(encoding)}, expected one of {[*_ENCODINGS]}; "
            "set the camera's driver to one, or convert with image_proc"
        )
    pixel, colours = _ENCODINGS[encoding]
    return _pixels(message, pixel)[..., colours]


@reads("image", IMAGE_TYPE)
def read_depth(message: Any, nearest: float, farthest: float) -> NDArray[np.uint8]:
    """The image (height, width, 1) of a message of depth, 0 at `nearest` and 255 at `farthest`.

    What lies outside is as far, or as near, as can be shown. No measurement (0 in 16UC1, NaN in
    32FC1) is shown as the farthest: most often nothing was there to send anything back.

    Args:
        message: In the encoding 16UC1, in millimetres, or 32FC1, in metres.
        nearest: Metres.
        farthest: Metres, more than `nearest`.

    Raises:
        UserError: The encoding is another, the sizes do not add up, or there are too many pixels.
    """
    encoding = message.encoding
    if not isinstance(encoding, str) or encoding not in _DEPTHS:
        raise UserError(
            f"image: found the encoding {quoted(encoding)}, expected one of {[*_DEPTHS]} for depth"
        )
    kind, metre = _DEPTHS[encoding]
    order = ">" if message.is_bigendian else "<"
    pixels = np.ascontiguousarray(_pixels(message, np.dtype(kind).itemsize))
    depth = pixels.view(order + kind).astype(np.float32) * np.float32(metre)
    unknown = np.isnan(depth) if kind == "f4" else depth == 0
    grey = (np.clip(depth, nearest, farthest) - nearest) * (255 / (farthest - nearest))
    grey[unknown] = 255
    return np.rint(grey).astype(np.uint8)


@reads("image", IMAGE_TYPE)
def image_stamp_ns(message: Any) -> int | None:
    """When an image was taken, in nanoseconds; None where its header does not say."""
    return header_stamp_ns(message)


def _pixels(message: Any, pixel: int) -> NDArray[np.uint8]:
    """The bytes (height, width, pixel) of an image, without those that fill up its rows."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    if height < 1 or width < 1:
        raise UserError(f"image: found {height} × {width} pixels, expected at least 1 × 1")
    if step < width * pixel:
        raise UserError(
            f"image: found rows of {step} bytes (step), expected at least {width * pixel} for "
            f"{width} pixels of {message.encoding}"
        )
    if len(message.data) < step * height:
        raise UserError(
            f"image: found {len(message.data)} bytes of data, expected {step * height} "
            f"(step × height): the frame was cut short"
        )
    if height * width > MAX_NUMBERS:
        raise UserError(
            f"image: found {height} × {width} pixels, expected at most {MAX_NUMBERS} of them"
        )
    rows = _bytes(message.data, step * height).reshape(height, step)
    return rows[:, : width * pixel].reshape(height, width, pixel)


def _bytes(data: Any, count: int) -> NDArray[np.uint8]:
    """The first bytes of a field, without a copy where they are bytes."""
    if isinstance(data, (list, tuple)):
        data = bytes(data[:count])
    return np.frombuffer(data, np.uint8, count)
