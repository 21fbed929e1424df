"""Builds the adapters from the settings, for the gateway, the indexer and the command line.

Only the composition roots (gateway/main.py, indexer/main.py, cli/main.py) may import this module.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from visualsearch.adapters.malware.clamd import ClamdScanner
from visualsearch.adapters.malware.command import CommandScanner
from visualsearch.adapters.malware.lenient import LenientScanner
from visualsearch.adapters.milvus.vectors import MilvusVectors
from visualsearch.adapters.oidc.issuer_keys import IssuerKeys
from visualsearch.adapters.oidc.token_verifier import OidcTokenVerifier
from visualsearch.adapters.postgres.api_key_repository import PostgresApiKeys
from visualsearch.adapters.postgres.audit_log import PostgresAuditLog
from visualsearch.adapters.postgres.database import Database
from visualsearch.adapters.postgres.dead_letter_archive import PostgresDeadLetterArchive
from visualsearch.adapters.postgres.duplicate_exclusions import PostgresDuplicateExclusions
from visualsearch.adapters.postgres.experiment_repository import PostgresExperiments
from visualsearch.adapters.postgres.image_repository import PostgresImages
from visualsearch.adapters.postgres.indexing_progress import PostgresIndexingProgress
from visualsearch.adapters.postgres.interaction_repository import PostgresInteractions
from visualsearch.adapters.postgres.recall_repository import PostgresRecallSamples
from visualsearch.adapters.postgres.release_repository import PostgresReleases
from visualsearch.adapters.postgres.table_copy import PostgresTableCopy
from visualsearch.adapters.seaweedfs.change_feed import SeaweedFSChangeFeed
from visualsearch.adapters.sns.topics import SnsTopics
from visualsearch.adapters.triton.encoder import TritonEncoder
from visualsearch.adapters.triton.model_control import TritonModelControl
from visualsearch.adapters.valkey.event_stream import ValkeyEventStream
from visualsearch.adapters.valkey.interaction_queue import ValkeyInteractionQueue
from visualsearch.adapters.valkey.release_counters import ValkeyReleaseCounters
from visualsearch.adapters.valkey.request_rates import ValkeyRequestRates
from visualsearch.domain.errors import ConfigurationError
from visualsearch.domain.search import Priority
from visualsearch.indexing_stores import bucket
from visualsearch.observability.metrics import UNSCANNED
from visualsearch.observability.tracing import traced
from visualsearch.tls import ClientTLS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from visualsearch.ports import (
        ApiKeyRepository,
        AuditLog,
        ChangeFeed,
        DeadLetterArchive,
        DuplicateExclusions,
        Encoder,
        EventStream,
        ExperimentRepository,
        ImageRepository,
        IndexingProgress,
        InteractionQueue,
        InteractionRepository,
        MalwareScanner,
        ModelControl,
        ObjectStore,
        RecallRepository,
        ReleaseCounters,
        ReleaseRepository,
        TokenVerifier,
        TopicVerifier,
        Vectors,
    )
    from visualsearch.settings import Settings

CALL_TIMEOUT_S = 1.5
"""Timeout of one call to a server. It is below the 2 s within which a caller must learn that a server is down."""

SCAN_TIMEOUT_S = 5.0
"""Timeout of scanning one file."""
SCANNERS: dict[str, type[ClamdScanner | CommandScanner]] = {"clamd": ClamdScanner, "command": CommandScanner}

ASIDE_TIMEOUT_S = 10.0
"""The same timeout for background work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Every server that the process depends on."""

    encoder: Encoder
    vectors: MilvusVectors
    image_repository: ImageRepository
    duplicate_exclusions: DuplicateExclusions
    dead_letter_archive: DeadLetterArchive
    audit_log: AuditLog
    indexing_progress: IndexingProgress
    events: EventStream
    object_store: ObjectStore
    changes: ChangeFeed | None
    """The object store's change log; None if it has none that can be followed."""
    interaction_queue: InteractionQueue
    interaction_repository: InteractionRepository
    experiment_repository: ExperimentRepository
    recall_repository: RecallRepository
    background_vectors: Vectors
    """The same collections over a second connection, for slow calls that must not delay a request."""
    release_repository: ReleaseRepository
    api_keys: ApiKeyRepository
    models: ModelControl
    counts: ReleaseCounters
    scanner: MalwareScanner | None = None
    """The virus scanner; None if pictures are not scanned."""
    tokens: TokenVerifier | None = None
    """Verifies tokens of the issuer; None if none is configured."""
    topics: TopicVerifier | None = None
    """Verifies messages of Amazon SNS; None if no topic is subscribed to."""
    rates: ValkeyRequestRates | None = None
    """Request rate of each caller; None if rates are not limited."""


@asynccontextmanager
async def open_stores(
    settings: Settings,
    timeout_s: float = CALL_TIMEOUT_S,
    priority: Priority = Priority.SEARCHING,
    connections: int = 8,
) -> AsyncIterator[Stores]:
    """Connect to every server, and close the connections at the end.

    ``priority`` is the encoder's priority. ``connections`` is the maximum number of connections to Postgres.
    """
    password = settings.postgres_password.get_secret_value()
    database = Database(settings.postgres_dsn, password, timeout_s, connections)
    valkey = settings.valkey_url, settings.valkey_password.get_secret_value(), timeout_s, settings.client_tls
    stores = Stores(
        encoder=_encoder(settings, timeout_s, priority),
        vectors=_vectors(settings, timeout_s),
        image_repository=PostgresImages(database),
        duplicate_exclusions=PostgresDuplicateExclusions(database),
        dead_letter_archive=PostgresDeadLetterArchive(database),
        audit_log=PostgresAuditLog(database),
        indexing_progress=PostgresIndexingProgress(database),
        events=ValkeyEventStream(*valkey),
        object_store=bucket(settings, settings.s3_bucket, timeout_s),
        changes=_changes(settings, timeout_s),
        interaction_queue=ValkeyInteractionQueue(*valkey),
        interaction_repository=PostgresInteractions(database),
        experiment_repository=PostgresExperiments(database),
        recall_repository=PostgresRecallSamples(database),
        background_vectors=_vectors(settings, max(timeout_s, ASIDE_TIMEOUT_S)),
        release_repository=PostgresReleases(database),
        api_keys=PostgresApiKeys(database),
        models=_models(settings, timeout_s),
        counts=ValkeyReleaseCounters(*valkey),
        scanner=_scanner(settings),
        tokens=_tokens(settings),
        topics=SnsTopics(settings.topics) if settings.topics else None,
        rates=_rates(settings),
    )
    try:
        yield _traced(stores)
    finally:
        everything = (
            stores.encoder,
            stores.vectors,
            stores.image_repository,
            stores.events,
            stores.object_store,
            stores.interaction_queue,
            stores.changes,
            stores.models,
            stores.counts,
            stores.rates,
            stores.tokens,
            stores.background_vectors,
        )
        await asyncio.gather(*(one.close() for one in everything if one is not None))


def _traced(stores: Stores) -> Stores:
    return replace(
        stores,
        encoder=traced(stores.encoder, "triton"),
        vectors=traced(stores.vectors, "milvus"),
        image_repository=traced(stores.image_repository, "postgres"),
        duplicate_exclusions=traced(stores.duplicate_exclusions, "postgres"),
        events=traced(stores.events, "valkey"),
        interaction_queue=traced(stores.interaction_queue, "valkey"),
        object_store=traced(stores.object_store, "s3"),
        scanner=stores.scanner and traced(stores.scanner, "scanner"),
    )


def _vectors(settings: Settings, timeout_s: float) -> MilvusVectors:
    password = settings.milvus_password.get_secret_value()
    return MilvusVectors(
        settings.milvus_uri, settings.milvus_user, password, settings.collection_config, timeout_s, settings.client_tls
    )


def _rates(settings: Settings) -> ValkeyRequestRates | None:
    if not settings.rate_limit:
        return None
    password = settings.valkey_password.get_secret_value()
    return ValkeyRequestRates(settings.valkey_url, password, settings.rate_limit, settings.client_tls)


def _tokens(settings: Settings) -> TokenVerifier | None:
    if not settings.jwt_issuer:
        return None
    return OidcTokenVerifier(
        IssuerKeys(settings.jwt_issuer, settings.jwt_jwks_url),
        settings.jwt_issuer,
        settings.jwt_audience,
        leeway_s=settings.jwt_leeway_s,
        owner_claim=settings.jwt_owner_claim,
        scope_claim=settings.jwt_scope_claim,
    )


def _scanner(settings: Settings) -> MalwareScanner | None:
    kind, _, where = settings.malware_scanner.partition(":")
    if not kind:
        return None
    if kind not in SCANNERS or not where:
        raise ConfigurationError("VISUALSEARCH_MALWARE_SCANNER must be clamd:PATH, clamd:HOST:PORT or command:PROGRAM.")
    scanner = SCANNERS[kind](where, SCAN_TIMEOUT_S)
    return LenientScanner(scanner, UNSCANNED.inc) if settings.malware_scanner_down == "accept" else scanner


def _changes(settings: Settings, timeout_s: float) -> ChangeFeed | None:
    if not settings.s3_changes:
        return None
    authority = settings.s3_changes_ca
    tls = ClientTLS(authority, settings.s3_changes_cert, settings.s3_changes_key) if authority else None
    try:
        if tls:
            tls.pem()
    except OSError as error:
        raise ConfigurationError(
            f"A file of VISUALSEARCH_S3_CHANGES_CA, _CERT or _KEY cannot be read: {error}"
        ) from None
    return SeaweedFSChangeFeed(settings.s3_changes, settings.s3_bucket, timeout_s, tls)


def dump(settings: Settings) -> PostgresTableCopy:
    """Return an adapter that copies whole tables of Postgres."""
    return PostgresTableCopy(settings.postgres_dsn, settings.postgres_password.get_secret_value())


def _encoder(settings: Settings, timeout_s: float, priority: Priority) -> Encoder:
    model = settings.model_repository / settings.model_name
    if settings.encoder == "onnx":
        # Imported here, because processes that use Triton need not load ONNX Runtime.
        from visualsearch.adapters.onnxruntime.encoder import OnnxRuntimeEncoder

        return OnnxRuntimeEncoder(model)
    return TritonEncoder(settings.triton_grpc, settings.model_name, timeout_s, model, priority, settings.client_tls)


def _models(settings: Settings, timeout_s: float) -> ModelControl:
    if settings.encoder == "onnx":
        from visualsearch.adapters.onnxruntime.encoder import OnnxRuntimeModelControl

        return OnnxRuntimeModelControl(settings.model_repository / settings.model_name)
    key = settings.triton_admin_key.get_secret_value()
    return TritonModelControl(settings.triton_grpc, settings.model_name, key, timeout_s, settings.client_tls)
