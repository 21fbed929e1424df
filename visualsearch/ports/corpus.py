"""What a corpus needs: its metadata, its files, and the news of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
    from datetime import datetime

    from visualsearch.domain.images import Image, ImageMetadata, ImageSummary, NewImage, Status
    from visualsearch.domain.indexing import Change, DeadLetter, Delivery, Event, ObjectInfo, StreamState
    from visualsearch.domain.releases import Build, Release, ReleaseState


class Catalog(Protocol):
    """Metadata, promises and interactions."""

    async def register(self, new: NewImage) -> Image:
        """Write a pending row, or return the row that the uri has already (set back to pending if content differs).

        A uri keeps its id for ever. The row speaks of the object with the new entity tag from now on, if one is told.
        """
        ...

    async def register_all(self, new: Sequence[NewImage]) -> list[Image]:
        """Promise images of different uris in one step; return their rows in the same order."""
        ...

    async def get(self, image_id: int) -> Image:
        """Return one image; raises ``NotFound``."""
        ...

    async def by_uri(self, uri: str) -> Image | None:
        """Return the image of a uri, if there is one."""
        ...

    async def by_uris(self, uris: Sequence[str]) -> dict[str, Image]:
        """Return images by uri, for those that are there."""
        ...

    async def by_ids(self, image_ids: Sequence[int]) -> dict[int, Image]:
        """Return images by id, for those that are there."""
        ...

    async def describe(self, described: Sequence[ImageMetadata]) -> None:
        """Write size, content hash, entity tag and pHash of images, before their vectors are written."""
        ...

    async def mark_indexed(self, contents: Mapping[int, bytes], release: str) -> list[int]:
        """Say that images (id to content hash) are searchable in a release.

        Returns the ids that were marked: the others were deleted meanwhile, or described with another content.
        """
        ...

    async def mark_rejected(self, image_id: int, reason: str, etag: str = "") -> None:
        """Say that an image will never be searchable, and why. ``etag`` names the object that was looked at."""
        ...

    async def mark_pending(self, image_ids: Sequence[int]) -> list[Image]:
        """Let images be indexed anew; return those that are there."""
        ...

    async def after_uri(self, uri: str, limit: int) -> list[Image]:
        """Return the first ``limit`` images whose uri sorts (bytewise) after this one, in that order."""
        ...

    async def after_id(self, image_id: int, limit: int) -> list[Image]:
        """Return the first ``limit`` indexed images with a higher id, ascending."""
        ...

    async def hashes(self, after: int, limit: int) -> list[tuple[int, int]]:
        """(id, pHash) of the first ``limit`` indexed images with a higher id, ascending."""
        ...

    async def delete(self, image_id: int) -> str:
        """Delete an image's rows, leave a tombstone, return its uri. Raises ``NotFound``.

        Where an earlier deletion of the same id is unfinished (see ``finish_deletion``), its uri is returned.
        """
        ...

    async def finish_deletion(self, image_id: int) -> None:
        """Say that vector and object of a forgotten image are gone too."""
        ...

    async def unfinished_deletions(self, older_than_s: float, limit: int) -> list[tuple[int, str]]:
        """List (id, uri) of deletions whose vector or object may still be there."""
        ...

    async def is_being_deleted(self, uri: str) -> bool:
        """Say whether a deletion of the uri is unfinished, so that its object may be there still."""
        ...

    async def is_deleted(self, uri: str) -> bool:
        """Say whether the uri's last image was deleted."""
        ...

    async def hashes_of(self, image_ids: Sequence[int]) -> list[tuple[int, int]]:
        """(id, pHash) of these images, for those that have one."""
        ...

    async def waiting(self, older_than_s: float, limit: int) -> list[Image]:
        """List images that have been pending for too long, oldest first."""
        ...

    async def counts(self) -> dict[Status, int]:
        """Count images by status."""
        ...

    async def allocate_query_ids(self, count: int) -> list[int]:
        """Take ids for queries out of the sequence that images have theirs from, so that the two never meet."""
        ...

    async def was_issued(self, query_image_id: int) -> bool:
        """Say whether an id was ever given to an image or a query."""
        ...

    async def pairs_and_shown(
        self, candidates: Sequence[int], wanted: Sequence[int]
    ) -> tuple[set[tuple[int, int]], dict[int, ImageSummary]]:
        """What is marked as no duplicates among candidates, as (lower id, higher id); by id the wanted, if indexed."""
        ...

    async def mark_not_duplicates(self, one: int, other: int, by: str) -> None:
        """Say that two images are no duplicates of each other, and who says so."""
        ...

    async def unmark_not_duplicates(self, one: int, other: int) -> bool:
        """Take back what was said of two images; say whether there was anything."""
        ...

    async def dead_letter(self, letter: DeadLetter) -> None:
        """Keep a dead letter where a person can query it."""
        ...

    async def releases(self) -> list[tuple[Release, str, datetime]]:
        """All releases with their state and when it began, newest first."""
        ...

    async def live_release(self) -> Release | None:
        """The release that answers."""
        ...

    async def add_release(self, release: Release, state: str) -> None:
        """Write a release; no-op where its name is taken."""
        ...

    async def set_state(self, release: str, state: ReleaseState) -> None:
        """Say where a release stands from now on."""
        ...

    async def record_build(self, build: Build) -> None:
        """Write how far a release's collection is built."""
        ...

    async def builds(self) -> list[Build]:
        """How far the collections of the releases are that are being built."""
        ...

    async def position(self, log: str) -> int | None:
        """How far a change log was followed, in nanoseconds since 1970."""
        ...

    async def set_position(self, log: str, at_ns: int) -> None:
        """Write how far a change log was followed."""
        ...

    async def record_differences(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Write what a reconciliation counted, by (release, kind), in place of what the last one did."""
        ...

    async def differences(self) -> dict[tuple[str, str], int]:
        """What the last reconciliation counted, by (release, kind)."""
        ...

    async def check(self) -> None:
        """Run one statement; raise ``Unavailable`` if it fails."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class EventStream(Protocol):
    """The stream of indexing events."""

    async def ensure_group(self) -> None:
        """Create stream and consumer group; no-op where they exist."""
        ...

    async def publish(self, events: Sequence[Event]) -> None:
        """Append events."""
        ...

    async def read(self, consumer: str, count: int, block_s: float, stale_after_s: float) -> list[Delivery]:
        """Hand out up to ``count`` events: first those another consumer has held for ``stale_after_s``, then new ones.

        Waits up to ``block_s`` for new ones.
        """
        ...

    async def begin_attempt(self, entry_ids: Sequence[str]) -> dict[str, int]:
        """Count that work on redelivered entries begins; return how often it has begun without an end before."""
        ...

    async def end_attempt(self, entry_ids: Sequence[str]) -> None:
        """Say that work on redelivered entries has come to an end, whatever came of it."""
        ...

    async def release(self, consumer: str, entry_ids: Sequence[str]) -> None:
        """Let other consumers have entries at once, without counting it as a delivery."""
        ...

    async def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take or prolong a task that only one process should do; False while somebody else has it."""
        ...

    async def acknowledge(self, entry_ids: Sequence[str]) -> None:
        """Say that entries are done with."""
        ...

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """Move an entry to the dead-letter stream and acknowledge it, in one step."""
        ...

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """The newest dead letters first."""
        ...

    async def requeue(self, entry_ids: Sequence[str]) -> int:
        """Put dead letters back on the stream (all of them where none is named); return how many."""
        ...

    async def state(self) -> StreamState:
        """Say how far indexing is behind."""
        ...

    async def trim(self) -> int:
        """Drop entries that every consumer has acknowledged; return how many."""
        ...

    async def check(self) -> None:
        """Write once to a stream; raise ``Unavailable`` if it fails."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class ObjectStore(Protocol):
    """The object store. Keys are relative to one bucket; a uri is ``s3://<bucket>/<key>``."""

    bucket: str

    async def ensure_bucket(self) -> None:
        """Create the bucket; no-op where it exists."""
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
        """Remove an object; no-op where there is none."""
        ...

    def walk(self, prefix: str = "", after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        """Every object under a prefix whose key sorts after ``after``, in pages, in the store's own order."""
        ...

    async def check(self) -> None:
        """Put one small object; raise ``Unavailable`` if it fails."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...

    def uri(self, key: str) -> str:
        """Say the uri of a key."""
        ...

    def key(self, uri: str) -> str:
        """Say the key of a uri; raises ``InvalidInput`` for a uri of another bucket."""
        ...


class ChangeFeed(Protocol):
    """The object store's own log of what was written and removed."""

    def follow(self, since_ns: int) -> AsyncGenerator[list[Change], None]:
        """Every change of the bucket after ``since_ns`` (nanoseconds since 1970), oldest first, as they come; no end.

        Changes that arrive together come together, at most 1,000 at a time. A quiet moment gives an empty list at
        least every second, so that the caller can do something else. Raises ``Unavailable`` when the store goes away.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
