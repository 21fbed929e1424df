"""Builds the adapters that bring pictures to the indexers, without those that only indexers and gateways need.

The clients of Triton and Milvus take most of a second to import, which is long for a command that indexes few pictures.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visualsearch.adapters.postgres.audit_log import PostgresAuditLog
from visualsearch.adapters.postgres.database import Database
from visualsearch.adapters.postgres.image_repository import PostgresImages
from visualsearch.adapters.postgres.indexed_folder_repository import PostgresIndexedFolders
from visualsearch.adapters.s3.object_store import S3ObjectStore
from visualsearch.adapters.valkey.event_stream import ValkeyEventStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from visualsearch.ports import AuditLog, EventStream, ImageRepository, IndexedFolderRepository, ObjectStore
    from visualsearch.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexingStores:
    """The servers that pictures pass on their way to the indexers."""

    image_repository: ImageRepository
    indexed_folders: IndexedFolderRepository
    audit_log: AuditLog
    events: EventStream
    object_store: ObjectStore


@asynccontextmanager
async def open_indexing_stores(settings: Settings, timeout_s: float) -> AsyncIterator[IndexingStores]:
    """Connect to these servers, and close the connections at the end."""
    database = Database(settings.postgres_dsn, settings.postgres_password.get_secret_value(), timeout_s)
    password = settings.valkey_password.get_secret_value()
    stores = IndexingStores(
        image_repository=PostgresImages(database),
        indexed_folders=PostgresIndexedFolders(database),
        audit_log=PostgresAuditLog(database),
        events=ValkeyEventStream(settings.valkey_url, password, timeout_s, settings.client_tls),
        object_store=bucket(settings, settings.s3_bucket, timeout_s),
    )
    try:
        yield stores
    finally:
        await asyncio.gather(database.close(), stores.events.close(), stores.object_store.close())


def bucket(settings: Settings, name: str, timeout_s: float) -> ObjectStore:
    """Return a client of a bucket of the object store: the corpus' own bucket or another one."""
    return S3ObjectStore(
        settings.s3_url,
        name,
        settings.s3_region,
        settings.s3_access_key.get_secret_value(),
        settings.s3_secret_key.get_secret_value(),
        timeout_s,
        settings.client_tls if settings.s3_url.startswith("https://") else None,
    )
