"""Protocols of the external servers. Adapters implement them; tests/fakes.py holds a fake of each.

Every method may raise ``errors.Unavailable`` if its server does not answer within the adapter's timeout.
"""

from visualsearch.ports.access import ApiKeyRepository, TokenVerifier, TopicVerifier
from visualsearch.ports.audit import AuditLog
from visualsearch.ports.images import DuplicateExclusions, ImageRepository
from visualsearch.ports.indexed_folders import IndexedFolderRepository
from visualsearch.ports.indexing import DeadLetterArchive, EventStream, IndexingProgress
from visualsearch.ports.interactions import ExperimentRepository, InteractionQueue, InteractionRepository
from visualsearch.ports.malware import MalwareScanner
from visualsearch.ports.object_store import ChangeFeed, ObjectStore
from visualsearch.ports.releases import ModelControl, ReleaseCounters, ReleaseRepository, ReleaseTransaction
from visualsearch.ports.search import Encoder, RecallRepository, Vectors

__all__ = [
    "ApiKeyRepository",
    "AuditLog",
    "ChangeFeed",
    "DeadLetterArchive",
    "DuplicateExclusions",
    "Encoder",
    "EventStream",
    "ExperimentRepository",
    "ImageRepository",
    "IndexedFolderRepository",
    "IndexingProgress",
    "InteractionQueue",
    "InteractionRepository",
    "MalwareScanner",
    "ModelControl",
    "ObjectStore",
    "RecallRepository",
    "ReleaseCounters",
    "ReleaseRepository",
    "ReleaseTransaction",
    "TokenVerifier",
    "TopicVerifier",
    "Vectors",
]
