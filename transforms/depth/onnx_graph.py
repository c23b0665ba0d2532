"""Which files an ONNX graph keeps its weights in, read from the graph itself.

The format is protobuf: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Reading just what
names files needs no package, and not the weights within the graph.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field

_MAX_NESTING = 64


class GraphError(ValueError):
    """Bytes that are no ONNX graph."""


@dataclass(frozen=True)
class _Message:
    """A kind of message: the numbers of its fields that lead to tensors, and what they hold."""

    fields: dict[int, _Message] = field(default_factory=dict)


# Of a StringStringEntry.
_KEY, _VALUE = 1, 2
_ENTRY = _Message()
_TENSOR = _Message({13: _ENTRY})
_SPARSE = _Message({1: _TENSOR, 2: _TENSOR})
_GRAPH = _Message()
_ATTRIBUTE = _Message({5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE})
_NODE = _Message({5: _ATTRIBUTE})
_GRAPH.fields.update({1: _NODE, 5: _TENSOR, 15: _SPARSE})
_FUNCTION = _Message({7: _NODE, 11: _ATTRIBUTE})
_MODEL = _Message({7: _GRAPH, 20: _Message({1: _GRAPH, 2: _GRAPH}), 25: _FUNCTION})


def external_files(graph: bytes | mmap.mmap) -> frozenset[str]:
    """Returns the names of the files beside a graph in which its weights lie, as it writes them.

    Raises GraphError for bytes that are no ONNX graph.
    """
    return frozenset(_locations(memoryview(graph), _MODEL, 0))


def _locations(data: memoryview, message: _Message, nesting: int) -> Iterator[str]:
    if nesting > _MAX_NESTING:
        raise GraphError("nested too deeply")
    if message is _ENTRY:
        entry = {number: bytes(value) for number, value in _fields(data)}
        if entry.get(_KEY) == b"location":
            try:
                yield entry.get(_VALUE, b"").decode()
            except UnicodeDecodeError as error:
                raise GraphError("a file's name is no text") from error
        return
    for number, value in _fields(data):
        if inner := message.fields.get(number):
            yield from _locations(value, inner, nesting + 1)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yields the fields of a message that have a length; the others are skipped."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise GraphError("cut off")
            yield tag >> 3, data[at : at + size]
            at += size
        elif kind not in (3, 4):  # a group's fields, which may be any, are looked at too
            raise GraphError(f"no field has the type {kind}")
    if at > len(data):
        raise GraphError("cut off")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise GraphError("cut off")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
