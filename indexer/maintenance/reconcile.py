"""Compares the object store, Postgres and the vector collections, and repairs their differences.

Merges two pairs of sorted streams, so that memory does not grow with the corpus: objects and rows by uri, rows and
vectors by id. The system keeps running meanwhile, so each difference is checked a second time before it is reported.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from indexer.maintenance.external_sort import sorted_lines
from indexer.sources.corpus_keys import CorpusKeys
from visualsearch.domain.errors import InvalidInput, NotFound
from visualsearch.domain.images import Image, Status
from visualsearch.domain.indexing import Event, EventKind
from visualsearch.domain.releases import Release

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from visualsearch.ports import EventStream, ImageRepository, IndexingProgress, ObjectStore, Vectors

PAGE = 1000
EXAMPLES = 20
PAUSE_S = 2.0
"""Time that a write in progress needs to reach every store."""
REWRITE = 64
"""Images that are read, embedded and written together."""


class Kind(StrEnum):
    """Kinds of differences between stores."""

    UNKNOWN_OBJECT = "object without a row"
    LOST_OBJECT = "row without an object"
    STALE_ROW = "row of an older object"
    MISSING_VECTOR = "indexed row without a vector"
    ORPHANED_VECTOR = "vector without an indexed row"
    STALE_VECTOR = "vector of older content"


@dataclass(frozen=True, slots=True)
class StoreDifference:
    """One difference. ``what`` is a uri, or an image id for vectors; ``release`` is empty for the object store."""

    kind: Kind
    what: str
    release: str = ""


@dataclass(slots=True)
class ReconciliationReport:
    """What was compared and what differs: counts by (release, kind), and the first examples of each."""

    objects: int = 0
    rows: int = 0
    vectors: dict[str, int] = field(default_factory=dict)
    counts: Counter[tuple[str, Kind]] = field(default_factory=Counter)
    examples: dict[tuple[str, Kind], list[str]] = field(default_factory=dict)
    unusable_keys: str = ""
    """The objects that cannot be pictures because of their keys; empty if there are none. They are no difference."""

    def add(self, differences: Sequence[StoreDifference]) -> None:
        """Add differences."""
        for one in differences:
            where = one.release, one.kind
            self.counts[where] += 1
            self.examples.setdefault(where, [])
            if len(self.examples[where]) < EXAMPLES:
                self.examples[where].append(one.what)

    @property
    def agrees(self) -> bool:
        """Whether there are no differences."""
        return not self.counts


class Reconcile:
    """One comparison. With ``rewrite``, every difference is repaired or published as an event, page by page.

    ``rewrite`` writes indexed images into a release from their objects. Every repair is idempotent: it writes or
    removes what Postgres, or for rows the object store, contains now.
    """

    def __init__(
        self,
        object_store: ObjectStore,
        image_repository: ImageRepository,
        vectors: Vectors,
        events: EventStream,
        progress: IndexingProgress,
        *,
        rewrite: Callable[[Sequence[Image], Release], Awaitable[None]] | None = None,
        pause_s: float = PAUSE_S,
        on_progress: Callable[[str, int], None] = lambda _what, _number: None,
    ) -> None:
        self._object_store = object_store
        self._image_repository = image_repository
        self._vectors = vectors
        self._events = events
        self._progress = progress
        self._rewrite = rewrite
        self._pause_s = pause_s
        self._on_progress = on_progress
        self._report = ReconciliationReport()

    async def run(self, releases: Sequence[Release]) -> ReconciliationReport:
        """Compare the object store with Postgres, and Postgres with each release's collection."""
        await self._settle(self._objects_and_rows(), None)
        for release in releases:
            await self.collection(release)
        counts = {(release, kind.value): number for (release, kind), number in self._report.counts.items()}
        await self._progress.record_differences(counts)
        return self._report

    async def collection(self, release: Release) -> ReconciliationReport:
        """Compare Postgres with one release's collection; a repair creates a missing collection."""
        if self._rewrite:
            await self._vectors.create(release.collection, release.profile)
        await self._settle(self._rows_and_vectors(release), release)
        return self._report

    async def _settle(self, differences: AsyncIterator[StoreDifference], release: Release | None) -> None:
        """Check the differences a second time, count those that remain, and repair them."""
        page: list[StoreDifference] = []
        async for one in differences:
            page.append(one)
            if len(page) == PAGE:
                await self._settle_page(page, release)
                page = []
        if page:
            await self._settle_page(page, release)

    async def _settle_page(self, page: list[StoreDifference], release: Release | None) -> None:
        await asyncio.sleep(self._pause_s)
        sure = await (self._confirm_vectors(page, release) if release else self._confirm_objects(page))
        self._report.add(sure)
        if self._rewrite and sure:
            await (self._repair_vectors(sure, release, self._rewrite) if release else self._repair_objects(sure))

    # Objects and rows, by uri

    async def _objects_and_rows(self) -> AsyncIterator[StoreDifference]:
        with ExitStack() as stack:
            objects = await sorted_lines(self._object_lines(), stack)
            rows = self._rows()
            row = await anext(rows, None)
            for line in objects:
                uri, _, etag = line.partition("\t")
                while row is not None and row.uri < uri:
                    for lost in _lost(row):
                        yield lost
                    row = await anext(rows, None)
                if row is None or row.uri != uri:
                    yield StoreDifference(Kind.UNKNOWN_OBJECT, uri)
                    continue
                if _is_stale(row, etag):
                    yield StoreDifference(Kind.STALE_ROW, uri)
                row = await anext(rows, None)
            while row is not None:
                for lost in _lost(row):
                    yield lost
                row = await anext(rows, None)

    async def _object_lines(self) -> AsyncIterator[list[str]]:
        keys = CorpusKeys(self._object_store)
        async for page in self._object_store.walk():
            lines = [f"{uri}\t{one.etag}" for one in page if (uri := keys.uri(one.key))]
            self._report.objects += len(lines)
            self._on_progress("objects", self._report.objects)
            yield lines
        self._report.unusable_keys = str(keys) if keys.unusable else ""

    async def _rows(self) -> AsyncIterator[Image]:
        last = ""
        while page := await self._image_repository.after_uri(last, PAGE):
            last = page[-1].uri
            self._report.rows += len(page)
            self._on_progress("rows", self._report.rows)
            for image in page:
                yield image

    async def _confirm_objects(self, page: list[StoreDifference]) -> list[StoreDifference]:
        rows = await self._image_repository.by_uris([one.what for one in page])
        sure = []
        for one in page:
            row = rows.get(one.what)
            etag = await self._etag(one.what)
            if one.kind is Kind.UNKNOWN_OBJECT:
                differs = row is None and etag is not None
            elif one.kind is Kind.LOST_OBJECT:
                differs = row is not None and row.status is Status.INDEXED and etag is None
            else:
                differs = row is not None and etag is not None and _is_stale(row, etag)
            if differs:
                sure.append(one)
        return sure

    async def _etag(self, uri: str) -> str | None:
        """Return the current entity tag of an object; None if it does not exist or is no picture of the corpus."""
        try:
            return await self._object_store.etag(self._object_store.key(uri))
        except (NotFound, InvalidInput):
            return None

    async def _repair_objects(self, sure: list[StoreDifference]) -> None:
        """Publish events for the objects; the indexers then update rows and vectors."""
        kinds = {Kind.LOST_OBJECT: EventKind.DELETED}
        await self._events.publish([Event(kinds.get(one.kind, EventKind.CREATED), one.what) for one in sure])

    # Rows and vectors, by id

    async def _rows_and_vectors(self, release: Release) -> AsyncIterator[StoreDifference]:
        rows, vectors = self._hashes(), self._vector_hashes(release)
        row, vector = await anext(rows, None), await anext(vectors, None)
        while row is not None or vector is not None:
            if vector is None or (row is not None and row[0] < vector[0]):
                assert row is not None
                yield StoreDifference(Kind.MISSING_VECTOR, str(row[0]), release.name)
                row = await anext(rows, None)
            elif row is None or vector[0] < row[0]:
                yield StoreDifference(Kind.ORPHANED_VECTOR, str(vector[0]), release.name)
                vector = await anext(vectors, None)
            else:
                if row[1] != vector[1]:
                    yield StoreDifference(Kind.STALE_VECTOR, str(row[0]), release.name)
                row, vector = await anext(rows, None), await anext(vectors, None)

    async def _hashes(self) -> AsyncIterator[tuple[int, int]]:
        last = -1
        while page := await self._image_repository.hashes(last, PAGE):
            last = page[-1][0]
            for one in page:
                yield one

    async def _vector_hashes(self, release: Release) -> AsyncIterator[tuple[int, int]]:
        try:
            async for page in self._vectors.hashes(release.collection):
                self._report.vectors[release.name] = self._report.vectors.get(release.name, 0) + len(page)
                self._on_progress(f"vectors of {release.name}", self._report.vectors[release.name])
                for one in page:
                    yield one
        except NotFound:
            return  # the collection is missing, so every vector is

    async def _stored_hashes(self, release: Release, ids: list[int]) -> dict[int, int]:
        try:
            return dict(await self._vectors.hashes_of(release.collection, ids))
        except NotFound:
            return {}

    async def _confirm_vectors(self, page: list[StoreDifference], release: Release) -> list[StoreDifference]:
        ids = [int(one.what) for one in page]
        rows = await self._image_repository.by_ids(ids)
        hashes = dict(await self._image_repository.hashes_of(ids))
        found = await self._stored_hashes(release, ids)
        sure = []
        for one, image_id in zip(page, ids, strict=True):
            indexed = image_id in rows and rows[image_id].status is Status.INDEXED
            if one.kind is Kind.MISSING_VECTOR:
                differs = indexed and image_id not in found
            elif one.kind is Kind.ORPHANED_VECTOR:
                # The vector may be a new one on its way, or the old one of the same row.
                differs = image_id in found and (image_id not in rows or rows[image_id].status is Status.REJECTED)
            else:
                differs = indexed and image_id in found and hashes.get(image_id) != found[image_id]
            if differs:
                sure.append(one)
        return sure

    async def _repair_vectors(
        self,
        sure: list[StoreDifference],
        release: Release,
        rewrite: Callable[[Sequence[Image], Release], Awaitable[None]],
    ) -> None:
        orphaned = [int(one.what) for one in sure if one.kind is Kind.ORPHANED_VECTOR]
        await self._vectors.delete(release.collection, orphaned)
        again = [int(one.what) for one in sure if one.kind is not Kind.ORPHANED_VECTOR]
        for begin in range(0, len(again), REWRITE):
            rows = await self._image_repository.by_ids(again[begin : begin + REWRITE])
            await rewrite([row for row in rows.values() if row.status is Status.INDEXED], release)
        await self._vectors.settle(release.collection)  # the next search must see the repair


def _lost(row: Image) -> Iterator[StoreDifference]:
    """Yield a difference if the row is indexed.

    A pending row's object may still arrive, and a rejected row needs no object.
    """
    if row.status is Status.INDEXED:
        yield StoreDifference(Kind.LOST_OBJECT, row.uri)


def _is_stale(row: Image, etag: str) -> bool:
    """Return whether a row describes an older object; a row without an entity tag is never stale."""
    return row.status is not Status.PENDING and row.etag not in {"", etag}
