"""Publishes changes of the object store as events: follows its change log, and periodically sweeps the bucket."""

from __future__ import annotations

import functools
import logging
import time
from contextlib import aclosing
from typing import TYPE_CHECKING
from urllib.parse import quote

from indexer.sources.corpus_keys import CorpusKeys
from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.indexing import Event, EventKind
from visualsearch.domain.object_keys import is_reserved
from visualsearch.periodic_job import Lease, PeriodicJob

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from visualsearch.domain.indexing import Change, ObjectInfo
    from visualsearch.ports import ChangeFeed, EventStream, ImageRepository, IndexingProgress, ObjectStore

log = logging.getLogger(__name__)

LOG = "bucket"
LEASE_S = 5.0
WAIT_S = 1.0
REMEMBER_EVERY_S = 1.0
OVERLAP_NS = 2_000_000_000
"""Overlap when following resumes, because clocks and the last page before a kill may differ a little."""


class ChangeFeedConsumer:
    """Follows the change log on one of all indexers; another takes over if that one stops."""

    def __init__(
        self,
        name: str,
        changes: ChangeFeed,
        events: EventStream,
        image_repository: ImageRepository,
        object_store: ObjectStore,
        progress: IndexingProgress,
    ) -> None:
        self._name = name
        self._changes = changes
        self._progress = progress
        self._events = events
        self._image_repository = image_repository
        self._object_store = object_store

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until stopped; retry while a server is unavailable."""
        lease = Lease(self._events, LOG, self._name, LEASE_S)
        follow = functools.partial(self._follow, stop)
        await PeriodicJob(name="following the change log", work=follow, every_s=WAIT_S, lease=lease).run(stop)

    async def _follow(self, stop: asyncio.Event) -> None:
        """Publish changes while the lease is held; the first run starts now, because the sweep finds older objects."""
        position = await self._progress.position(LOG)
        if position is None:
            position = time.time_ns()
            await self._progress.set_position(LOG, position)
        remembered, remember = time.monotonic(), position
        async with aclosing(self._changes.follow(position - OVERLAP_NS)) as log_pages:
            async for changes in log_pages:
                if changes:
                    await self._events.publish(await self._news(changes))
                    position = max(position, changes[-1].at_ns)
                if time.monotonic() - remembered <= REMEMBER_EVERY_S:
                    continue
                remembered = time.monotonic()
                if position != remember:
                    # Written after the events are published: a kill in between repeats some events and loses none.
                    await self._progress.set_position(LOG, position)
                    remember = position
                if stop.is_set() or not await self._events.lease(LOG, self._name, LEASE_S):
                    return

    async def _news(self, changes: Sequence[Change]) -> list[Event]:
        """Return events for changes that are not in Postgres yet; uploads by the gateway already are."""
        ours = [one for one in changes if not is_reserved(one.key)]
        events = [Event(one.kind, self._uri(one.key), etag=one.etag) for one in ours]
        known = await self._image_repository.by_uris([event.uri for event in events])
        return [event for event in events if event.uri not in known or not _is_promised(event, known[event.uri].etag)]

    def _uri(self, key: str) -> str:
        """Return the uri of a key, even of an invalid one: its event is then rejected with the reason."""
        try:
            return self._object_store.uri(key)
        except InvalidInput:
            return f"s3://{self._object_store.bucket}/{quote(key, errors='replace')}"


def _is_promised(event: Event, etag: str) -> bool:
    return event.kind is EventKind.CREATED and "" != event.etag == etag


class BucketSweep:
    """Sweeps the bucket for objects whose events were lost, as a fallback for the change log and webhook."""

    def __init__(
        self,
        name: str,
        events: EventStream,
        image_repository: ImageRepository,
        object_store: ObjectStore,
        every_s: float,
    ) -> None:
        self._name = name
        self._events = events
        self._image_repository = image_repository
        self._object_store = object_store
        self._every_s = every_s

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep every ``every_s`` seconds, one indexer at a time, until stopped."""
        lease = Lease(self._events, "bucket-sweep", self._name, self._every_s)
        sweep = PeriodicJob(
            name="the sweep of the bucket", work=self.sweep, every_s=self._every_s, retry_s=WAIT_S, lease=lease
        )
        await sweep.run(stop)

    async def sweep(self) -> int:
        """Publish an event for every object without a row or with another entity tag than its row; return how many."""
        found = 0
        keys = CorpusKeys(self._object_store)
        async for page in self._object_store.walk():
            events = await self._unknown(page, keys)
            await self._events.publish(events)
            found += len(events)
        if found:
            log.info("%d unknown objects were found in the bucket and are published", found)
        if keys.unusable:
            log.warning("%s", keys)
        return found

    async def _unknown(self, page: Sequence[ObjectInfo], keys: CorpusKeys) -> list[Event]:
        etags = {uri: one.etag for one in page if (uri := keys.uri(one.key))}
        known = await self._image_repository.by_uris(list(etags))
        return [
            Event(EventKind.CREATED, uri, etag=etag)
            for uri, etag in etags.items()
            # A row without an entity tag predates entity tags, or describes an unreadable object.
            if uri not in known or known[uri].etag not in {"", etag}
        ]
