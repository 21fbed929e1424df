"""The object store in memory."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from visualsearch.adapters.s3.object_store import key_of, uri_of, uri_prefix_of
from visualsearch.domain.errors import ImageTooLarge, NotFound, Unavailable
from visualsearch.domain.indexing import ObjectInfo, ObjectMetadata, StoredObject
from visualsearch.domain.object_keys import canonical_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGE = 1000


class FakeObjectStore:
    """Objects are plain attributes that tests can inspect. While ``down`` is set, every call raises ``Unavailable``."""

    def __init__(self, bucket: str = "images") -> None:
        self.down = False
        self.bucket = bucket
        self.objects: dict[str, bytes] = {}
        self.known: dict[str, ObjectMetadata | None] = {}
        self.changed: dict[str, datetime] = {}

    def _up(self) -> None:
        if self.down:
            raise Unavailable("The object store")

    async def ensure_bucket(self) -> None:
        self._up()

    async def put(
        self,
        key: str,
        data: bytes,
        content_type: str = "application/octet-stream",
        metadata: ObjectMetadata | None = None,
    ) -> str:
        self._up()
        canonical_key(key)
        self.objects[key] = data
        self.known[key] = metadata
        self.changed[key] = datetime.now(UTC)
        return _etag(data)

    def put_by_another_program(self, key: str, data: bytes) -> None:
        """Store an object under any key, as programs do that know no rules."""
        self.objects[key] = data
        self.changed[key] = datetime.now(UTC)

    async def get(self, key: str, max_bytes: int) -> bytes:
        self._up()
        canonical_key(key)
        if key not in self.objects:
            raise NotFound(f"The object store has no {key!r}.")
        if len(self.objects[key]) > max_bytes:
            raise ImageTooLarge(f"The file has {len(self.objects[key])} bytes; {max_bytes} are the limit.")
        return self.objects[key]

    async def fetch(self, key: str, max_bytes: int) -> StoredObject:
        data = await self.get(key, max_bytes)
        return StoredObject(data, _etag(data), self.known.get(key))

    async def metadata(self, key: str) -> ObjectMetadata | None:
        return (await self.fetch(key, 2**40)).metadata

    async def etag(self, key: str) -> str:
        return (await self.fetch(key, 2**40)).etag

    async def delete(self, key: str) -> None:
        self._up()
        self.objects.pop(canonical_key(key), None)

    async def walk(self, prefix: str = "", after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        self._up()
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        for begin in range(0, len(keys), PAGE):
            yield [self._info(key) for key in keys[begin : begin + PAGE]]

    def _info(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, len(self.objects[key]), _etag(self.objects[key]), self.changed[key])

    async def check(self) -> None:
        self._up()

    async def close(self) -> None:
        pass

    def uri(self, key: str) -> str:
        return uri_of(self.bucket, key)

    def uri_prefix(self, prefix: str) -> str:
        return uri_prefix_of(self.bucket, prefix)

    def key(self, uri: str) -> str:
        return key_of(self.bucket, uri)


def _etag(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()
