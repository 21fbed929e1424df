"""Runs a search, from bytes to ranked results. Depends on no framework and no server."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from gateway.limits.caller_limits import current_account
from gateway.limits.costs import EMBED_MS, nearest_ms
from gateway.search.admission import Admission
from gateway.search.options import SearchOptions
from gateway.search.stage_timer import StageTimer
from visualsearch.domain.errors import NotFound, Unavailable
from visualsearch.domain.images import Box, Decoded, Status
from visualsearch.domain.search import Result, SearchAnswer
from visualsearch.releases.release_router import RELEASE_FAILURES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import numpy as np
    from numpy.typing import NDArray

    from gateway.search.experiment_assignment import ExperimentAssigner, ExperimentAssignment
    from gateway.search.query_encoder import QueryEncoder
    from gateway.search.query_ids import QueryIds
    from gateway.search.retrieval import Retriever
    from gateway.search.shadow_search import ShadowSearch
    from visualsearch.domain.images import Image
    from visualsearch.domain.releases import Release
    from visualsearch.releases.release_router import ReleaseRouter

log = logging.getLogger(__name__)


class ImageSearch:
    """Answers searches. ``deadline_s`` bounds the total time of the servers behind it, not counting decoding."""

    def __init__(
        self,
        query_encoder: QueryEncoder,
        retriever: Retriever,
        query_ids: QueryIds,
        release_router: ReleaseRouter,
        shadow: ShadowSearch,
        experiments: ExperimentAssigner,
        admission: Admission,
        *,
        deadline_s: float,
    ) -> None:
        self._query_encoder = query_encoder
        self._retriever = retriever
        self._query_ids = query_ids
        self._release_router = release_router
        self._shadow = shadow
        self._experiments = experiments
        self.admission = admission
        self._deadline_s = deadline_s

    async def by_picture(self, data: bytes, box: Box | None, options: SearchOptions) -> SearchAnswer:
        """Search with the bytes of a picture, or a box inside it.

        Raises what ``Decoder.decode`` raises, ``Overloaded``, ``Unavailable`` and ``FingerprintMismatch``.
        """
        async with self._turn(EMBED_MS + nearest_ms(options.k)):
            watch = StageTimer()
            async with watch.stage("decode"):
                decoded = await self._query_encoder.decode(data, box)
            async with self._deadline():
                query_id = await self._query_ids.next()
                assignment = await self._experiments.assignment(options, query_id)
                key = options.sticky_key(decoded.pixels.tobytes())
                return await self._answered(
                    key, assignment, partial(self._by_pixels, query_id, decoded, assignment, watch)
                )

    async def _by_pixels(
        self, query_id: int, decoded: Decoded, assignment: ExperimentAssignment, begun: StageTimer, release: Release
    ) -> SearchAnswer:
        watch = StageTimer(begun.begin, dict(begun.stages))  # copy: this may run again for the fallback release
        async with watch.stage("embed"):
            embedding = await self._query_encoder.embed(decoded, release)
        return await self._answer(query_id, embedding, release, assignment, watch)

    async def by_image(self, image: Image, options: SearchOptions) -> SearchAnswer:
        """Search with an image of the corpus. Raises what ``by_picture`` raises; ``NotFound`` if it is not indexed."""
        if image.status is not Status.INDEXED:
            raise NotFound(f"Image {image.id} is {image.status}, not indexed; GET /images/{image.id} tells more.")
        async with self._turn(nearest_ms(options.k)), self._deadline():
            assignment = await self._experiments.assignment(options, image.id)
            key = options.sticky_key(str(image.id).encode())
            return await self._answered(key, assignment, partial(self._by_row, image, assignment))

    async def _by_row(self, image: Image, assignment: ExperimentAssignment, release: Release) -> SearchAnswer:
        watch = StageTimer()
        async with watch.stage("embed"):
            embedding = await self._query_encoder.embedding_of(image, release)
        return await self._answer(image.id, embedding, release, assignment, watch)

    async def _answered(
        self, key: bytes, assignment: ExperimentAssignment, ask: Callable[[Release], Awaitable[SearchAnswer]]
    ) -> SearchAnswer:
        """Answer with the release that an experiment chooses, otherwise with the one that the router chooses.

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
        """Search with an embedding of this release's encoder: float32 [256] of unit length."""
        async with self._turn(nearest_ms(options.k)), self._deadline():
            return await self._retriever.best(embedding, release, options, StageTimer())

    async def embed(self, data: bytes, box: Box | None) -> tuple[NDArray[np.float32], Release]:
        """Embed a picture, or a box inside it, with the live release: float32 [256]."""
        async with self._turn(EMBED_MS):
            decoded = await self._query_encoder.decode(data, box)
            async with self._deadline():
                release = await self._release_router.live()
                return await self._query_encoder.embed(decoded, release), release

    async def _answer(
        self,
        query_id: int,
        embedding: NDArray[np.float32],
        release: Release,
        assignment: ExperimentAssignment,
        watch: StageTimer,
    ) -> SearchAnswer:
        results = await self._retriever.best(embedding, assignment.on(release), assignment.options, watch)
        return SearchAnswer(
            query_id,
            tuple(results),
            watch.total,
            watch.stages,
            release.name,
            watch.rescore_ms,
            assignment.variants,
            release.calibration.min_score if release.calibration else None,
        )

    @asynccontextmanager
    async def _turn(self, cost_ms: float) -> AsyncIterator[None]:
        """Admit a search and wait for its caller's turn; raises ``RateLimited`` and ``Overloaded``."""
        account = current_account()
        await account.pace(cost_ms)
        with self.admission.slot(account.caller):
            async with account.turn(cost_ms):
                yield

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._deadline_s):
                yield
        except TimeoutError:
            raise Unavailable("A server behind the gateway", f"no answer within {self._deadline_s:.1f} s") from None
