"""The Parquet file of an index: its columns, and what its metadata says of the encoder."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.exchange.records import IndexHeader, IndexRecord
from indexer.parquet import open_parquet, require_parquet
from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.images import EMBEDDING_DIM, Visibility

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

METADATA = b"visualsearch.index"
"""Key of the file's own metadata: JSON."""
FORMAT = 1
PAGE = 1000
"""Records that are read at once: 1 MB of vectors."""


@contextmanager
def writing(path: Path, header: IndexHeader) -> Iterator[Callable[[Sequence[IndexRecord]], None]]:
    """Write an index, page by page; the file has its name only when it is complete, and is its owner's alone.

    Raises ``InvalidInput`` if the name is taken, and ``Unsupported`` without pyarrow.
    """
    require_parquet()
    import pyarrow
    import pyarrow.parquet

    if path.exists():
        raise InvalidInput(f"{path} exists already: choose another name.")
    schema = _schema(header)
    unfinished = path.with_name(f".{path.name}.writing")
    try:
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        with pyarrow.parquet.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            yield lambda records: writer.write_table(pyarrow.Table.from_pydict(_columns(records), schema))
        unfinished.rename(path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def reading(path: Path) -> Iterator[tuple[IndexHeader, Iterator[list[IndexRecord]]]]:
    """Open an index; yield its header, and its records page by page.

    Raises ``InvalidInput`` if the file is no index, and ``Unsupported`` without pyarrow.
    """
    with open_parquet(path) as file:
        described = json.loads((file.schema_arrow.metadata or {}).get(METADATA, b"{}"))
        if described.pop("format", None) != FORMAT or not file.schema_arrow.equals(_schema(IndexHeader("", "", 0, ""))):
            raise InvalidInput(f"{path} is no index of format {FORMAT}: `visualsearch export-index` writes one.")
        yield IndexHeader(**described), map(_records, file.iter_batches(PAGE))


def _schema(header: IndexHeader) -> Any:  # noqa: ANN401 - pyarrow has no types
    import pyarrow as pa

    fields = {
        "id": pa.int64(),
        "uri": pa.string(),
        "source": pa.string(),
        "owner": pa.string(),
        "visibility": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "content_hash": pa.binary(),
        "etag": pa.string(),
        "phash": pa.uint64(),
        "phash_mirrored": pa.uint64(),
        "colours": pa.binary(),
        "vector": pa.list_(pa.float32(), EMBEDDING_DIM),
    }
    columns = [pa.field(name, kind, nullable=False) for name, kind in fields.items()]
    return pa.schema(columns, metadata={METADATA: json.dumps({"format": FORMAT, **asdict(header)})})


def _columns(records: Sequence[IndexRecord]) -> dict[str, list[Any]]:
    return {name: [getattr(one, name) for one in records] for name in IndexRecord.__slots__}


def _records(batch: Any) -> list[IndexRecord]:  # noqa: ANN401
    vectors = batch.column("vector").flatten().to_numpy(zero_copy_only=False).reshape(-1, EMBEDDING_DIM)
    rows = batch.drop_columns(["vector"]).to_pylist()
    return [
        # Whatever does not say that it is public is private.
        IndexRecord(**{**row, "visibility": _visibility(row["visibility"])}, vector=np.array(vector, np.float32))
        for row, vector in zip(rows, vectors, strict=True)
    ]


def _visibility(text: str) -> Visibility:
    return Visibility.PUBLIC if text == Visibility.PUBLIC else Visibility.PRIVATE
