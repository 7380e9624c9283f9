"""What a graph may hold, read from the bytes of an ONNX file before anything runs it.

A robot has no `onnx` package, and onnxruntime asks no such questions. An ONNX file is a message of
protocol buffers (onnx.proto3 in the onnx repository has the numbers of the fields): a row of
fields, each a number, a kind and a value, and some values are messages again. Of these only the
few that matter are gone into, so that the depth is fixed and every byte is looked at a few times.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from planet_ros.errors import UserError

MAX_GRAPH_BYTES = 2**28
"""Of one graph: 67 million weights."""

_MAX_FIELDS = 2_000_000
"""That are looked at in one graph, for the sake of time: a thousand steps take some 100 000."""

_STANDARD_DOMAINS = (b"", b"ai.onnx")
_CONTROL_FLOW = (b"If", b"Loop", b"Scan", b"SequenceMap")

_VARINT, _FIXED_64, _MESSAGE, _FIXED_32 = 0, 1, 2, 5  # kinds of value; 3 and 4 are long disused


def _message(number: int) -> int:
    """How a field with a message or a text begins."""
    return number << 3 | _MESSAGE


_GRAPH, _FUNCTION = _message(7), _message(25)  # of ModelProto
_NODE, _INITIALIZER, _SPARSE_INITIALIZER = _message(1), _message(5), _message(15)  # of GraphProto
_OPERATOR, _ATTRIBUTE, _DOMAIN = _message(4), _message(5), _message(7)  # of NodeProto
_TENSORS, _SUBGRAPHS, _SPARSE_TENSORS = (  # of AttributeProto, one or several
    (_message(5), _message(10)),
    (_message(6), _message(11)),
    (_message(22), _message(23)),
)
_PARTS_OF_SPARSE = _message(1), _message(2)
_EXTERNAL_DATA, _DATA_LOCATION = _message(13), 14 << 3 | _VARINT  # of TensorProto

_NOT_ONNX = "is not an ONNX file"


def check_graph(content: bytes, name: str) -> None:
    """See that a graph is self-contained, made of standard operators alone, and sure to end.

    Args:
        content: Of the ONNX file.
        name: Of the file, for the error.

    Raises:
        UserError: It is no ONNX file, keeps tensors elsewhere, or has an operator from another
            domain than ONNX's own, a subgraph (loops and conditions) or functions.
    """
    try:
        _Check(content).model()
    except _Refusal as refusal:
        raise UserError(f"{name}: {refusal}") from None


class _Refusal(Exception):
    """What is wrong with the graph."""


class _Check:
    """One pass over a file; methods are named after the messages of onnx.proto3."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._fields_left = _MAX_FIELDS

    def model(self) -> None:
        graphs = 0
        for field, value in self._fields(range(len(self._content))):
            if field == _GRAPH:
                graphs += 1
                self._graph(value)
            elif field == _FUNCTION:
                raise _Refusal("found functions of its own, expected standard operators alone")
        if not graphs:
            raise _Refusal(_NOT_ONNX)

    def _graph(self, where: range) -> None:
        for field, value in self._fields(where):
            if field == _NODE:
                self._node(value)
            elif field == _INITIALIZER:
                self._tensor(value)
            elif field == _SPARSE_INITIALIZER:
                self._sparse_tensor(value)

    def _node(self, where: range) -> None:
        for field, value in self._fields(where):
            if field == _ATTRIBUTE:
                self._attribute(value)
            elif field == _OPERATOR and (name := self._text(value)) in _CONTROL_FLOW:
                raise _Refusal(
                    f"found the operator {_shown(name)}, expected no loops and no conditions"
                )
            elif field == _DOMAIN and (domain := self._text(value)) not in _STANDARD_DOMAINS:
                raise _Refusal(
                    f"found an operator of the domain {_shown(domain)}, expected standard "
                    "operators alone"
                )

    def _attribute(self, where: range) -> None:
        for field, value in self._fields(where):
            if field in _SUBGRAPHS:
                raise _Refusal("found a graph within a node, expected no loops and no conditions")
            if field in _TENSORS:
                self._tensor(value)
            elif field in _SPARSE_TENSORS:
                self._sparse_tensor(value)

    def _sparse_tensor(self, where: range) -> None:
        for field, value in self._fields(where):
            if field in _PARTS_OF_SPARSE:
                self._tensor(value)

    def _tensor(self, where: range) -> None:
        for field, value in self._fields(where):
            if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
                raise _Refusal(
                    "found a tensor that is kept in another file, expected all of them within the "
                    "graph; save it without external data"
                )

    def _fields(self, where: range) -> Iterator[tuple[int, Any]]:
        """How each field begins, and its value: a number, or where in the content it lies."""
        content, at, end = self._content, where.start, where.stop
        while at < end:
            self._fields_left -= 1
            if self._fields_left < 0:
                raise _Refusal(f"found more than {_MAX_FIELDS} fields; export a smaller model")
            tag = content[at]  # most numbers are of one byte
            if tag < 0x80:
                at += 1
            else:
                tag, at = self._varint(at, end)
            kind = tag & 7
            value: int | range | None = None
            if kind == _MESSAGE:
                length, at = self._varint(at, end)
                value = range(at, at + length)
                at += length
            elif kind == _VARINT:
                value, at = self._varint(at, end)
            elif kind == _FIXED_32:
                at += 4
            elif kind == _FIXED_64:
                at += 8
            else:
                raise _Refusal(_NOT_ONNX)
            if at > end or not 8 <= tag < 2**32:
                raise _Refusal(_NOT_ONNX)
            yield tag, value

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """A number of up to 64 bits, and where it ends."""
        if at < end and (value := self._content[at]) < 0x80:
            return value, at + 1
        value = 0
        for index in range(min(10, end - at)):
            byte = self._content[at + index]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value, at + index + 1
        raise _Refusal(_NOT_ONNX)

    def _text(self, where: range) -> bytes:
        return self._content[where.start : where.stop]


def _shown(text: bytes) -> str:
    return repr(text[:80].decode(errors="replace"))
