"""What the logic needs of the outside world. Adapters implement these; fakes stand beside them in tests/fakes.py.

Every method may raise ``errors.Unavailable`` when its server does not answer within the adapter's own timeout.
"""

from visualsearch.ports.corpus import Blobs, Catalog, Changes, Events
from visualsearch.ports.interactions import Journal, Spool, Trials
from visualsearch.ports.releases import Counts, Models, ReleaseBook, ReleaseLog
from visualsearch.ports.search import Encoder, RecallLog, Vectors

__all__ = [
    "Blobs",
    "Catalog",
    "Changes",
    "Counts",
    "Encoder",
    "Events",
    "Journal",
    "Models",
    "RecallLog",
    "ReleaseBook",
    "ReleaseLog",
    "Spool",
    "Trials",
    "Vectors",
]
