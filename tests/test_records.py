from pathlib import Path

import pytest
import tensorflow as tf

from depthmask.records import (
    frame_record,
    parse_example,
    read_records,
    serialize_example,
    unframe_records,
)

FEATURES = {"id": "Küche/bild+1", "image": b"\x00\xff" * 10, "x": -7, "flip": 1}


def test_tensorflow_parses_what_is_written(tmp_path: Path):
    path = tmp_path / "two.tfrecord"
    path.write_bytes(frame_record(serialize_example(FEATURES)) * 2)
    records = list(tf.data.TFRecordDataset(str(path)))
    assert len(records) == 2
    feature = tf.train.Example.FromString(records[1].numpy()).features.feature
    assert feature["id"].bytes_list.value[0].decode() == "Küche/bild+1"
    assert feature["image"].bytes_list.value[0] == b"\x00\xff" * 10
    assert feature["x"].int64_list.value[0] == -7


def test_the_order_of_features_does_not_change_the_bytes():
    backwards = dict(reversed(FEATURES.items()))
    assert serialize_example(backwards) == serialize_example(FEATURES)


def test_what_tensorflow_writes_is_parsed(tmp_path: Path):
    path = str(tmp_path / "one.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(serialize_example(FEATURES))
    (record,) = unframe_records(Path(path).read_bytes())
    assert parse_example(record) == FEATURES | {"id": "Küche/bild+1".encode()}


def test_damage_is_noticed():
    data = frame_record(b"some record") + frame_record(b"another")
    assert list(unframe_records(data)) == [b"some record", b"another"]
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(ValueError, match=r"torn|wrong"):
            list(unframe_records(bytes(damaged)))
    with pytest.raises(ValueError, match="torn"):
        list(unframe_records(data[:-1]))


def test_records_can_be_skipped(tmp_path: Path):
    path = tmp_path / "three.tfrecord"
    path.write_bytes(b"".join(map(frame_record, (b"one", b"", b"three"))))
    with path.open("rb") as file:
        assert list(read_records(file, skip=1)) == [b"", b"three"]
