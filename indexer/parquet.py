"""Parquet files, by pyarrow, which an installation may lack."""

from __future__ import annotations

import importlib.util
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from visualsearch.domain.errors import InvalidInput, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def require_parquet() -> None:
    """Raise ``Unsupported`` if Parquet cannot be read or written here."""
    if importlib.util.find_spec("pyarrow") is None:
        raise Unsupported("Parquet needs pyarrow, which is not installed: pip install -e '.[parquet]'.")


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """Open a file as pyarrow's ``ParquetFile``, whose ``iter_batches`` reads it in pieces.

    Raises ``Unsupported``, and ``InvalidInput`` if it is no Parquet file, or damaged.
    """
    require_parquet()
    # Imported here, because it takes half a second to load and 150 MB to install.
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        raise InvalidInput(f"{path} is no Parquet file, or damaged: {str(error)[:200]}") from None
