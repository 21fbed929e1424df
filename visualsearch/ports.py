"""What the logic needs of the outside world. Adapters implement these; fakes stand beside them in tests/fakes.py.

Every method may raise ``errors.Unavailable`` when its server does not answer within the adapter's own timeout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from visualsearch.domain import (
        BlobInfo,
        Build,
        Candidates,
        Change,
        DeadLetter,
        Delivery,
        Described,
        Event,
        Filter,
        Image,
        NewImage,
        Release,
        ReleaseState,
        Status,
        StreamState,
        VectorRow,
    )
    from visualsearch.experiments import Experiment
    from visualsearch.interactions import KeptQuery, Spooled, Told, Written
    from visualsearch.recall import Recall
    from visualsearch.standing import Standing, Transition


class Encoder(Protocol):
    """Turns pixels into embeddings."""

    async def encode(self, pixels: NDArray[np.uint8], model_version: int) -> NDArray[np.float32]:
        """Embed uint8 [n, 224, 224, 3] as float32 [n, 256] of unit length.

        Raises ``Overloaded`` when the server sheds the request.
        """
        ...

    async def feature_map(self, pixels: NDArray[np.uint8], model_version: int) -> NDArray[np.float32]:
        """Return the last feature maps of a few pictures, float32 [n, channels, rows, columns].

        Raises as ``encode``, and ``Unsupported`` where the encoder gives none.
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

    def search_params(self, profile: str) -> dict[str, int]:
        """Return what a profile is searched with. Raises ``ConfigurationError`` for an unknown one."""
        ...

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

    async def aliased(self) -> dict[str, str]:
        """Collections by the aliases that name them."""
        ...

    async def drop_alias(self, alias: str) -> None:
        """Let an alias name nothing; no-op where it does not."""
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

    def hashes(self, collection: str) -> AsyncIterator[list[tuple[int, int]]]:
        """Every row's (id, pHash), ids ascending, in pages."""
        ...

    async def hashes_of(self, collection: str, image_ids: Sequence[int]) -> list[tuple[int, int]]:
        """(id, pHash) of these rows, for those that are there."""
        ...

    async def page(self, collection: str, after: int, limit: int) -> list[VectorRow]:
        """Whole rows with the smallest ids past ``after``, ascending, at most ``limit``."""
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


class RecallLog(Protocol):
    """Recall of live queries by release, and the parameters that releases search with."""

    async def record(self, release: str, recall: Recall) -> None:
        """Write down what queries came to."""
        ...

    async def since(self, seconds: float) -> dict[str, Recall]:
        """Return the sums of the last seconds, by release; one that answered no sampled query is not there."""
        ...

    async def search_with(self, release: str, search_params: Mapping[str, int]) -> None:
        """Let a release be searched with other parameters from now on; raises ``NotFound``."""
        ...


class Catalog(Protocol):
    """Metadata, promises and interactions."""

    async def promise(self, new: NewImage) -> Image:
        """Write a pending row, or return the row that the uri has already (set back to pending if content differs).

        A uri keeps its id for ever. The row speaks of the object with the new entity tag from now on, if one is told.
        """
        ...

    async def promise_all(self, new: Sequence[NewImage]) -> list[Image]:
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

    async def describe(self, described: Sequence[Described]) -> None:
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

    async def is_being_forgotten(self, uri: str) -> bool:
        """Say whether a deletion of the uri is unfinished, so that its object may be there still."""
        ...

    async def is_forgotten(self, uri: str) -> bool:
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

    async def pairs_and_images(
        self, candidates: Sequence[int], wanted: Sequence[int]
    ) -> tuple[set[tuple[int, int]], dict[int, Image]]:
        """What is marked as no duplicates among candidates, as (lower id, higher id); and by id the images wanted."""
        ...

    async def mark_not_duplicates(self, one: int, other: int, by: str) -> None:
        """Say that two images are no duplicates of each other, and who says so."""
        ...

    async def unmark_not_duplicates(self, one: int, other: int) -> bool:
        """Take back what was said of two images; say whether there was anything."""
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

    async def begin_again(self, entry_ids: Sequence[str]) -> dict[str, int]:
        """Count that work on redelivered entries begins; return how often it has begun without an end before."""
        ...

    async def end_again(self, entry_ids: Sequence[str]) -> None:
        """Say that work on redelivered entries has come to an end, whatever came of it."""
        ...

    async def hand_back(self, consumer: str, entry_ids: Sequence[str]) -> None:
        """Let other consumers have entries at once, without counting it as a delivery."""
        ...

    async def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take or prolong a task that only one process should do; False while somebody else has it."""
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

    async def fetch(self, key: str, max_bytes: int) -> tuple[bytes, str]:
        """Read an object as ``get`` does; return its entity tag too."""
        ...

    async def etag(self, key: str) -> str:
        """Return the entity tag of an object. Raises ``NotFound``."""
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; no-op where there is none."""
        ...

    def walk(self, prefix: str = "", after: str = "") -> AsyncIterator[list[BlobInfo]]:
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


class Spool(Protocol):
    """Interactions that wait until the catalog has them."""

    async def append(self, told: Sequence[Told]) -> None:
        """Append in order, all or an error; after an error the same may be appended again, for ids count once.

        Raises ``Overloaded`` when as much waits as may.
        """
        ...

    async def read(self, consumer: str, count: int, block_s: float, stale_after_s: float) -> list[Spooled]:
        """Hand out up to ``count`` entries: first those that anybody has held for ``stale_after_s``, then new ones.

        Waits up to ``block_s`` for new ones.
        """
        ...

    async def done(self, entry_ids: Sequence[str]) -> None:
        """Say that entries are written; the spool forgets them."""
        ...

    async def bury(self, entry: Spooled, reason: str) -> None:
        """Put an entry that can never be written aside, with the reason."""
        ...

    async def length(self) -> int:
        """Count the entries that wait."""
        ...

    async def forget_readers(self) -> None:
        """Drop readers that are gone."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Journal(Protocol):
    """Interactions and queries, written once each and kept for a time."""

    async def write(self, told: Sequence[Told]) -> Written:
        """Write what is not written yet, searches before clicks; an entry is written whole or not at all.

        A click that was accepted unchecked is dropped where its query or image never was. Raises ``InvalidInput``
        where a value cannot be stored.
        """
        ...

    async def query(self, query_image_id: int) -> KeptQuery | None:
        """Return what is kept of a query that was asked with a picture; None where nothing is (yet, or any more)."""
        ...

    async def keep(self, days: int) -> list[str]:
        """Make room for the days to come, and drop the days (in UTC) that ended more than ``days`` days ago.

        Returns the names of what was dropped.
        """
        ...


class Trials(Protocol):
    """The definitions of experiments."""

    async def create(self, experiment: Experiment) -> None:
        """Write a draft; raises ``InvalidInput`` where the name is taken."""
        ...

    async def get(self, name: str) -> Experiment:
        """Return one; raises ``NotFound``."""
        ...

    async def everything(self) -> list[Experiment]:
        """All there are, the newest first."""
        ...

    async def running(self) -> list[Experiment]:
        """Those that run."""
        ...

    async def start(self, name: str, first_bucket: int, end_bucket: int) -> bool:
        """Let a draft run on these buckets of its layer; False where it is no draft, or they are taken by now."""
        ...

    async def stop(self, name: str) -> bool:
        """End an experiment; False where it does not run."""
        ...


class Changes(Protocol):
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


class ReleaseBook(Protocol):
    """The releases while nobody else can move one. What is written becomes true all together, or not at all."""

    async def standings(self) -> list[Standing]:
        """Return every release, the newest first."""
        ...

    async def switches(self) -> list[Transition]:
        """Return what became live, oldest first."""
        ...

    async def put(self, standing: Standing) -> None:
        """Write a release as it stands from now on."""
        ...

    async def record(self, transition: Transition) -> None:
        """Add to the history."""
        ...


class ReleaseLog(Protocol):
    """Where the releases stand, and what was done to them."""

    def switching(self) -> AbstractAsyncContextManager[ReleaseBook]:
        """Move releases while the block runs, alone; an error in it undoes all of it.

        Raises ``Conflict`` when somebody else is at it for too long.
        """
        ...

    async def standings(self) -> list[Standing]:
        """Return every release, the newest first."""
        ...

    async def clicks(self, seconds: float) -> dict[str, tuple[int, int]]:
        """Return by release how many searches of the last seconds were written down, and how many had a click."""
        ...

    async def history(self, release: str | None, limit: int) -> list[Transition]:
        """Return what was done to a release, or to any, the newest first."""
        ...


class Counts(Protocol):
    """What all processes have counted by release."""

    async def add(self, counted: Mapping[str, Mapping[str, int]]) -> None:
        """Add what was counted just now, by release and counter."""
        ...

    async def since(self, seconds: float) -> dict[str, Counter[str]]:
        """Return the sums of the last seconds, by release; an hour at most."""
        ...

    async def add_total(self, series: str, counters: Mapping[str, int]) -> None:
        """Add to sums that are kept."""
        ...

    async def total(self, series: str) -> Counter[str]:
        """Return the sums that were added up under a name."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Models(Protocol):
    """What the model server has loaded."""

    async def served(self) -> set[int]:
        """Return the versions of the encoder that answer."""
        ...

    async def serve(self, versions: set[int]) -> None:
        """Load these versions and unload all others; what was loaded answers on meanwhile, and after a failure.

        Raises ``ConfigurationError`` with the server's reason when a version cannot be loaded.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
