"""The indexer's composition root; `python -m indexer` runs it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import REGISTRY

from indexer.maintenance.colour_backfill import ColourBackfill
from indexer.maintenance.retention import Retention
from indexer.pipeline.ingest import Ingest
from indexer.pipeline.interaction_writer import InteractionWriter
from indexer.pipeline.sweeper import Sweeper
from indexer.pipeline.worker import Worker
from indexer.releases.release_controller import ReleaseController
from indexer.releases.release_gate import Gate, Limits
from indexer.releases.score_calibrator import ScoreCalibrator
from indexer.sources.change_feed_consumer import BucketSweep, ChangeFeedConsumer
from visualsearch.composition import open_stores
from visualsearch.domain.images import Quota
from visualsearch.domain.search import Priority
from visualsearch.image_deletion import ImageDeletion
from visualsearch.imaging.picture_pool import PicturePool
from visualsearch.observability import tracing
from visualsearch.observability.host_metrics import HostMetrics
from visualsearch.observability.metrics import configure_logging, serve_metrics
from visualsearch.releases.active_releases import ActiveReleases
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from visualsearch.composition import Stores

log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 10.0
"""Timeout of one call. No user waits for the indexer, so it is longer than the gateway's."""
DECODING_S = 60.0
"""Longest time for an expensive picture, on a busy machine; then its event is retried."""
GRACE_S = 7.0
"""Time to finish batches after a signal, before they are released to the stream."""


async def run(settings: Settings) -> None:
    """Index until SIGTERM or SIGINT; then finish the current batches if that takes at most ``GRACE_S``."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    heartbeat = settings.home / "run" / "indexer.heartbeat"
    heartbeat.parent.mkdir(parents=True, exist_ok=True)
    watched = [address.strip() for address in settings.tls_addresses.split(",") if address.strip()]
    REGISTRY.register(HostMetrics(settings.home, watched))
    with (
        serve_metrics(settings.indexer_metrics_host, settings.indexer_metrics_port),
        tracing.exported(settings.otlp_endpoint, "indexer", settings.trace_ratio),
        PicturePool(settings.decode_threads or os.cpu_count(), timeout_s=DECODING_S) as pool,
    ):
        async with open_stores(settings, CALL_TIMEOUT_S, Priority.INDEXING) as stores:
            work = asyncio.gather(*(one.run(stop) for one in _workers(settings, stores, pool, heartbeat.touch)))
            await _first(work, stop)
            try:
                await asyncio.wait_for(work, GRACE_S)
            except TimeoutError:
                log.warning("stopped with batches unfinished: they stay pending and will be delivered again")


class Runnable(Protocol):
    """Work that goes on until it is told to stop."""

    def run(self, stop: asyncio.Event) -> Coroutine[Any, Any, None]:
        """Work until ``stop`` is set."""
        ...


def _workers(settings: Settings, stores: Stores, pool: PicturePool, beat: Callable[[], None]) -> Iterator[Runnable]:
    """Build what runs in one indexer."""
    name = f"{socket.gethostname()}-{os.getpid()}"
    images, objects = stores.image_repository, stores.object_store
    releases = ActiveReleases(stores.release_repository)
    quota = Quota(settings.quota_images, settings.quota_bytes)
    yield Worker(
        name,
        stores.events,
        images,
        stores.dead_letter_archive,
        releases,
        Ingest(stores.encoder, stores.vectors, images, objects, pool, stores.scanner, quota),
        batch=settings.index_batch,
        stale_after_s=settings.stale_after_s,
        max_deliveries=settings.max_deliveries,
        beat=beat,
    )
    deletion = ImageDeletion(images, stores.vectors, objects)
    yield Sweeper(stores.events, images, deletion, releases, settings.sweep_after_s)
    yield BucketSweep(name, stores.events, images, objects, settings.bucket_sweep_s)
    yield InteractionWriter(name, stores.interaction_queue, stores.interaction_repository)
    yield Retention(
        name,
        stores.events,
        stores.interaction_repository,
        stores.interaction_queue,
        objects,
        stores.audit_log,
        days=settings.retention_days,
        audit_days=settings.audit_days,
    )
    yield ColourBackfill(name, stores.events, images, objects, pool)
    if stores.changes is not None:
        yield ChangeFeedConsumer(name, stores.changes, stores.events, images, objects, stores.indexing_progress)
    limits = Limits(settings.release_margin, settings.release_recall, settings.release_p95_ms)
    gate = Gate(stores, settings.evaluation_set, settings.model_repository / settings.model_name, limits)
    yield ReleaseController(name, stores, gate, pool)
    yield ScoreCalibrator(name, stores.events, stores.release_repository, stores.background_vectors)


async def _first(work: asyncio.Future[Any], stop: asyncio.Event) -> None:
    """Wait for a signal, or for a task that failed."""
    signalled = asyncio.ensure_future(stop.wait())
    await asyncio.wait({work, signalled}, return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()


def main() -> None:
    """Load the settings and run the indexer."""
    settings = Settings.load()
    configure_logging(settings.log_level, settings.log_format)
    asyncio.run(run(settings))


if __name__ == "__main__":
    # Start anew as the package, whose main module is not imported again by the process for expensive pictures.
    os.execv(sys.executable, [sys.executable, "-m", "indexer"])  # noqa: S606 - our own words
