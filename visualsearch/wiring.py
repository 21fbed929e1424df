"""Builds the adapters out of the settings, in one place for the three processes that need them.

Only the composition roots (gateway/main.py, indexer/main.py, visualsearch/cli.py) may import this.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from visualsearch.blobs import S3Blobs
from visualsearch.catalog import PostgresCatalog
from visualsearch.changes import SeaweedChanges
from visualsearch.counts import RedisCounts
from visualsearch.domain import Priority
from visualsearch.dump import PostgresDump
from visualsearch.encoder import TritonEncoder
from visualsearch.errors import ConfigurationError
from visualsearch.events import RedisEvents
from visualsearch.journal import PostgresJournal
from visualsearch.models import TritonModels
from visualsearch.rates import ValkeyRates
from visualsearch.recall_log import PostgresRecall
from visualsearch.release_log import PostgresReleaseLog
from visualsearch.spool import RedisSpool
from visualsearch.tracing import traced
from visualsearch.trials import PostgresTrials
from visualsearch.vectors import MilvusVectors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from visualsearch.ports import (
        Blobs,
        Catalog,
        Changes,
        Counts,
        Encoder,
        Events,
        Journal,
        Models,
        RecallLog,
        ReleaseLog,
        Spool,
        Trials,
        Vectors,
    )
    from visualsearch.settings import Settings

CALL_TIMEOUT_S = 1.5
"""Longest wait for one call of a server: under the 2 s within which a caller must learn that it is down."""

ASIDE_TIMEOUT_S = 10.0
"""The same for what nobody waits for."""


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything outside the process."""

    encoder: Encoder
    vectors: MilvusVectors
    catalog: Catalog
    events: Events
    blobs: Blobs
    changes: Changes | None
    """The object store's own log, where it has one that can be followed."""
    spool: Spool
    journal: Journal
    trials: Trials
    recall_log: RecallLog
    vectors_aside: Vectors
    """The same collections over another connection, for what may take long and must not disturb a request."""
    release_log: ReleaseLog
    models: Models
    counts: Counts
    rates: ValkeyRates | None = None
    """How often each caller has asked, where that is limited."""


@asynccontextmanager
async def open_stores(
    settings: Settings,
    timeout_s: float = CALL_TIMEOUT_S,
    priority: Priority = Priority.SEARCHING,
    connections: int = 8,
) -> AsyncIterator[Stores]:
    """Connect to every server and close the connections at the end.

    ``priority`` is the encoder's, ``connections`` are those to Postgres at most.
    """
    password = settings.postgres_password.get_secret_value()
    catalog = PostgresCatalog(settings.postgres_dsn, password, timeout_s, connections)
    valkey = settings.valkey_url, settings.valkey_password.get_secret_value(), timeout_s
    stores = Stores(
        _encoder(settings, timeout_s, priority),
        _vectors(settings, timeout_s),
        catalog,
        RedisEvents(*valkey),
        bucket(settings, settings.s3_bucket, timeout_s),
        _changes(settings, timeout_s),
        RedisSpool(*valkey),
        PostgresJournal(catalog.rows),
        PostgresTrials(catalog.rows),
        PostgresRecall(catalog.rows),
        _vectors(settings, max(timeout_s, ASIDE_TIMEOUT_S)),
        PostgresReleaseLog(catalog),
        _models(settings, timeout_s),
        RedisCounts(*valkey),
        _rates(settings),
    )
    try:
        yield _traced(stores)
    finally:
        everything = (
            stores.encoder,
            stores.vectors,
            stores.catalog,
            stores.events,
            stores.blobs,
            stores.spool,
            stores.changes,
            stores.models,
            stores.counts,
            stores.rates,
            stores.vectors_aside,
        )
        await asyncio.gather(*(one.close() for one in everything if one is not None))


def _traced(stores: Stores) -> Stores:
    return replace(
        stores,
        encoder=traced(stores.encoder, "triton"),
        vectors=traced(stores.vectors, "milvus"),
        catalog=traced(stores.catalog, "postgres"),
        events=traced(stores.events, "valkey"),
        spool=traced(stores.spool, "valkey"),
        blobs=traced(stores.blobs, "s3"),
    )


def _vectors(settings: Settings, timeout_s: float) -> MilvusVectors:
    password = settings.milvus_password.get_secret_value()
    return MilvusVectors(settings.milvus_uri, settings.milvus_user, password, settings.collection_config, timeout_s)


def _rates(settings: Settings) -> ValkeyRates | None:
    if not settings.rate_limit:
        return None
    return ValkeyRates(settings.valkey_url, settings.valkey_password.get_secret_value(), settings.rate_limit)


def _changes(settings: Settings, timeout_s: float) -> Changes | None:
    if not settings.s3_changes:
        return None
    files = (settings.s3_changes_ca, settings.s3_changes_cert, settings.s3_changes_key)
    try:
        pem = [file.read_bytes() if file else b"" for file in files]
    except OSError as error:
        raise ConfigurationError(
            f"A file of VISUALSEARCH_S3_CHANGES_CA, _CERT or _KEY cannot be read: {error}"
        ) from None
    return SeaweedChanges(settings.s3_changes, settings.s3_bucket, timeout_s, *pem)


def bucket(settings: Settings, name: str, timeout_s: float) -> Blobs:
    """Speak to a bucket of the object store, be it the corpus' own or another."""
    return S3Blobs(
        settings.s3_url,
        name,
        settings.s3_region,
        settings.s3_access_key.get_secret_value(),
        settings.s3_secret_key.get_secret_value(),
        timeout_s,
    )


def dump(settings: Settings) -> PostgresDump:
    """Speak to Postgres of whole tables."""
    return PostgresDump(settings.postgres_dsn, settings.postgres_password.get_secret_value())


def _encoder(settings: Settings, timeout_s: float, priority: Priority) -> Encoder:
    model = settings.model_repository / settings.model_name
    if settings.encoder == "onnx":
        # Only here: whoever is served by Triton need not load ONNX Runtime.
        from visualsearch.encoder_onnx import OnnxEncoder

        return OnnxEncoder(model)
    return TritonEncoder(settings.triton_grpc, settings.model_name, timeout_s, model, priority)


def _models(settings: Settings, timeout_s: float) -> Models:
    if settings.encoder == "onnx":
        from visualsearch.encoder_onnx import OnnxModels

        return OnnxModels(settings.model_repository / settings.model_name)
    key = settings.triton_admin_key.get_secret_value()
    return TritonModels(settings.triton_grpc, settings.model_name, key, timeout_s)
