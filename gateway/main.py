"""The composition root of one of the gateway's processes; `python -m gateway` runs them all."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from gateway.authentication import AccessControl
from gateway.bulk_deletion import BulkDeletion
from gateway.credentials import Authenticator, EnvironmentKeys, requires_keys
from gateway.explanation.explainer import Explainer
from gateway.grpc.server import serve
from gateway.host_policy import host_policy
from gateway.image_changes import ImageChanges
from gateway.image_service import ImageService
from gateway.interactions.interaction_recorder import InteractionRecorder
from gateway.interactions.query_image_store import QueryImageStore
from gateway.limits.caller_limits import CallerLimits
from gateway.limits.fair_queue import FairQueue
from gateway.limits.work_budget import WorkBudget
from gateway.process.rate_limits import LocalRateLimit, rates
from gateway.process.worker_group import SHUTDOWN_S, cores
from gateway.search.admission import Admission
from gateway.search.decoder import Decoder
from gateway.search.experiment_assignment import ExperimentAssigner
from gateway.search.image_search import ImageSearch
from gateway.search.query_encoder import QueryEncoder
from gateway.search.query_ids import QueryIds
from gateway.search.recall_monitor import RecallMonitor
from gateway.search.retrieval import Retriever
from gateway.search.shadow_search import ShadowSearch
from gateway.service import Gateway
from gateway.statistics import StatisticsCollector
from gateway.stored_keys import StoredKeys
from visualsearch.composition import Stores, open_stores
from visualsearch.domain.errors import ConfigurationError
from visualsearch.domain.images import Quota
from visualsearch.domain.search import Blocklist
from visualsearch.image_deletion import ImageDeletion
from visualsearch.imaging.picture_pool import WAITING, PicturePool
from visualsearch.observability import tracing
from visualsearch.releases.active_releases import ActiveReleases
from visualsearch.releases.canary_monitor import CanaryMonitor
from visualsearch.releases.release_router import ReleaseRouter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from gateway.process.worker_group import WorkerGroup
    from visualsearch.settings import Settings

IN_TIME = 0.4
"""Target latency as a part of the deadline. If no search meets it, admission accepts fewer."""
CONNECTIONS, ALL_CONNECTIONS = 8, 64
"""Postgres connections of one process, and of all together. Postgres allows 100, and the indexers need some of them."""
CANARY_SHARE = 0.5
"""Part of a search's deadline after which a canary that has not answered is replaced by the live release."""
FEWEST_THREADS = 2
"""Decoding threads of a process, so that a small picture need not wait for a large one of another caller."""
YOUNG = 10_000
"""Allocations between garbage collections. A search creates and frees thousands of objects, which form no cycles."""


def build(
    settings: Settings,
    stores: Stores,
    pool: PicturePool,
    worker_group: WorkerGroup | None = None,
    clock: Callable[[], float] = time.monotonic,
    budget: WorkBudget | None = None,
) -> Gateway:
    """Build the parts of one process; limits that hold for all processes are divided among the worker group.

    ``budget`` is the one that the processes share.
    """
    processes = worker_group.size if worker_group else 1
    deadline_s = settings.deadline_ms / 1000
    releases = ActiveReleases(stores.release_repository, clock)
    release_router = ReleaseRouter(releases, stores.counts, deadline_s * CANARY_SHARE, clock)
    experiments = ExperimentAssigner(stores.experiment_repository, stores.release_repository, clock)
    most = max(1, settings.max_waiting // processes)
    decoder = Decoder(pool, most)
    shadow = ShadowSearch(releases, stores.counts, lambda: decoder.busy)
    recall = RecallMonitor(
        stores.background_vectors, stores.recall_repository, settings.recall_share, lambda: decoder.busy
    )
    search = ImageSearch(
        QueryEncoder(decoder, stores.encoder, stores.vectors, stores.object_store),
        Retriever(stores.vectors, stores.duplicate_exclusions, recall.offer if settings.recall_share else None),
        QueryIds(stores.image_repository),
        release_router,
        shadow,
        experiments,
        Admission(most, deadline_s * IN_TIME),
        deadline_s=deadline_s,
    )
    blocklist = Blocklist(_ids(settings.blocked_ids), _names(settings.blocked_sources))
    quota = Quota(settings.quota_images, settings.quota_bytes)
    deletion = ImageDeletion(stores.image_repository, stores.vectors, stores.object_store)
    images = _images(stores, decoder, deletion, blocklist, quota, deadline_s)
    canary_monitor = _canary_monitor(stores, release_router)
    interaction_recorder = InteractionRecorder(stores.interaction_queue)
    return Gateway(
        encoder=stores.encoder,
        vectors=stores.vectors,
        image_repository=stores.image_repository,
        duplicate_exclusions=stores.duplicate_exclusions,
        audit_log=stores.audit_log,
        indexing_progress=stores.indexing_progress,
        events=stores.events,
        object_store=stores.object_store,
        releases=releases,
        release_repository=stores.release_repository,
        search=search,
        images=images,
        image_changes=ImageChanges(images, stores.image_repository, stores.object_store, stores.events),
        bulk_deletion=BulkDeletion(stores.image_repository, stores.object_store, deletion),
        access=_access(settings, stores, processes, clock),
        limits=_limits(settings, budget or work_budget(settings, clock), most, processes),
        notices=LocalRateLimit(settings.webhook_rate / processes, clock),
        host_policy=host_policy(settings, requires_keys(settings)),
        explainer=_explainer(stores, decoder, images, releases, deadline_s),
        interaction_repository=stores.interaction_repository,
        interaction_recorder=interaction_recorder,
        query_image_store=QueryImageStore(stores.object_store, settings.store_queries),
        experiments=experiments,
        experiment_repository=stores.experiment_repository,
        canary_monitor=canary_monitor,
        statistics=_statistics(stores, releases, canary_monitor, interaction_recorder),
        shadow=shadow,
        counts=stores.counts,
        blocklist=blocklist,
        min_side=settings.min_result_side,
        webhook_token=settings.webhook_token.get_secret_value(),
        topics=stores.topics,
        worker_group=worker_group,
        user_id_key=settings.user_id_key.get_secret_value(),
        recall=recall,
        recall_repository=stores.recall_repository,
    )


def _images(
    stores: Stores, decoder: Decoder, deletion: ImageDeletion, blocklist: Blocklist, quota: Quota, deadline_s: float
) -> ImageService:
    return ImageService(
        decoder,
        stores.image_repository,
        stores.events,
        stores.object_store,
        deletion,
        stores.scanner,
        blocklist,
        quota,
        deadline_s,
    )


def _access(settings: Settings, stores: Stores, processes: int, clock: Callable[[], float]) -> AccessControl:
    stored = StoredKeys(stores.api_keys, clock)
    authenticator = Authenticator(EnvironmentKeys(settings.api_keys), stored, stores.tokens, requires_keys(settings))
    limit = rates(settings.rate_limit, stores.rates, processes)
    return AccessControl(authenticator, limit, settings.rate_limit_loopback)


def work_budget(settings: Settings, clock: Callable[[], float] = time.monotonic) -> WorkBudget:
    """Return the budgets of callers, which processes share that are forked later."""
    return WorkBudget(1000 * cores() * settings.caller_share, clock)


def _limits(settings: Settings, budget: WorkBudget, most: int, processes: int) -> CallerLimits:
    turns = FairQueue(most, lambda: budget.contended, alone=budget.alone)
    return CallerLimits(budget, turns, max(1, settings.max_per_caller // processes))


def _explainer(
    stores: Stores, decoder: Decoder, images: ImageService, releases: ActiveReleases, deadline_s: float
) -> Explainer:
    return Explainer(
        decoder,
        images,
        stores.encoder,
        stores.image_repository,
        stores.interaction_repository,
        stores.object_store,
        releases,
        deadline_s,
    )


def _statistics(
    stores: Stores, releases: ActiveReleases, canary_monitor: CanaryMonitor, interaction_recorder: InteractionRecorder
) -> StatisticsCollector:
    return StatisticsCollector(
        image_repository=stores.image_repository,
        indexing_progress=stores.indexing_progress,
        events=stores.events,
        vectors=stores.vectors,
        releases=releases,
        release_repository=stores.release_repository,
        canary_monitor=canary_monitor,
        counts=stores.counts,
        interaction_recorder=interaction_recorder,
        recall_repository=stores.recall_repository,
    )


def _canary_monitor(stores: Stores, release_router: ReleaseRouter) -> CanaryMonitor:
    return CanaryMonitor(
        release_router, stores.counts, stores.release_repository, stores.recall_repository, stores.events
    )


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _leave_alone_what_stays() -> None:
    """Exclude what is loaded by now from garbage collection: scanning it blocks every request for 0.2 s."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


def _ids(text: str) -> frozenset[int]:
    try:
        return frozenset(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigurationError("VISUALSEARCH_BLOCKED_IDS must be image ids, separated by commas.") from None


def with_servers(
    settings: Settings, worker_group: WorkerGroup
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return the lifespan that connects to the servers, and serves gRPC on a port that the worker group shares."""
    budget = work_budget(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        threads = settings.decode_threads or max(FEWEST_THREADS, cores() // worker_group.size)
        connections = max(1, min(CONNECTIONS, ALL_CONNECTIONS // worker_group.size))
        with (
            tracing.exported(settings.otlp_endpoint, "gateway", settings.trace_ratio),
            PicturePool(threads, WAITING) as pool,
        ):
            async with open_stores(settings, connections=connections) as stores:
                gateway = app.state.gateway = build(settings, stores, pool, worker_group, budget=budget)
                address = f"{settings.gateway_host}:{settings.gateway_grpc_port}"
                async with serve(gateway, address, SHUTDOWN_S, settings.gateway_tls):
                    worker_group.join()
                    stop = asyncio.Event()
                    jobs = gateway.canary_monitor.run(stop), gateway.access.run(stop)
                    running = [asyncio.create_task(job) for job in jobs]
                    _leave_alone_what_stays()
                    yield
                    for task in running:
                        task.cancel()
                    worker_group.leave()
                await gateway.drain()

    return lifespan


if __name__ == "__main__":
    # Start anew as the parent, which must set the folder of the metrics before it imports them.
    os.execv(sys.executable, [sys.executable, "-m", "gateway"])  # noqa: S606 - our own words
