"""Sources of pictures to index: what a source is, and the bucket of an object store."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol

from typing_extensions import override

from indexer.sources.omissions import Omissions
from visualsearch.domain.errors import InvalidInput, NotFound
from visualsearch.domain.images import MAX_UPLOAD_BYTES, Visibility
from visualsearch.domain.indexing import ObjectMetadata
from visualsearch.domain.object_keys import canonical_key, is_folder, is_query, is_reserved, is_upload
from visualsearch.imaging.formats.table import format_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from visualsearch.ports import ObjectStore

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
    renamed: bool = False
    """Whether the key differs from the name because no key can have it."""
    owner: str = ""
    visibility: Visibility = Visibility.PUBLIC
    in_place: bool = False
    """Whether the object is in the corpus' own bucket already, although not all of the source is."""
    refusal: str = ""
    """Why the item is neither read nor indexed; empty if it is."""

    def check(self) -> None:
        """Raise ``InvalidInput`` if the source refuses the item."""
        if self.refusal:
            raise InvalidInput(self.refusal)


class NoPicture(InvalidInput):
    """A file is no picture, neither by its first bytes nor by its name, so nobody expects to find it."""


def check_is_picture(name: str, head: bytes) -> None:
    """Raise ``NoPicture``, or why a picture is refused, if a file's first bytes are of no accepted format."""
    try:
        format_of(head)
    except InvalidInput as error:
        media_type, _ = mimetypes.guess_type(f"file{PurePath(name).suffix}")
        if media_type is not None and media_type.startswith("image/"):
            raise
        raise NoPicture(str(error)) from None


class PictureSource(Protocol):
    """A source of pictures for ``visualsearch index``."""

    in_place: bool
    """Whether the objects are in the corpus' own bucket already, so that nothing is read or written."""
    omissions: Omissions
    """What the last complete listing left out."""

    def pages(self) -> AsyncIterator[list[Item]]:
        """Yield every item in a stable order, in pages."""
        ...

    async def read(self, item: Item) -> bytes:
        """Read one item. Raises ``NoPicture``; ``InvalidInput`` with a reason if it cannot be read."""
        ...

    async def fetch(self, item: Item) -> tuple[bytes, ObjectMetadata | None]:
        """Read one item as ``read`` does; return what its object says of who may see it too, if it is one."""
        return await self.read(item), None


class Bucket(PictureSource):
    """Objects whose keys begin with ``below``, in the corpus' ``own`` bucket or in another one, which is copied.

    The keys of the copies begin with ``prefix``, by default the bucket's name.
    """

    def __init__(self, object_store: ObjectStore, below: str, own: str, prefix: str = "") -> None:
        self._object_store = object_store
        self._below = below
        self._own = own
        self.name = object_store.bucket
        self.prefix = prefix or key_prefix(object_store.bucket)
        self.in_place = object_store.bucket == own
        self.omissions = Omissions()

    def named(self, prefix: str) -> Bucket:
        """Return this bucket with another prefix."""
        return Bucket(self._object_store, self._below, self._own, prefix)

    async def pages(self) -> AsyncIterator[list[Item]]:
        """Yield every object under the prefix but query images; of the own bucket, no reserved keys and uploads."""
        async for page in self._object_store.walk(self._below):
            files = [one for one in page if not (is_folder(one.key) or is_query(one.key))]
            wanted = [one for one in files if not (self.in_place and _is_ours(one.key))]
            yield [self._item(one.key, one.size, one.etag) for one in wanted]

    def _item(self, key: str, size: int, etag: str) -> Item:
        name = f"s3://{self._object_store.bucket}/{key}"
        if self.in_place:
            folder, _, _ = key.rpartition("/")
            return Item(name, key, size, folder.split("/")[0], etag)
        return Item(name, f"{self.prefix}{key}", size, self._object_store.bucket, etag)

    async def read(self, item: Item) -> bytes:
        """Read an object, unless it is no picture or larger than an upload may be."""
        data, _ = await self.fetch(item)
        return data

    @override
    async def fetch(self, item: Item) -> tuple[bytes, ObjectMetadata | None]:
        try:
            data, metadata = await fetch_copy(self._object_store, item.key.removeprefix(self.prefix))
        except NotFound:
            raise InvalidInput("It was removed meanwhile.") from None
        check_is_picture(item.name, data)
        return data, metadata


async def fetch_copy(object_store: ObjectStore, key: str) -> tuple[bytes, ObjectMetadata | None]:
    """Read an object of another bucket, and what is known of who may see it. Raises ``NotFound``.

    That bucket can be another corpus', so an upload without metadata is private.
    """
    stored = await object_store.fetch(canonical_key(key), MAX_UPLOAD_BYTES)
    unknown = ObjectMetadata("", Visibility.PRIVATE) if is_upload(key) else None
    return stored.data, stored.metadata or unknown


def key_prefix(name: str) -> str:
    """Return the prefix of the keys of a folder or bucket, which is none of our own."""
    prefix = f"{name}/"
    return FOLDERS + prefix if _is_ours(prefix) or prefix == FOLDERS or not name.strip() else prefix


def _is_ours(key: str) -> bool:
    """Return whether the key is one of the objects that the gateway stores and announces itself."""
    return is_reserved(key) or is_upload(key)
