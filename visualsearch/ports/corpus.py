"""Protocols of the corpus: catalog, event stream, object store and change feed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    from visualsearch.domain.images import Image, ImageMetadata, ImageSummary, NewImage, Status
    from visualsearch.domain.indexing import Change, DeadLetter, Delivery, Event, ObjectInfo, StreamState


class Catalog(Protocol):
    """Metadata of images and releases."""

    async def register(self, new: NewImage) -> Image:
        """Write a pending row, or return the uri's existing row (reset to pending if its content differs).

        A uri keeps its id for ever. If ``new`` has an entity tag, the row takes it over.
        """
        ...

    async def register_all(self, new: Sequence[NewImage]) -> list[Image]:
        """Register images of different uris in one statement; return their rows in the same order."""
        ...

    async def get(self, image_id: int) -> Image:
        """Return one image; raises ``NotFound``."""
        ...

    async def by_uri(self, uri: str) -> Image | None:
        """Return the image of a uri, or None."""
        ...

    async def by_uris(self, uris: Sequence[str]) -> dict[str, Image]:
        """Return images by uri, for those that exist."""
        ...

    async def by_ids(self, image_ids: Sequence[int]) -> dict[int, Image]:
        """Return images by id, for those that exist."""
        ...

    async def describe(self, described: Sequence[ImageMetadata]) -> None:
        """Write size, content hash, entity tag and pHash of images. Call this before their vectors are written."""
        ...

    async def mark_indexed(self, contents: Mapping[int, bytes], release: str) -> list[int]:
        """Mark images (id to content hash) as searchable in a release.

        Returns the ids that were marked. The others were deleted in the meantime, or described with other content.
        """
        ...

    async def mark_rejected(self, image_id: int, reason: str, etag: str = "") -> None:
        """Mark an image as rejected with a reason. ``etag`` names the object that was examined."""
        ...

    async def mark_pending(self, image_ids: Sequence[int]) -> list[Image]:
        """Set images back to pending; return those that exist."""
        ...

    async def after_uri(self, uri: str, limit: int) -> list[Image]:
        """Return the first ``limit`` images whose uri sorts (bytewise) after this one, in that order."""
        ...

    async def after_id(self, image_id: int, limit: int) -> list[Image]:
        """Return the first ``limit`` indexed images with a higher id, ascending."""
        ...

    async def hashes(self, after: int, limit: int) -> list[tuple[int, int]]:
        """Return (id, pHash) of the first ``limit`` indexed images with a higher id, ascending."""
        ...

    async def delete(self, image_id: int) -> str:
        """Delete an image's rows, leave a tombstone and return its uri. Raises ``NotFound``.

        If an earlier deletion of the same id is unfinished (see ``finish_deletion``), its uri is returned.
        """
        ...

    async def finish_deletion(self, image_id: int) -> None:
        """Mark a deletion as finished: the image's vector and object are removed too."""
        ...

    async def unfinished_deletions(self, older_than_s: float, limit: int) -> list[tuple[int, str]]:
        """List (id, uri) of deletions older than this whose vector or object may still exist."""
        ...

    async def is_being_deleted(self, uri: str) -> bool:
        """Return whether a deletion of the uri is unfinished, so that its object may still exist."""
        ...

    async def is_deleted(self, uri: str) -> bool:
        """Return whether the uri's last image was deleted."""
        ...

    async def hashes_of(self, image_ids: Sequence[int]) -> list[tuple[int, int]]:
        """Return (id, pHash) of these images, for those that have one."""
        ...

    async def waiting(self, older_than_s: float, limit: int) -> list[Image]:
        """List images that have been pending for longer than this, oldest first."""
        ...

    async def counts(self) -> dict[Status, int]:
        """Count images by status."""
        ...

    async def allocate_query_ids(self, count: int) -> list[int]:
        """Allocate ids for queries from the sequence of the images, so that the two never collide."""
        ...

    async def was_issued(self, query_image_id: int) -> bool:
        """Return whether an id was ever given to an image or a query."""
        ...

    async def check(self) -> None:
        """Run one statement; raise ``Unavailable`` if it fails."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class DuplicateExclusions(Protocol):
    """Pairs of images that people marked as no duplicates, whatever their pHashes say."""

    async def pairs_and_shown(
        self, candidates: Sequence[int], wanted: Sequence[int]
    ) -> tuple[set[tuple[int, int]], dict[int, ImageSummary]]:
        """Return the candidates' duplicate exclusions and the wanted images that are indexed.

        Exclusions are pairs (lower id, higher id); images are by id.
        """
        ...

    async def mark_not_duplicates(self, one: int, other: int, by: str) -> None:
        """Mark two images as not duplicates of each other, and record who did."""
        ...

    async def unmark_not_duplicates(self, one: int, other: int) -> bool:
        """Remove the mark of two images; return whether there was one."""
        ...


class DeadLetterArchive(Protocol):
    """Dead letters in the catalog, where a person can query them."""

    async def dead_letter(self, letter: DeadLetter) -> None:
        """Store a dead letter where people can query it."""
        ...


class IndexingProgress(Protocol):
    """How far change logs were followed, and what the last reconciliation found."""

    async def position(self, log: str) -> int | None:
        """Return the position in a change log, in nanoseconds since 1970; None if there is none."""
        ...

    async def set_position(self, log: str, at_ns: int) -> None:
        """Record the position in a change log."""
        ...

    async def record_differences(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Record the counts of a reconciliation by (release, kind), replacing those of the last one."""
        ...

    async def differences(self) -> dict[tuple[str, str], int]:
        """Return the counts of the last reconciliation by (release, kind)."""
        ...


class EventStream(Protocol):
    """The stream of indexing events."""

    async def ensure_group(self) -> None:
        """Create the stream and its consumer group; no-op if they exist."""
        ...

    async def publish(self, events: Sequence[Event]) -> None:
        """Append events."""
        ...

    async def read(self, consumer: str, count: int, block_s: float, stale_after_s: float) -> list[Delivery]:
        """Read up to ``count`` events: first those that another consumer has held for ``stale_after_s``, then new ones.

        Waits up to ``block_s`` for new ones.
        """
        ...

    async def begin_attempt(self, entry_ids: Sequence[str]) -> dict[str, int]:
        """Count an attempt at each redelivered entry; return its number of earlier unfinished attempts."""
        ...

    async def end_attempt(self, entry_ids: Sequence[str]) -> None:
        """Mark attempts at redelivered entries as finished, whatever their result."""
        ...

    async def release(self, consumer: str, entry_ids: Sequence[str]) -> None:
        """Make entries available to other consumers at once, without counting a delivery."""
        ...

    async def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Acquire or renew the lease of a task that only one process may run; return False if another holds it."""
        ...

    async def acknowledge(self, entry_ids: Sequence[str]) -> None:
        """Acknowledge entries."""
        ...

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """Move an entry to the dead-letter stream and acknowledge it, in one step."""
        ...

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Return dead letters, newest first."""
        ...

    async def requeue(self, entry_ids: Sequence[str]) -> int:
        """Put dead letters back on the stream (all if no id is given); return how many."""
        ...

    async def state(self) -> StreamState:
        """Return the backlog of indexing."""
        ...

    async def trim(self) -> int:
        """Delete entries that every consumer has acknowledged; return how many."""
        ...

    async def check(self) -> None:
        """Write once to a stream; raise ``Unavailable`` if it fails."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class ObjectStore(Protocol):
    """The object store. Keys are relative to one bucket; a uri is ``s3://<bucket>/<key>``."""

    bucket: str

    async def ensure_bucket(self) -> None:
        """Create the bucket; no-op if it exists."""
        ...

    async def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> str:
        """Write an object; return its etag."""
        ...

    async def get(self, key: str, max_bytes: int) -> bytes:
        """Read an object. Raises ``NotFound``; ``ImageTooLarge`` if it has more than ``max_bytes``."""
        ...

    async def fetch(self, key: str, max_bytes: int) -> tuple[bytes, str]:
        """Read an object as ``get`` does; return its entity tag too."""
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
        """Return the uri of a key."""
        ...

    def key(self, uri: str) -> str:
        """Return the key of a uri; raises ``InvalidInput`` for a uri of another bucket."""
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
