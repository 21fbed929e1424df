"""What the routes and the gRPC servicer stand on: one object per process that holds the parts together."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from visualsearch import tracing
from visualsearch.domain import Filter, Interaction, SearchAnswer, Status
from visualsearch.errors import VisualSearchError
from visualsearch.telemetry import IMPRESSIONS, LATER_FAILURES, SERVERS, count_stages

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gateway.access import Access, Caller
    from gateway.corpus import Corpus
    from gateway.crew import Crew
    from gateway.search import ImageSearch
    from visualsearch.domain import Box
    from visualsearch.ports import Blobs, Catalog, Encoder, Events, Vectors
    from visualsearch.releases import Releases

log = logging.getLogger(__name__)

CHECK_S = 1.5
MAX_LATER = 1000
"""So many searches may wait to be written down; beyond, the writing is dropped and counted, never the answer."""


@dataclass(slots=True)
class Gateway:
    """Everything that a request may need."""

    encoder: Encoder
    vectors: Vectors
    catalog: Catalog
    events: Events
    blobs: Blobs
    releases: Releases
    search: ImageSearch
    corpus: Corpus
    access: Access
    blocked_sources: frozenset[str] = frozenset()
    min_side: int = 0
    store_queries: bool = True
    webhook_token: str = ""
    crew: Crew | None = None
    _later: set[asyncio.Task[None]] = field(default_factory=set)

    def filter_for(self, caller: Caller) -> Filter:
        """Say what a caller may be shown."""
        return Filter(caller.owner, self.blocked_sources, frozenset(), self.min_side)

    def after_search(self, answer: SearchAnswer, user_id: int | None, box: Box | None, data: bytes | None) -> None:
        """Count a search at once, and write it down once the answer has gone."""
        stages = {**answer.timings_ms, "rescore": answer.rescore_ms, "total": answer.latency_ms}
        count_stages(answer.release, "", stages)
        tracing.annotate(release=answer.release, query_image_id=answer.query_image_id, results=len(answer.results))
        if len(self._later) >= MAX_LATER:
            LATER_FAILURES.labels("dropped").inc()
            return
        task = asyncio.create_task(self._write_down(answer, user_id, box, data))
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _write_down(self, answer: SearchAnswer, user_id: int | None, box: Box | None, data: bytes | None) -> None:
        query_id = answer.query_image_id
        key = f"queries/{query_id}" if data is not None and self.store_queries else ""
        shown = [Interaction("impression", query_id, hit.id, hit.rank, user_id) for hit in answer.results]
        try:
            await self.catalog.record(shown)
            IMPRESSIONS.labels(answer.release, "").inc(len(shown))
            if data is not None:
                await self.catalog.record_query(query_id, answer.release, user_id, str(box or ""), key)
            if key and data is not None:
                await self.blobs.put(key, data)
        except VisualSearchError as error:
            LATER_FAILURES.labels("impressions").inc()
            log.warning("search %d could not be written down: %s", query_id, error)

    async def drain(self) -> None:
        """Wait until everything that was put off is written."""
        if self._later:
            await asyncio.wait(self._later, timeout=5)

    async def not_ready(self) -> dict[str, str]:
        """Ask every server for a little real work; return what is wrong by server."""
        checks = (
            self._check_encoder(),
            self._check_vectors(),
            self.catalog.check(),
            self.events.check(),
            self.blobs.check(),
        )
        results = await asyncio.gather(*map(_trouble, checks))
        troubles = dict(zip(SERVERS, results, strict=True)) | {"gateway": self.crew.missing() if self.crew else ""}
        return {name: trouble for name, trouble in troubles.items() if trouble}

    async def _check_encoder(self) -> None:
        release = await self.releases.live()
        await self.encoder.check(release.model_version)

    async def _check_vectors(self) -> None:
        release = await self.releases.live()
        await self.vectors.check(release.collection)

    async def stats(self) -> dict[str, Any]:
        """Count what there is; what cannot be counted now is null, with the reason under ``errors``."""
        parts = {
            "images": self._image_counts(),
            "stream": self._stream(),
            "collections": self._collections(),
            "live_release": self._live(),
            "builds": self._builds(),
            "differences": self._differences(),
        }
        results = await asyncio.gather(*(_part(part) for part in parts.values()))
        answer: dict[str, Any] = {name: value for name, (value, _) in zip(parts, results, strict=True)}
        answer["errors"] = [trouble for _, trouble in results if trouble]
        return answer

    async def _image_counts(self) -> dict[str, int]:
        counts = await self.catalog.counts()
        return {status.value: counts[status] for status in Status} | {"total": sum(counts.values())}

    async def _stream(self) -> dict[str, Any]:
        return asdict(await self.events.state())

    async def _collections(self) -> dict[str, int]:
        names = await self.vectors.collections()
        return dict(zip(names, await asyncio.gather(*map(self.vectors.count, names)), strict=True))

    async def _live(self) -> dict[str, Any]:
        release = await self.releases.live()
        return asdict(release)

    async def _builds(self) -> list[dict[str, Any]]:
        return [asdict(build) for build in await self.catalog.builds()]

    async def _differences(self) -> list[dict[str, Any]]:
        found = await self.catalog.differences()
        return [{"release": release, "kind": kind, "number": number} for (release, kind), number in found.items()]


async def _trouble(check: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(CHECK_S):
            await check
    except TimeoutError:
        return f"no answer within {CHECK_S} s"
    except VisualSearchError as error:
        return str(error)
    return ""


async def _part(part: Awaitable[Any]) -> tuple[Any, str]:
    try:
        async with asyncio.timeout(CHECK_S):
            return await part, ""
    except TimeoutError:
        return None, f"no answer within {CHECK_S} s"
    except VisualSearchError as error:
        return None, str(error)
