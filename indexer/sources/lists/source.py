"""A table of pictures as a source for `visualsearch index`."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from typing_extensions import override

from indexer.sources.file_keys import key_below
from indexer.sources.lists.rows import Row, read_rows
from indexer.sources.omissions import Omissions
from indexer.sources.picture_sources import Item, PictureSource, check_is_picture, fetch_copy
from visualsearch.domain.errors import ImageTooLarge, InvalidInput, NotFound
from visualsearch.domain.images import MAX_UPLOAD_BYTES
from visualsearch.domain.object_keys import bucket_name, canonical_key, is_query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from visualsearch.domain.indexing import ObjectMetadata
    from visualsearch.ports import ObjectStore

PAGE = 1000
S3 = "s3://"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedItem(Item):
    """A row's picture: a file, or an object in another bucket."""

    file: Path | None = None
    bucket: str = ""
    object_key: str = ""


class PictureList(PictureSource):
    """The pictures that a table names. A key is ``prefix``, and the row's id with the suffix of its file, or its path.

    Paths are relative to the table's folder. What an object in the corpus' own bucket is called stays; objects in other
    buckets are copied. ``open_bucket`` connects to one.
    """

    in_place = False

    def __init__(self, path: Path, prefix: str, own_bucket: str, open_bucket: Callable[[str], ObjectStore]) -> None:
        self._path = path
        self._folder = path.parent.resolve()
        self.prefix = prefix
        self._source = prefix.removesuffix("/").rpartition("/")[2]
        self._own_bucket = own_bucket
        self._open_bucket = open_bucket
        self._buckets: dict[str, ObjectStore] = {}
        self.omissions = Omissions()

    async def pages(self) -> AsyncIterator[list[Item]]:
        """Yield every row's picture in pages. Raises ``InvalidInput`` if the table cannot be read."""
        rows = read_rows(self._path)
        while page := await asyncio.to_thread(lambda: [self._item(row) for row in islice(rows, PAGE)]):
            yield page

    def _item(self, row: Row) -> Item:
        name = f"{self._path.name} row {row.number}: {row.place}"
        source = row.source or self._source
        if row.place.startswith(S3):
            bucket, _, key = row.place.removeprefix(S3).partition("/")
            file, below = None, PurePosixPath(f"{bucket}/{key}")
        else:
            bucket, key = "", ""
            file = Path(os.path.normpath(self._folder / row.place.removeprefix("file://")))
            below = PurePosixPath(self._below(file))
        in_place = bucket != "" and bucket == self._own_bucket
        return ListedItem(
            name=name,
            key=key if in_place else self._key(row, below),
            size=0,
            source=source,
            owner=row.owner,
            visibility=row.visibility,
            in_place=in_place,
            file=file,
            bucket=bucket,
            object_key=key,
            refusal=row.refusal or _refusal(row.place, bucket, key),
        )

    def _key(self, row: Row, below: PurePosixPath) -> str:
        if row.id:
            return key_below(self.prefix, PurePosixPath(row.id)) + below.suffix.lower()
        return key_below(self.prefix, below)

    def _below(self, file: Path) -> str:
        """Return the path below the table's folder; of a file elsewhere, the whole path without the root."""
        if file.is_relative_to(self._folder):
            return file.relative_to(self._folder).as_posix()
        return file.as_posix().lstrip("/")

    async def read(self, item: Item) -> bytes:
        """Read a row's file or object."""
        data, _ = await self.fetch(item)
        return data

    @override
    async def fetch(self, item: Item) -> tuple[bytes, ObjectMetadata | None]:
        assert isinstance(item, ListedItem)
        item.check()
        if item.file:
            data, metadata = await asyncio.to_thread(_read, item.file), None
        else:
            data, metadata = await self._copy(item)
        check_is_picture(item.object_key or str(item.file), data)
        return data, metadata

    async def _copy(self, item: ListedItem) -> tuple[bytes, ObjectMetadata | None]:
        if item.bucket not in self._buckets:
            self._buckets[item.bucket] = self._open_bucket(item.bucket)
        try:
            return await fetch_copy(self._buckets[item.bucket], item.object_key)
        except NotFound:
            raise InvalidInput("There is no such object.") from None


def _read(file: Path) -> bytes:
    try:
        if not file.is_file() and file.exists():
            raise InvalidInput("It is no regular file.")
        size = file.stat().st_size
        if size > MAX_UPLOAD_BYTES:
            raise ImageTooLarge(f"The file has {size} bytes; {MAX_UPLOAD_BYTES} are the limit.")
        return file.read_bytes()
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        raise InvalidInput(f"The file cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _refusal(place: str, bucket: str, key: str) -> str:
    """Return why nothing is read from a place; empty if it can be."""
    if _is_elsewhere(place):
        return f"Only files and {S3} can be read."
    if place.startswith(S3):
        try:
            bucket_name(bucket)
            canonical_key(key)
        except InvalidInput as error:
            return str(error)
        if is_query(key):
            return f"The key {key[:80]!r} is reserved for query pictures."
    return ""


def _is_elsewhere(place: str) -> bool:
    scheme, separator, _ = place.partition("://")
    return bool(separator) and scheme.isalnum() and scheme not in {"s3", "file"}
