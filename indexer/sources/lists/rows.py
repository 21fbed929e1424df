"""The rows of a table of pictures, out of a CSV or Parquet file."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer.parquet import open_parquet
from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.images import Visibility

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PLACES = ("path", "uri")
"""Columns that say where a picture is; a table has one of them."""
OTHERS = ("id", "source", "visibility", "owner")
SUFFIXES = (".csv", ".parquet")
EXTRA = "columns beyond those of the first line"
MAX_ID = 200
"""Characters of an id."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: where its picture is, and what is said of it. ``refusal`` says why it cannot be used."""

    number: int
    place: str
    id: str = ""
    source: str = ""
    owner: str = ""
    visibility: Visibility = Visibility.PUBLIC
    refusal: str = ""


def is_list(path: Path) -> bool:
    """Return whether a name is one of a table."""
    return path.suffix.lower() in SUFFIXES


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a table, counted from 1, without ever holding all of them.

    Raises ``InvalidInput`` if it has no suitable columns, and ``Unsupported`` if Parquet cannot be read here.
    """
    records = _csv(path) if path.suffix.lower() == ".csv" else _parquet(path)
    place = ""
    for number, record in enumerate(records, 1):
        place = place or _place(path, record)
        yield _row(number, place, record)


def _place(path: Path, record: Mapping[str, str]) -> str:
    """Return the column that says where pictures are. Raises ``InvalidInput`` for columns that mean nothing here."""
    found = [name for name in PLACES if name in record]
    unknown = [name for name in record if name not in (*PLACES, *OTHERS, EXTRA)]
    if len(found) != 1 or unknown:
        raise InvalidInput(
            f"{path} has the columns {', '.join(map(repr, record))}: one of {' and '.join(PLACES)} is needed, "
            f"{', '.join(OTHERS)} are known beside it. Rename or remove the others."
        )
    return found[0]


def _row(number: int, place: str, record: Mapping[str, str]) -> Row:
    visibility = record.get("visibility") or Visibility.PUBLIC
    refusal = ""
    if EXTRA in record:
        refusal = "The row has more columns than the first line."
    elif visibility not in set(Visibility):
        refusal = f"The visibility {visibility[:40]!r} is neither public nor private."
    elif not record[place]:
        refusal = f"The {place} is empty."
    elif len(record.get("id", "")) > MAX_ID:
        refusal = f"The id has more than {MAX_ID} characters."
    return Row(
        number,
        record[place],
        record.get("id", ""),
        record.get("source", ""),
        record.get("owner", ""),
        # Whatever does not say that it is public is private.
        Visibility.PUBLIC if visibility == Visibility.PUBLIC else Visibility.PRIVATE,
        refusal,
    )


def _csv(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for record in csv.DictReader(file, restkey=EXTRA, strict=True):
                yield {name: value or "" for name, value in record.items()}
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is no CSV file in UTF-8: {error}.") from None


def _parquet(path: Path) -> Iterator[dict[str, str]]:
    with open_parquet(path) as file:
        for batch in file.iter_batches():
            for record in batch.to_pylist():
                yield {name: "" if value is None else str(value) for name, value in record.items()}
