"""The object store, and its own log of changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from visualsearch.domain.indexing import Change, ObjectInfo, ObjectMetadata, StoredObject


class ObjectStore(Protocol):
    """The object store. Keys are relative to one bucket; a uri is ``s3://<bucket>/<key>``."""

    bucket: str

    async def ensure_bucket(self) -> None:
        """Create the bucket; no-op if it exists."""
        ...

    async def put(
        self,
        key: str,
        data: bytes,
        content_type: str = "application/octet-stream",
        metadata: ObjectMetadata | None = None,
    ) -> str:
        """Write an object with its metadata, replacing both; return its etag."""
        ...

    async def get(self, key: str, max_bytes: int) -> bytes:
        """Read an object. Raises ``NotFound``; ``ImageTooLarge`` if it has more than ``max_bytes``."""
        ...

    async def fetch(self, key: str, max_bytes: int) -> StoredObject:
        """Read an object as ``get`` does; return its entity tag and metadata too."""
        ...

    async def metadata(self, key: str) -> ObjectMetadata | None:
        """Return the metadata of an object; None if it was stored without. Raises ``NotFound``."""
        ...

    async def etag(self, key: str) -> str:
        """Return the entity tag of an object. Raises ``NotFound``."""
        ...

    async def delete(self, key: str) -> None:
        """Delete an object; no-op if it does not exist."""
        ...

    def walk(self, prefix: str = "", after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        """Yield every object under a prefix whose key sorts after ``after``, in pages, in the store's own order."""
        ...

    async def check(self) -> None:
        """Put one small object; raise ``Unavailable`` if it fails."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...

    def uri(self, key: str) -> str:
        """Return the uri of a picture's key; raises ``InvalidInput`` if no picture of the corpus may have the key."""
        ...

    def uri_prefix(self, prefix: str) -> str:
        """Return what the uris of all keys with this prefix begin with."""
        ...

    def key(self, uri: str) -> str:
        """Return the key of a picture's uri; raises ``InvalidInput`` for any other uri, or another spelling of one."""
        ...


class ChangeFeed(Protocol):
    """The object store's change log."""

    def follow(self, since_ns: int) -> AsyncGenerator[list[Change], None]:
        """Yield every change of the bucket after ``since_ns`` (nanoseconds since 1970), oldest first, without end.

        Changes that arrive together are yielded together, at most 1,000 at a time. If nothing changes, it yields an
        empty list at least every second, so that the caller can do other work. Raises ``Unavailable`` if the connection
        is lost.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
