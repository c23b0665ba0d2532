"""Parquet files as Hugging Face's ``datasets`` writes them: a row an example, pictures encoded."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from depthmask.records import parse_example, serialize_example
from pipeline.export.pictures import Picture
from transforms.index import INDEX_COLUMNS

if TYPE_CHECKING:  # heavy: imported where it is used
    import pyarrow as pa

# As that package has it for pictures: the Hub's viewer and readers in a stream load one at a time.
_ROWS_A_GROUP = 100
_PICTURES = ("image", "mask", "depth")
_NUMBERS = ("placement", "x", "y", "width", "height")


def features(columns: Iterable[str]) -> dict[str, dict[str, str]]:
    """The columns as that package describes them."""
    return {name: _feature(name) for name in columns}


def _feature(name: str) -> dict[str, str]:
    if name in _PICTURES:
        return {"_type": "Image"}
    return {"dtype": _scalar(name), "_type": "Value"}


def _scalar(name: str) -> str:
    return "bool" if name == "flip" else "int64" if name in _NUMBERS else "string"


def row(values: Mapping[str, Any], pictures: Mapping[str, Picture]) -> bytes:
    """A row, for `write_parquet`: pictures first, then an example's other `values`, by column."""
    encoded = {kind: picture.data for kind, picture in pictures.items()}
    paths = {f"{kind}.path": f"{values['id']}.{p.suffix}" for kind, p in pictures.items()}
    return serialize_example({**encoded, **values, **paths})


def write_parquet(rows: Iterable[bytes], output: BinaryIO) -> None:
    """Writes rows of the same columns to a file, a group of them in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parsed = (parse_example(data) for data in rows)
    groups = iter(lambda: list(itertools.islice(parsed, _ROWS_A_GROUP)), [])
    first = next(groups)
    columns = columns_of(first[0])
    described = {"huggingface": json.dumps({"info": {"features": features(columns)}})}
    schema = pa.schema([(name, _type(name)) for name in columns], metadata=described)
    pictures = [name for name in columns if name in _PICTURES]
    others = [name for name in columns if name not in _PICTURES]
    with pq.ParquetWriter(
        output,
        schema,
        compression=dict.fromkeys(others, "snappy")
        | {f"{name}.{part}": "none" for name in pictures for part in ("bytes", "path")},
        use_dictionary=others,
        write_page_index=True,
    ) as writer:
        for group in itertools.chain([first], groups):
            arrays = [_column(name, group) for name in columns]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), _ROWS_A_GROUP)


def columns_of(names: Collection[str]) -> list[str]:
    """The columns in their order: pictures, then the others as in index.csv."""
    # A parsed record has its features in another order in each process.
    return [name for name in (*_PICTURES, *INDEX_COLUMNS) if name in names]


def _type(name: str) -> pa.DataType:
    import pyarrow as pa

    if name in _PICTURES:
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return {"bool": pa.bool_(), "int64": pa.int64(), "string": pa.string()}[_scalar(name)]


def _column(name: str, rows: list[dict[str, Any]]) -> pa.Array:
    import pyarrow as pa

    if name in _PICTURES:
        pictures = [{"bytes": row[name], "path": row[f"{name}.path"].decode()} for row in rows]
        return pa.array(pictures, _type(name))
    values = [row[name].decode() if isinstance(row[name], bytes) else row[name] for row in rows]
    return pa.array(map(bool, values) if name == "flip" else values, _type(name))
