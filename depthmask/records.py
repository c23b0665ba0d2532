"""tf.train.Example and TFRecord bytes, without TensorFlow.

A worker that only composes need not load TensorFlow (hundreds of MB a process). The messages are
those of tensorflow/core/example/{example,feature}.proto, declared in a descriptor pool of their own
so that they never meet TensorFlow's when both are loaded.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import google_crc32c
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

FeatureValue = bytes | str | int
# What a TFRecord file holds of each record besides its bytes: a length and two checksums.
FRAME_BYTES = 16
# A tf.train.Example cannot be larger.
_MAX_RECORD = 2**31


def _example_class() -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="depthmask/example.proto", package="depthmask", syntax="proto3"
    )
    for name, kind in (("BytesList", field.TYPE_BYTES), ("Int64List", field.TYPE_INT64)):
        message = file.message_type.add(name=name)
        message.field.add(name="value", number=1, type=kind, label=field.LABEL_REPEATED)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for name, number in (("bytes_list", 1), ("int64_list", 3)):
        feature.field.add(
            name=name,
            number=number,
            type=field.TYPE_MESSAGE,
            type_name=f".depthmask.{'BytesList' if number == 1 else 'Int64List'}",
            label=field.LABEL_OPTIONAL,
            oneof_index=0,
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    entry.field.add(
        name="value",
        number=2,
        type=field.TYPE_MESSAGE,
        type_name=".depthmask.Feature",
        label=field.LABEL_OPTIONAL,
    )
    features.field.add(
        name="feature",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".depthmask.Features.FeatureEntry",
        label=field.LABEL_REPEATED,
    )
    example = file.message_type.add(name="Example")
    example.field.add(
        name="features",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".depthmask.Features",
        label=field.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("depthmask.Example"))


_Example = _example_class()


def serialize_example(features: Mapping[str, FeatureValue]) -> bytes:
    """A serialised tf.train.Example with one value a feature, the same bytes for equal input."""
    example = _Example()
    feature = example.features.feature
    for name, value in features.items():
        if isinstance(value, int):
            feature[name].int64_list.value.append(value)
        else:
            feature[name].bytes_list.value.append(
                value.encode() if isinstance(value, str) else value
            )
    return bytes(example.SerializeToString(deterministic=True))


def parse_example(record: bytes) -> dict[str, bytes | int]:
    """The inverse of `serialize_example` (strings stay bytes). Raises ValueError."""
    try:
        features = _Example.FromString(record).features.feature
    except DecodeError as error:
        raise ValueError("not a tf.train.Example") from error
    found = {}
    for name, feature in features.items():
        texts, numbers = feature.bytes_list.value, feature.int64_list.value
        if len(texts) + len(numbers) != 1:
            raise ValueError(f"{name} has not one value")
        found[name] = (texts or numbers)[0]
    return found


def frame_record(record: bytes) -> bytes:
    """`record` as a TFRecord file holds it: length, masked CRC, data, masked CRC.

    Format: tensorflow/core/lib/io/record_writer.h.
    """
    length = struct.pack("<Q", len(record))
    return b"".join(
        (
            length,
            struct.pack("<I", _masked_crc(length)),
            record,
            struct.pack("<I", _masked_crc(record)),
        )
    )


def unframe_records(data: bytes) -> Iterator[bytes]:
    """The records in `data`, the bytes of a TFRecord file.

    Raises ValueError at a torn record or a wrong checksum.
    """
    return read_records(io.BytesIO(data))


def read_records(file: BinaryIO, skip: int = 0) -> Iterator[bytes]:
    """The records of an open TFRecord file, one at a time, without the first `skip`.

    Raises ValueError at a torn record or a wrong checksum.
    """
    offset = number = 0
    while header := file.read(12):
        if len(header) < 12:
            raise ValueError(f"torn record at byte {offset}")
        length, length_crc = struct.unpack("<QI", header)
        if length_crc != _masked_crc(header[:8]):
            raise ValueError(f"wrong length checksum at byte {offset}")
        if length > _MAX_RECORD:  # before memory is taken for it
            raise ValueError(f"a record of {length:,} bytes at byte {offset}")
        if number < skip:
            file.seek(length + 4, os.SEEK_CUR)
        else:
            data = file.read(length + 4)
            if len(data) < length + 4:
                raise ValueError(f"torn record at byte {offset}")
            record = data[:length]
            if struct.unpack("<I", data[length:])[0] != _masked_crc(record):
                raise ValueError(f"wrong data checksum at byte {offset}")
            yield record
        number += 1
        offset += FRAME_BYTES + length


def _masked_crc(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
