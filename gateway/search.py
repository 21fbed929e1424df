"""One search, from bytes to ranked results. Knows no framework and no server."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.ranking import rank
from visualsearch.domain import Box, NearDuplicates, Prepared, Result, SearchAnswer, Status
from visualsearch.errors import FingerprintMismatch, NotFound, Overloaded, Unavailable
from visualsearch.images import prepare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from concurrent.futures import Executor

    import numpy as np
    from numpy.typing import NDArray

    from visualsearch.domain import Candidates, Filter, Image, Ranked, Release
    from visualsearch.ports import Blobs, Catalog, Encoder, Vectors
    from visualsearch.releases import Releases

MIN_CANDIDATES = 200
"""k': so many are fetched and scored exactly, however few are asked for."""
MAX_CANDIDATES = 16_384
SPARE = 10
QUERY_IDS = 64
"""Query ids taken from the catalog at a time, so that a search does not pay a call for its own."""


@dataclass(slots=True)
class Stopwatch:
    """Milliseconds per stage; a stage that runs twice counts twice."""

    begin: float = field(default_factory=time.perf_counter)
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("decode", "embed", "ann", "rank"), 0.0))

    @asynccontextmanager
    async def stage(self, name: str) -> AsyncIterator[None]:
        """Measure what runs inside."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] += (time.perf_counter() - begin) * 1000

    @property
    def total(self) -> float:
        """Milliseconds since the beginning."""
        return (time.perf_counter() - self.begin) * 1000


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller wants of a search."""

    k: int
    near_duplicates: NearDuplicates
    where: Filter
    left_out: int | None = None
    """An image that must not be among the results: the query itself."""


class ImageSearch:
    """Answers searches. ``deadline_s`` bounds what the servers behind it may take together, decoding apart."""

    def __init__(
        self,
        encoder: Encoder,
        vectors: Vectors,
        catalog: Catalog,
        blobs: Blobs,
        releases: Releases,
        pool: Executor,
        *,
        deadline_s: float,
        max_waiting: int,
    ) -> None:
        self._encoder = encoder
        self._vectors = vectors
        self._catalog = catalog
        self._blobs = blobs
        self._releases = releases
        self._pool = pool
        self._deadline_s = deadline_s
        self._max_waiting = max_waiting
        self._waiting = 0
        self._query_ids: deque[int] = deque()
        self._matched: set[tuple[str, str]] = set()

    async def by_picture(self, data: bytes, box: Box | None, wish: Wish) -> SearchAnswer:
        """Search with the bytes of a picture, or a box inside it.

        Raises what ``images.prepare`` raises, ``Overloaded``, ``Unavailable`` and ``FingerprintMismatch``.
        """
        watch = Stopwatch()
        async with watch.stage("decode"):
            prepared = await self.decode(data, box)
        async with self._deadline():
            release = await self._releases.live()
            async with watch.stage("embed"):
                embedding = await self._embed(prepared, release)
            query_id = await self._query_id()
            return await self._answer(query_id, embedding, release, wish, watch)

    async def by_image(self, image_id: int, wish: Wish) -> SearchAnswer:
        """Search with a picture of the corpus; it is itself left out. Raises ``NotFound`` where it is not indexed."""
        watch = Stopwatch()
        async with self._deadline():
            release = await self._releases.live()
            async with watch.stage("embed"):
                stored = await self._vectors.fetch(release.collection, [image_id])
            if image_id not in stored:
                raise NotFound(f"Image {image_id} is not indexed (yet); GET /images/{image_id} tells its status.")
            return await self._answer(image_id, stored[image_id], release, wish, watch)

    async def by_embedding(self, embedding: NDArray[np.float32], k: int, where: Filter) -> tuple[list[Ranked], Release]:
        """Find the k nearest to float32 [256] of unit length, near-duplicates kept."""
        async with self._deadline():
            release = await self._releases.live()
            found = await self._vectors.nearest(
                release.collection, embedding, max(k, MIN_CANDIDATES), release.search_params, where
            )
        return rank(found, NearDuplicates.KEEP)[:k], release

    async def embed(self, data: bytes, box: Box | None) -> tuple[NDArray[np.float32], Release]:
        """Embed a picture as float32 [256], by the live release."""
        prepared = await self.decode(data, box)
        async with self._deadline():
            release = await self._releases.live()
            return await self._embed(prepared, release), release

    async def decode(self, data: bytes, box: Box | None = None) -> Prepared:
        """Decode a picture in a thread; raises ``Overloaded`` when too many wait for one already."""
        if self._waiting >= self._max_waiting:
            raise Overloaded("Too many pictures wait to be decoded. Try again shortly.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, prepare, data, box)
        finally:
            self._waiting -= 1

    async def _embed(self, prepared: Prepared, release: Release) -> NDArray[np.float32]:
        await self._check_fingerprint(release)
        embeddings = await self._encoder.encode(prepared.pixels[None], release.model_version)
        embedding: NDArray[np.float32] = embeddings[0]
        return embedding

    async def _check_fingerprint(self, release: Release) -> None:
        """Refuse to compare vectors of different encoders; a pair that matched once is not asked again."""
        if (release.name, release.fingerprint) in self._matched:
            return
        loaded = await self._encoder.fingerprint(release.model_version)
        if loaded and loaded != release.fingerprint:
            raise FingerprintMismatch(
                f"Release {release.name} was made by encoder {release.fingerprint[:12]}, but model version "
                f"{release.model_version} is {loaded[:12]} here. Restore that version, or build a release with this."
            )
        self._matched.add((release.name, release.fingerprint))

    async def _query_id(self) -> int:
        if not self._query_ids:
            self._query_ids.extend(await self._catalog.allocate_query_ids(QUERY_IDS))
        return self._query_ids.popleft()

    async def _answer(
        self, query_id: int, embedding: NDArray[np.float32], release: Release, wish: Wish, watch: Stopwatch
    ) -> SearchAnswer:
        """Fetch candidates until k results are there or the collection has no more."""
        count = max(MIN_CANDIDATES, 4 * wish.k)
        while True:
            async with watch.stage("ann"):
                found = await self._vectors.nearest(
                    release.collection, embedding, count, release.search_params, wish.where
                )
            async with watch.stage("rank"):
                results = await self._results(found, wish)
            if len(results) >= wish.k or found.exhausted or count >= MAX_CANDIDATES:
                break
            count = min(2 * count, MAX_CANDIDATES)
        return SearchAnswer(query_id, tuple(results[: wish.k]), watch.total, watch.stages, release.name)

    async def _results(self, found: Candidates, wish: Wish) -> list[Result]:
        """Rank candidates and join them with their rows; what has no row (any more) is dropped."""
        pairs: set[tuple[int, int]] = set()
        if wish.near_duplicates is NearDuplicates.COLLAPSE:
            pairs = await self._catalog.not_duplicates(found.ids.tolist())
        ranked = [one for one in rank(found, wish.near_duplicates, pairs) if one.image_id != wish.left_out]
        there: list[tuple[Ranked, Image]] = []
        # A few more than k, for those that were deleted a moment ago; the rest only if that was not enough.
        for some in (ranked[: wish.k + SPARE], ranked[wish.k + SPARE :]):
            if len(there) < wish.k and some:
                images = await self._catalog.by_ids([one.image_id for one in some])
                rows = ((one, images.get(one.image_id)) for one in some)
                there += [(one, row) for one, row in rows if row and row.status is Status.INDEXED]
        return [
            Result(
                one.image_id,
                one.score,
                row.uri,
                place,
                row.width or 0,
                row.height or 0,
                tuple(member for member in one.near_duplicates if member != wish.left_out),
            )
            for place, (one, row) in enumerate(there, 1)
        ]

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._deadline_s):
                yield
        except TimeoutError:
            raise Unavailable("A server behind the gateway", f"no answer within {self._deadline_s:.1f} s") from None
