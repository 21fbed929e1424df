"""Enforces retention: creates partitions ahead, drops old ones, deletes old query images and audit entries."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.query_images import PREFIX
from visualsearch.periodic_job import Lease, PeriodicJob

if TYPE_CHECKING:
    from visualsearch.ports import AuditLog, EventStream, InteractionQueue, InteractionRepository, ObjectStore

log = logging.getLogger(__name__)

EVERY_S = 3600.0
RETRY_S = 30.0
DELETED_AT_ONCE = 16


class Retention:
    """Enforces retention once an hour; one of all indexers does it."""

    def __init__(
        self,
        name: str,
        events: EventStream,
        interaction_repository: InteractionRepository,
        interaction_queue: InteractionQueue,
        object_store: ObjectStore,
        audit_log: AuditLog,
        *,
        days: int,
        audit_days: int,
    ) -> None:
        self._name = name
        self._events = events
        self._interaction_repository = interaction_repository
        self._interaction_queue = interaction_queue
        self._object_store = object_store
        self._audit_log = audit_log
        self._days = days
        self._audit_days = audit_days

    async def run(self, stop: asyncio.Event) -> None:
        """Enforce retention at the start and every hour, until stopped."""
        lease = Lease(self._events, "retention", self._name, RETRY_S)
        await PeriodicJob(name="retention", work=self.enforce, every_s=EVERY_S, retry_s=RETRY_S, lease=lease).run(stop)

    async def enforce(self) -> None:
        """Create the partitions of the coming days, and delete data older than the retention period."""
        dropped = await self._interaction_repository.keep(self._days)
        if dropped:
            log.info("dropped partitions older than %d days: %s", self._days, ", ".join(dropped))
        deleted = await self._delete_pictures(datetime.now(UTC) - timedelta(days=self._days))
        if deleted:
            log.info("deleted %d query pictures older than %d days", deleted, self._days)
        await self._audit_log.keep(self._audit_days)
        await self._interaction_queue.remove_idle_consumers()

    async def _delete_pictures(self, before: datetime) -> int:
        """Delete query images by their own age, so that those without a row are deleted too."""
        deleted = 0
        async for page in self._object_store.walk(PREFIX):
            old = [one.key for one in page if one.last_modified < before]
            for begin in range(0, len(old), DELETED_AT_ONCE):
                results = await asyncio.gather(*map(self._delete, old[begin : begin + DELETED_AT_ONCE]))
                deleted += sum(results)
        return deleted

    async def _delete(self, key: str) -> bool:
        """Delete an object; return False if its key is none of ours, so that another program must have stored it."""
        try:
            await self._object_store.delete(key)
        except InvalidInput:
            return False
        return True
