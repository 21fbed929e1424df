"""Protocols of the external servers. Adapters implement them; tests/fakes.py holds a fake of each.

Every method may raise ``errors.Unavailable`` if its server does not answer within the adapter's timeout.
"""

from visualsearch.ports.corpus import (
    Catalog,
    ChangeFeed,
    DeadLetterArchive,
    DuplicateExclusions,
    EventStream,
    IndexingProgress,
    ObjectStore,
)
from visualsearch.ports.interactions import ExperimentRepository, InteractionQueue, InteractionRepository
from visualsearch.ports.releases import ModelControl, ReleaseCounters, ReleaseRepository, ReleaseTransaction
from visualsearch.ports.search import Encoder, RecallRepository, Vectors

__all__ = [
    "Catalog",
    "ChangeFeed",
    "DeadLetterArchive",
    "DuplicateExclusions",
    "Encoder",
    "EventStream",
    "ExperimentRepository",
    "IndexingProgress",
    "InteractionQueue",
    "InteractionRepository",
    "ModelControl",
    "ObjectStore",
    "RecallRepository",
    "ReleaseCounters",
    "ReleaseRepository",
    "ReleaseTransaction",
    "Vectors",
]
