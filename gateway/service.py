"""The services and adapters that the routes and the gRPC servicer use: one object per process."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.shared_work import PacedWork
from visualsearch.domain.errors import NotFound, Unavailable, VisualSearchError
from visualsearch.domain.interactions import Search, hashed_user
from visualsearch.domain.search import Blocklist, Filter, SearchAnswer
from visualsearch.observability import tracing
from visualsearch.observability.metrics import IMPRESSIONS, SERVERS, count_stages

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gateway.authentication import AccessControl
    from gateway.bulk_deletion import BulkDeletion
    from gateway.caller import Caller
    from gateway.explanation.explainer import Explainer
    from gateway.host_policy import HostPolicy
    from gateway.image_changes import ImageChanges
    from gateway.image_service import ImageService
    from gateway.interactions.interaction_recorder import InteractionRecorder
    from gateway.interactions.query_image_store import QueryImageStore
    from gateway.limits.caller_limits import CallerLimits
    from gateway.process.rate_limits import LocalRateLimit
    from gateway.process.worker_group import WorkerGroup
    from gateway.search.experiment_assignment import ExperimentAssigner
    from gateway.search.image_search import ImageSearch
    from gateway.search.recall_monitor import RecallMonitor
    from gateway.search.shadow_search import ShadowSearch
    from gateway.statistics import StatisticsCollector
    from visualsearch.domain.images import Box
    from visualsearch.ports import (
        AuditLog,
        DuplicateExclusions,
        Encoder,
        EventStream,
        ExperimentRepository,
        ImageRepository,
        IndexingProgress,
        InteractionRepository,
        ObjectStore,
        RecallRepository,
        ReleaseCounters,
        ReleaseRepository,
        TopicVerifier,
        Vectors,
    )
    from visualsearch.releases.active_releases import ActiveReleases
    from visualsearch.releases.canary_monitor import CanaryMonitor

log = logging.getLogger(__name__)

CHECK_S = 1.5
PROBE_S = 0.25
"""Shortest time between two probes of the servers."""
POLL_S = 0.1
CLICK_CHECK_S = 0.7
"""Timeout of checking a click against Postgres. After it, the click is accepted unchecked."""


@dataclass(slots=True, kw_only=True)
class Gateway:
    """The services and adapters that requests use."""

    encoder: Encoder
    vectors: Vectors
    image_repository: ImageRepository
    duplicate_exclusions: DuplicateExclusions
    audit_log: AuditLog
    indexing_progress: IndexingProgress
    events: EventStream
    object_store: ObjectStore
    releases: ActiveReleases
    release_repository: ReleaseRepository
    search: ImageSearch
    images: ImageService
    image_changes: ImageChanges
    bulk_deletion: BulkDeletion
    access: AccessControl
    limits: CallerLimits
    notices: LocalRateLimit
    """Records a second of each sender of notifications."""
    host_policy: HostPolicy
    explainer: Explainer
    interaction_repository: InteractionRepository
    interaction_recorder: InteractionRecorder
    query_image_store: QueryImageStore
    experiments: ExperimentAssigner
    experiment_repository: ExperimentRepository
    canary_monitor: CanaryMonitor
    statistics: StatisticsCollector
    shadow: ShadowSearch
    counts: ReleaseCounters
    blocklist: Blocklist
    min_side: int = 0
    webhook_token: str = ""
    topics: TopicVerifier | None = None
    worker_group: WorkerGroup | None = None
    user_id_key: str = ""
    recall: RecallMonitor | None = None
    recall_repository: RecallRepository | None = None
    probes: PacedWork[dict[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.probes = PacedWork(self._probe, PROBE_S)

    def filter_for(self, caller: Caller) -> Filter:
        """Return the filter for the images that a caller may see."""
        return Filter(caller.owner, self.blocklist.sources, self.blocklist.ids, self.min_side)

    def after_search(
        self, answer: SearchAnswer, user_id: int | None, box: Box | None, data: bytes | None, owner: str = ""
    ) -> None:
        """Count a search at once; record it after the response is sent."""
        stages = {**answer.timings_ms, "rescore": answer.rescore_ms, "total": answer.latency_ms}
        variant = ",".join(f"{experiment}:{name}" for experiment, name in answer.variants.items())
        count_stages(answer.release, variant, stages)
        tracing.annotate(release=answer.release, query_image_id=answer.query_image_id, results=len(answer.results))
        IMPRESSIONS.labels(answer.release, variant).inc(len(answer.results))
        query_id, picture = answer.query_image_id, data is not None
        key = "" if data is None else self.query_image_store.keep(query_id, data)
        shown = tuple(hit.id for hit in answer.results)
        user = self.pseudonym(user_id)
        variants = dict(answer.variants)
        self.interaction_recorder.searched(
            Search(query_id, answer.release, shown, user, picture, str(box or ""), key, variants, owner=owner)
        )

    def pseudonym(self, user_id: int | None) -> int | None:
        """Return the pseudonym under which a user is recorded."""
        return hashed_user(self.user_id_key, user_id)

    async def is_real(self, query_image_id: int, displayed_image_id: int, caller: Caller) -> bool:
        """Check that the query is the caller's and that it may see the image.

        Returns False if Postgres is down, or it is not known yet whose query it is. Raises ``NotFound``.
        """
        try:
            async with asyncio.timeout(CLICK_CHECK_S):
                await self.images.get_shown(displayed_image_id, caller)
                await self._check_query(query_image_id, caller)
        except (Unavailable, TimeoutError):
            return False
        return True

    async def _check_query(self, query_image_id: int, caller: Caller) -> None:
        """Wait until it is known whose the query is; raise ``NotFound`` if it is not the caller's.

        Every caller may have searched with an image of the corpus that it may see.
        """
        missing = NotFound(
            f"There was no search {query_image_id} of yours: send the query_image_id of an answer that you got."
        )
        if not await self.image_repository.was_issued(query_image_id):
            raise missing
        image = (await self.image_repository.by_ids([query_image_id])).get(query_image_id)
        if image is not None:
            if not caller.may_see(image):
                raise missing
            return
        while not caller.sees_everything:
            query = await self.interaction_repository.query(query_image_id)
            if query is None:  # an answer is sent before its search is written
                await asyncio.sleep(POLL_S)
            elif caller.owns(query.owner):
                return
            else:
                raise missing

    async def drain(self) -> None:
        """Finish deferred work: store query pictures, stop the background searches, and queue interactions."""
        await self.query_image_store.drain()
        if self.recall is not None:
            await self.recall.close()
        await self.shadow.close()
        await self.interaction_recorder.close()
        await self.access.close()

    async def not_ready(self) -> dict[str, str]:
        """Run one small operation on every server; return the failures by server.

        All who ask at the same time share one run: probing costs the servers as little as one prober does.
        """
        return await self.probes.result()

    async def _probe(self) -> dict[str, str]:
        checks = (
            self._check_encoder(),
            self._check_vectors(),
            self.image_repository.check(),
            self.events.check(),
            self.object_store.check(),
        )
        results = await asyncio.gather(*map(_trouble, checks))
        troubles = dict(zip(SERVERS, results, strict=True)) | {
            "gateway": self.worker_group.missing() if self.worker_group else ""
        }
        return {name: trouble for name, trouble in troubles.items() if trouble}

    async def _check_encoder(self) -> None:
        release = await self.releases.live()
        await self.encoder.check(release.model_version)

    async def _check_vectors(self) -> None:
        release = await self.releases.live()
        await self.vectors.check(release.collection)


async def _trouble(check: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(CHECK_S):
            await check
    except TimeoutError:
        return f"no answer within {CHECK_S} s"
    except VisualSearchError as error:
        return str(error)
    return ""
