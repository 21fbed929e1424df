"""What the logic needs of the outside world. Adapters implement these; fakes stand beside them in tests/fakes.py.

Every method may raise ``errors.Unavailable`` when its server does not answer within the adapter's own timeout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from visualsearch.domain import (
        BlobInfo,
        Candidates,
        DeadLetter,
        Delivery,
        Described,
        Event,
        Filter,
        Image,
        Interaction,
        NewImage,
        Release,
        Status,
        StreamState,
        VectorRow,
    )


class Encoder(Protocol):
    """Turns pixels into embeddings."""

    async def encode(self, pixels: NDArray[np.uint8], model_version: int) -> NDArray[np.float32]:
        """Embed uint8 [n, 224, 224, 3] as float32 [n, 256] of unit length.

        Raises ``Overloaded`` when the server sheds the request.
        """
        ...

    async def check(self, model_version: int) -> None:
        """Run one tiny inference; raise ``Unavailable`` if it fails."""
        ...

    async def fingerprint(self, model_version: int) -> str:
        """Say which graph and preprocessing a loaded version is, or ``""`` if the server cannot tell."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Vectors(Protocol):
    """Holds embeddings and finds the nearest."""

    async def create(self, collection: str, profile: str) -> None:
        """Create a collection with an index profile of milvus/collection.yaml and load it; no-op where it exists."""
        ...

    async def drop(self, collection: str) -> None:
        """Remove a collection with its rows and aliases; no-op where there is none."""
        ...

    async def seal(self, collection: str) -> None:
        """Wait until everything written before this call is on disk and indexed."""
        ...

    async def point_alias(self, alias: str, collection: str) -> None:
        """Let an alias name this collection, whatever it named before."""
        ...

    async def nearest(
        self,
        collection: str,
        embedding: NDArray[np.float32],
        count: int,
        search_params: Mapping[str, int],
        where: Filter,
    ) -> Candidates:
        """Find up to ``count`` rows nearest to float32 [256], re-scored exactly, best first, ties by id.

        Raises ``NotFound`` if there is no such collection.
        """
        ...

    async def upsert(self, collection: str, rows: Sequence[VectorRow]) -> None:
        """Write rows, replacing those of the same id."""
        ...

    async def settle(self, collection: str) -> None:
        """Wait until everything written before this call is seen by every search after it."""
        ...

    async def delete(self, collection: str, image_ids: Sequence[int]) -> None:
        """Remove rows; ids that are not there are ignored."""
        ...

    async def fetch(self, collection: str, image_ids: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """Embeddings by id, for those that are there."""
        ...

    def ids(self, collection: str) -> AsyncIterator[list[int]]:
        """Every id of the collection, ascending, in pages."""
        ...

    async def count(self, collection: str) -> int:
        """Number of rows, exactly."""
        ...

    async def collections(self) -> list[str]:
        """Names of all collections."""
        ...

    async def check(self, collection: str) -> None:
        """Run one real query; raise ``Unavailable`` if it fails."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Catalog(Protocol):
    """Metadata, promises and interactions."""

    async def promise(self, new: NewImage) -> Image:
        """Write a pending row, or return the row that the uri has already (set back to pending if content differs).

        A uri keeps its id for ever.
        """
        ...

    async def get(self, image_id: int) -> Image:
        """Return one image; raises ``NotFound``."""
        ...

    async def by_uri(self, uri: str) -> Image | None:
        """Return the image of a uri, if there is one."""
        ...

    async def by_ids(self, image_ids: Sequence[int]) -> dict[int, Image]:
        """Return images by id, for those that are there."""
        ...

    async def describe(self, described: Sequence[Described]) -> None:
        """Write size, content hash and pHash of images, before their vectors are written."""
        ...

    async def mark_indexed(self, image_ids: Sequence[int], release: str) -> list[int]:
        """Say that images are searchable in a release; return the ids that still exist (others were deleted)."""
        ...

    async def mark_rejected(self, image_id: int, reason: str) -> None:
        """Say that an image will never be searchable, and why."""
        ...

    async def forget(self, image_id: int) -> str:
        """Delete an image's rows, leave a tombstone, return its uri. Raises ``NotFound``.

        Where an earlier deletion of the same id is unfinished (see ``finish_forgetting``), its uri is returned.
        """
        ...

    async def finish_forgetting(self, image_id: int) -> None:
        """Say that vector and object of a forgotten image are gone too."""
        ...

    async def unfinished_forgetting(self, older_than_s: float, limit: int) -> list[tuple[int, str]]:
        """List (id, uri) of deletions whose vector or object may still be there."""
        ...

    async def is_forgotten(self, uri: str) -> bool:
        """Say whether the uri's last image was deleted."""
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

    async def record_query(
        self, query_image_id: int, release: str, user_id: int | None, box: str, blob_key: str
    ) -> None:
        """Remember what was asked."""
        ...

    async def record(self, interactions: Sequence[Interaction]) -> None:
        """Write impressions and clicks."""
        ...

    async def not_duplicates(self, image_ids: Sequence[int]) -> set[tuple[int, int]]:
        """Pairs (lower id, higher id) among these that a person has marked as no duplicates of each other."""
        ...

    async def bury(self, letter: DeadLetter) -> None:
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

    async def check(self) -> None:
        """Run one statement; raise ``Unavailable`` if it fails."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Events(Protocol):
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

    async def acknowledge(self, entry_ids: Sequence[str]) -> None:
        """Say that entries are done with."""
        ...

    async def bury(self, delivery: Delivery, reason: str) -> None:
        """Move an entry to the dead-letter stream and acknowledge it, in one step."""
        ...

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """The newest dead letters first."""
        ...

    async def revive(self, entry_ids: Sequence[str]) -> int:
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


class Blobs(Protocol):
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

    async def delete(self, key: str) -> None:
        """Remove an object; no-op where there is none."""
        ...

    def walk(self, prefix: str = "", after: str = "") -> AsyncIterator[list[BlobInfo]]:
        """Every object under a prefix whose key sorts after ``after``, ascending, in pages."""
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
