"""Sources of pictures to index: a folder of files, or a bucket of an object store."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from visualsearch.domain.errors import ImageTooLarge, InvalidInput, NotFound
from visualsearch.domain.images import MAX_UPLOAD_BYTES
from visualsearch.domain.object_keys import is_folder, is_reserved, is_upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from visualsearch.ports import ObjectStore

PAGE = 1000
FOLDERS = "folders/"


@dataclass(frozen=True, slots=True)
class Item:
    """One file or object: its display name, its key in the corpus, and its size in bytes."""

    name: str
    key: str
    size: int
    source: str
    etag: str = ""
    """Entity tag; empty unless a store lists it."""


class PictureSource(Protocol):
    """A source of pictures for ``visualsearch index``."""

    in_place: bool
    """Whether the objects are in the corpus' own bucket already, so that nothing is read or written."""

    def pages(self) -> AsyncIterator[list[Item]]:
        """Yield every item in a stable order, in pages."""
        ...

    async def read(self, item: Item) -> bytes:
        """Read one item. Raises ``InvalidInput`` with a reason if it cannot be read."""
        ...


class Folder:
    """A folder of files, or one file. A key is the folder's name and the path below it.

    Keys of a folder that is called like one of our own in the bucket, such as ``queries``, begin with ``FOLDERS``.
    """

    in_place = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._root = path if path.is_dir() else path.parent
        self._source = self._root.resolve().name
        self._below = _key_prefix(self._source)

    async def pages(self) -> AsyncIterator[list[Item]]:
        """Yield every file in pages, without hidden files and folders."""
        files = self._files()
        while page := await asyncio.to_thread(lambda: list(islice(files, PAGE))):
            yield page

    def _files(self) -> Iterator[Item]:
        if self._path.is_file():
            yield self._item(self._path)
            return
        for parent, folders, names in os.walk(self._path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    yield self._item(Path(parent) / name)

    def _item(self, file: Path) -> Item:
        try:
            size = file.stat().st_size
        except OSError:  # read() will raise the reason
            size = 0
        # Replace bytes of the name that are not valid text.
        name = os.fsencode(file).decode(errors="replace")
        return Item(name, f"{self._below}{file.relative_to(self._root).as_posix()}", size, self._source)

    async def read(self, item: Item) -> bytes:
        """Read a file, unless it is larger than an upload may be."""
        file = self._root / item.key.removeprefix(self._below)
        try:
            return await asyncio.to_thread(_read, file)
        except OSError as error:
            raise InvalidInput(f"The file cannot be read: {error.strerror}.") from None


def _read(file: Path) -> bytes:
    if not file.is_file() and file.exists():
        raise InvalidInput("It is no regular file.")
    size = file.stat().st_size
    if size > MAX_UPLOAD_BYTES:
        raise ImageTooLarge(f"The file has {size} bytes; {MAX_UPLOAD_BYTES} are the limit.")
    return file.read_bytes()


class Bucket:
    """Objects under a prefix of the corpus' own bucket, or of another one, whose objects are copied."""

    def __init__(self, object_store: ObjectStore, prefix: str, own: str) -> None:
        self._object_store = object_store
        self._prefix = prefix
        self._below = _key_prefix(object_store.bucket)
        self.in_place = object_store.bucket == own

    async def pages(self) -> AsyncIterator[list[Item]]:
        """Yield every object under the prefix; in the corpus' own bucket, without reserved keys and uploads."""
        async for page in self._object_store.walk(self._prefix):
            files = [one for one in page if not is_folder(one.key)]
            wanted = [one for one in files if not (self.in_place and _is_ours(one.key))]
            yield [self._item(one.key, one.size, one.etag) for one in wanted]

    def _item(self, key: str, size: int, etag: str) -> Item:
        name = f"s3://{self._object_store.bucket}/{key}"
        if self.in_place:
            folder, _, _ = key.rpartition("/")
            return Item(name, key, size, folder.split("/")[0], etag)
        return Item(name, f"{self._below}{key}", size, self._object_store.bucket, etag)

    async def read(self, item: Item) -> bytes:
        """Read an object, unless it is larger than an upload may be."""
        try:
            return await self._object_store.get(item.key.removeprefix(self._below), MAX_UPLOAD_BYTES)
        except NotFound:
            raise InvalidInput("It was removed meanwhile.") from None


def _key_prefix(name: str) -> str:
    """Return the prefix of the keys of a folder or bucket."""
    return f"{FOLDERS}{name}/" if _is_ours(f"{name}/") else f"{name}/"


def _is_ours(key: str) -> bool:
    """Return whether the key is one of the objects that the gateway stores and announces itself."""
    return is_reserved(key) or is_upload(key)
