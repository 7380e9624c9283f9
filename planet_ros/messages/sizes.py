"""How large a message may be, told from its bytes before anything is made of them.

To turn a message into Python objects takes time and memory by its size, and whoever sends it
chooses that size. So what arrives is looked at first as it came over the wire: CDR, of which a few
lengths at the beginning are read, and nothing else.

```
Float64MultiArray   0 1 0 0 │ parts │ …                                   parts: uint32
UInt8MultiArray     0 1 0 0 │ parts │ … │ offset │ length │ bytes
Image               0 1 0 0 │ s, ns │ length │ frame_id … │ h, w │ length │ encoding … │ …
CompressedImage     0 1 0 0 │ s, ns │ length │ frame_id … │ length │ format … │ …
```

What else a robot's topics carry is small: joints, poses, twists, a scan. One bound serves all these
types, so low that whatever the bytes hold is soon read.
"""

from __future__ import annotations

from planet_ros.data.signature import MAX_NUMBERS
from planet_ros.errors import UserError
from planet_ros.messages.announcements import MAX_CHARACTERS
from planet_ros.messages.compressed import COMPRESSED_TYPE, MAX_BYTES
from planet_ros.messages.fields import MAX_LABEL, MAX_LENGTH
from planet_ros.messages.images import IMAGE_TYPE
from planet_ros.messages.steps import MAX_PARTS
from planet_ros.messages.vectors import VECTOR_TYPE

TEXT_TYPE = "std_msgs/msg/String"
BYTES_TYPE = "std_msgs/msg/UInt8MultiArray"

_HEAD = 4  # bytes that say how the others are to be read
_UTF_8 = 4  # bytes of a character at most
_LABEL_BYTES = _UTF_8 * MAX_LABEL + 16  # with its own length, size, stride and padding
_PIXEL_BYTES = 4

OTHER_BYTES = 2**16
"""Of a message of a type that has no bound of its own, at most: a scan of 8000 rays, with room."""


def check_bytes(type_name: str, data: bytes, numbers: int | None = None) -> None:
    """See that a message is worth being read.

    Args:
        type_name: Its type.
        data: As it came.
        numbers: Of a vector, how many are expected; None: any. Of bytes, how many at most.

    Raises:
        UserError: It is too long for its type, or one of its parts is.
    """
    limit = _limit(type_name, numbers)
    if len(data) > limit:
        raise UserError(
            f"found a message of {len(data)} bytes, expected a {type_name} of at most {limit}"
        )
    if type_name in (VECTOR_TYPE, BYTES_TYPE):
        parts = _number(data, _HEAD)
        if parts > MAX_PARTS:
            raise UserError(f"found a layout of {parts} parts, expected at most {MAX_PARTS}")
    elif type_name == IMAGE_TYPE:
        at = _after_text(data, _HEAD + 8, "frame_id")
        _after_text(data, at + 8, "encoding")
    elif type_name == COMPRESSED_TYPE:
        at = _after_text(data, _HEAD + 8, "frame_id")
        _after_text(data, at, "format")


def bytes_in(data: bytes) -> memoryview:
    """The bytes that a `BYTES_TYPE` without a layout holds, where they are.

    To decode such a message takes 20 ms for 10 MB, in which no other thread runs Python.

    Args:
        data: As it came.

    Raises:
        UserError: It has a layout, or another number of bytes than it says.
    """
    if _number(data, _HEAD):
        raise UserError("found bytes with a layout, expected none: its dim is to be empty")
    begin = _HEAD + 12  # behind the number of parts, data_offset and its own length
    length = _number(data, begin - 4)
    if not begin + length <= len(data) < begin + length + 4:  # ends may be filled up
        raise UserError(
            f"found {max(0, len(data) - begin)} bytes, expected {length} as the message says"
        )
    return memoryview(data)[begin : begin + length]


def _limit(type_name: str, numbers: int | None) -> int:
    if type_name == TEXT_TYPE:
        return _UTF_8 * MAX_CHARACTERS + 16
    if type_name == VECTOR_TYPE:
        return 8 * (MAX_LENGTH if numbers is None else numbers) + MAX_PARTS * _LABEL_BYTES
    if type_name == BYTES_TYPE:
        return (OTHER_BYTES if numbers is None else numbers) + MAX_PARTS * _LABEL_BYTES
    if type_name == IMAGE_TYPE:
        return _PIXEL_BYTES * MAX_NUMBERS + 2 * _LABEL_BYTES
    if type_name == COMPRESSED_TYPE:
        return MAX_BYTES + 2 * _LABEL_BYTES
    return OTHER_BYTES


def _number(data: bytes, at: int) -> int:
    """The uint32 there; what was cut short is for the decoder to refuse."""
    return int.from_bytes(data[at : at + 4], "little" if data[1:2] == b"\x01" else "big")


def _after_text(data: bytes, at: int, field: str) -> int:
    """Where the number behind a text begins.

    Raises:
        UserError: The text is too long.
    """
    length = _number(data, at)
    if length > _UTF_8 * MAX_LABEL:
        raise UserError(f"{field}: found {length} bytes, expected at most {_UTF_8 * MAX_LABEL}")
    end = at + 4 + length - _HEAD  # numbers are aligned behind the head
    return end + -end % 4 + _HEAD
