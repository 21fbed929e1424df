"""What the logic needs of the outside world. Adapters implement these; fakes stand beside them in tests/fakes.py.

Every method may raise ``errors.Unavailable`` when its server does not answer within the adapter's own timeout.
"""

from visualsearch.ports.corpus import Catalog, ChangeFeed, EventStream, ObjectStore
from visualsearch.ports.interactions import ExperimentRepository, InteractionQueue, InteractionRepository
from visualsearch.ports.releases import ModelControl, ReleaseCounters, ReleaseRepository, ReleaseTransaction
from visualsearch.ports.search import Encoder, RecallRepository, Vectors

__all__ = [
    "Catalog",
    "ChangeFeed",
    "Encoder",
    "EventStream",
    "ExperimentRepository",
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
