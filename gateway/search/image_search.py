"""One search, from bytes to ranked results. Knows no framework and no server."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from gateway.search.admission import Admission
from gateway.search.options import SearchOptions
from gateway.search.ranking import rank, without
from gateway.search.stage_timer import StageTimer
from visualsearch.domain.errors import FingerprintMismatch, NotFound, Unavailable
from visualsearch.domain.images import MAX_UPLOAD_BYTES, Box, Decoded, Status
from visualsearch.domain.recall import CANDIDATES
from visualsearch.domain.search import MAX_CANDIDATES, Consistency, NearDuplicates, Result, SearchAnswer
from visualsearch.observability import tracing
from visualsearch.releases.release_router import RELEASE_FAILURES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import numpy as np
    from numpy.typing import NDArray

    from gateway.search.decoder import Decoder
    from gateway.search.experiment_assignment import ExperimentAssigner, ExperimentAssignment
    from gateway.search.shadow_search import ShadowSearch
    from visualsearch.domain.images import Image, ImageSummary
    from visualsearch.domain.releases import Release
    from visualsearch.domain.search import Candidates, Filter, Ranked
    from visualsearch.ports import Catalog, Encoder, ObjectStore, Vectors
    from visualsearch.releases.active_releases import Releases
    from visualsearch.releases.release_router import ReleaseRouter

log = logging.getLogger(__name__)

MORE = 4
"""So many times as many are fetched where filters and folding leave too few: at most four times until the limit."""
QUERY_IDS = 64
"""Query ids taken from the catalog at a time, so that a search does not pay a call for its own."""


class ImageSearch:
    """Answers searches. ``deadline_s`` bounds what the servers behind it may take together, decoding apart."""

    def __init__(
        self,
        encoder: Encoder,
        vectors: Vectors,
        catalog: Catalog,
        object_store: ObjectStore,
        releases: Releases,
        release_router: ReleaseRouter,
        decoder: Decoder,
        shadow: ShadowSearch,
        experiments: ExperimentAssigner,
        *,
        deadline_s: float,
        admission: Admission,
    ) -> None:
        self._encoder = encoder
        self._vectors = vectors
        self._catalog = catalog
        self._object_store = object_store
        self._releases = releases
        self._release_router = release_router
        self._decoder = decoder
        self._shadow = shadow
        self._experiments = experiments
        self._deadline_s = deadline_s
        self.admission = admission
        self._query_ids: deque[int] = deque()
        self._matched: set[tuple[str, str]] = set()
        self.watch_recall: Callable[[Release, NDArray[np.float32], Filter, Candidates], None] | None = None
        """Is shown every query with what was found first; must return at once."""

    async def by_picture(self, data: bytes, box: Box | None, options: SearchOptions) -> SearchAnswer:
        """Search with the bytes of a picture, or a box inside it.

        Raises what ``images.decode`` raises, ``Overloaded``, ``Unavailable`` and ``FingerprintMismatch``.
        """
        with self.admission.slot():
            watch = StageTimer()
            async with watch.stage("decode"):
                decoded = await self._decoder.decode(data, box)
            async with self._deadline():
                query_id = await self._query_id()
                assignment = await self._experiments.assignment(options, query_id)
                key = options.sticky_key(decoded.pixels.tobytes())
                return await self._answered(
                    key, assignment, partial(self._by_pixels, query_id, decoded, assignment, watch)
                )

    async def _by_pixels(
        self, query_id: int, decoded: Decoded, assignment: ExperimentAssignment, begun: StageTimer, release: Release
    ) -> SearchAnswer:
        watch = StageTimer(begun.begin, dict(begun.stages))  # a second release may be asked
        async with watch.stage("embed"):
            embedding = await self._embed(decoded, release)
        return await self._answer(query_id, embedding, release, assignment, watch)

    async def by_image(self, image: Image, options: SearchOptions) -> SearchAnswer:
        """Search with a picture of the corpus. Raises as ``by_picture``, and ``NotFound`` where it is not indexed."""
        if image.status is not Status.INDEXED:
            raise NotFound(f"Image {image.id} is {image.status}, not indexed; GET /images/{image.id} tells more.")
        with self.admission.slot():
            async with self._deadline():
                assignment = await self._experiments.assignment(options, image.id)
                key = options.sticky_key(str(image.id).encode())
                return await self._answered(key, assignment, partial(self._by_row, image, assignment))

    async def _by_row(self, image: Image, assignment: ExperimentAssignment, release: Release) -> SearchAnswer:
        watch = StageTimer()
        async with watch.stage("embed"):
            stored = await self._vectors.fetch(release.collection, [image.id])
            if image.id not in stored:  # indexed, but not by this release
                data = await self._object_store.get(self._object_store.key(image.uri), MAX_UPLOAD_BYTES)
                stored[image.id] = await self._embed(await self._decoder.decode(data), release)
        return await self._answer(image.id, stored[image.id], release, assignment, watch)

    async def _answered(
        self, key: bytes, assignment: ExperimentAssignment, ask: Callable[[Release], Awaitable[SearchAnswer]]
    ) -> SearchAnswer:
        """Answer by the release that an experiment chooses, else by the one that the router names.

        On failure or timeout of a canary, fall back to the live release.
        """
        if assignment.release is not None:
            return await ask(assignment.release)
        route = await self._release_router.route(key)
        if route.fallback is not None:
            try:
                async with asyncio.timeout(route.timeout_s):
                    with self._release_router.measured(route.release):
                        return await ask(route.release)
            except (*RELEASE_FAILURES, TimeoutError) as error:
                log.warning(
                    "canary %s failed, the live release answers: %s", route.release.name, error or "no answer in time"
                )
        live = route.fallback or route.release
        with self._release_router.measured(live):
            answer = await ask(live)
        self._shadow.offer(answer, ask)
        return answer

    async def by_embedding(
        self, embedding: NDArray[np.float32], release: Release, options: SearchOptions
    ) -> list[Result]:
        """Search with float32 [256] of unit length that this release's encoder made."""
        with self.admission.slot():
            async with self._deadline():
                return await self._best(embedding, release, options, StageTimer())

    async def embed(self, data: bytes, box: Box | None) -> tuple[NDArray[np.float32], Release]:
        """Embed a picture as float32 [256], by the live release."""
        with self.admission.slot():
            decoded = await self._decoder.decode(data, box)
            async with self._deadline():
                release = await self._releases.live()
                return await self._embed(decoded, release), release

    async def _embed(self, decoded: Decoded, release: Release) -> NDArray[np.float32]:
        await self._check_fingerprint(release)
        embeddings = await self._encoder.encode(decoded.pixels[None], release.model_version)
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
        self,
        query_id: int,
        embedding: NDArray[np.float32],
        release: Release,
        assignment: ExperimentAssignment,
        watch: StageTimer,
    ) -> SearchAnswer:
        results = await self._best(embedding, assignment.on(release), assignment.options, watch)
        return SearchAnswer(
            query_id, tuple(results), watch.total, watch.stages, release.name, watch.rescore_ms, assignment.variants
        )

    async def _best(
        self, embedding: NDArray[np.float32], release: Release, options: SearchOptions, watch: StageTimer
    ) -> list[Result]:
        """Fetch candidates until k results are there or the collection has no more."""
        count = max(release.search_params.get("candidates", CANDIDATES), 4 * options.k)
        if options.consistency is Consistency.STRONG:
            async with watch.stage("ann"):
                await self._vectors.settle(release.collection)
        asked = count
        while True:
            async with watch.stage("ann"):
                found = await self._nearest(embedding, count, release, options.where)
                watch.rescore_ms += found.rescore_ms
                tracing.annotate(candidates=len(found.ids), rescore_ms=found.rescore_ms)
            if self.watch_recall is not None and count == asked:
                self.watch_recall(release, embedding, options.where, found)
            async with watch.stage("rank"):
                results = await self._results(found, options)
            if len(results) >= options.k or found.exhausted or count >= MAX_CANDIDATES:
                return results
            count = min(MORE * count, MAX_CANDIDATES)

    async def _nearest(self, embedding: NDArray[np.float32], count: int, release: Release, where: Filter) -> Candidates:
        try:
            return await self._vectors.nearest(release.collection, embedding, count, release.search_params, where)
        except NotFound as error:  # of the collection: nothing that the caller asked for
            raise Unavailable(f"Release {release.name}", str(error)) from None

    async def _results(self, found: Candidates, options: SearchOptions) -> list[Result]:
        """Rank candidates and join them with their rows.

        It is ranked first and asked for marked pairs and rows then, together: nearly always that is one round trip.
        Where pairs are marked, the others are ranked again; so they are without what has no row (any more), which
        neither shows nor folds anything into itself.
        """
        rows: dict[int, ImageSummary] = {}
        pairs: set[tuple[int, int]] = set()
        gone = set() if options.left_out is None else {options.left_out}
        unasked = found.ids.tolist() if options.near_duplicates is NearDuplicates.COLLAPSE else []
        while True:
            ranked = rank(
                without(found, gone), options.near_duplicates, options.k, pairs, options.near_duplicate_distance
            )
            unknown = {image_id for one in ranked for image_id in (one.image_id, *one.near_duplicates)} - rows.keys()
            if unknown:
                marked, images = await self._catalog.pairs_and_shown(unasked, sorted(unknown))
                rows |= images
                missing, unasked = unknown - rows.keys(), []
                pairs |= marked
                gone |= missing
                if marked or missing:
                    continue
            return [_result(one, rows[one.image_id], place) for place, one in enumerate(ranked, 1)]

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._deadline_s):
                yield
        except TimeoutError:
            raise Unavailable("A server behind the gateway", f"no answer within {self._deadline_s:.1f} s") from None


def _result(one: Ranked, row: ImageSummary, place: int) -> Result:
    return Result(one.image_id, one.score, row.uri, place, row.width, row.height, one.near_duplicates)
