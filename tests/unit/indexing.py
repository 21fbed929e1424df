"""An indexer in memory for the tests beside it: the fakes, wired together."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from indexer.ingest import Ingest
from tests.fakes.blobs import FakeBlobs
from tests.fakes.catalog import FakeCatalog
from tests.fakes.events import FakeEvents
from visualsearch.domain import Event, EventKind, NewImage, Release
from visualsearch.errors import Unavailable

RELEASE = Release("v1", 1, "f" * 64, "images_v1", "hnsw")


class Encoder:
    """Embeds a picture as one axis of the space; what ``spoil`` does to the embeddings, tests choose."""

    def __init__(self):
        self.down = False
        self.batches = []
        self.spoil = lambda embeddings: embeddings

    async def encode(self, pixels, model_version):
        await self.check(model_version)
        self.batches.append(len(pixels))
        embeddings = np.zeros((len(pixels), 256), np.float32)
        embeddings[np.arange(len(pixels)), pixels[:, 100, 100, 0]] = 1
        return self.spoil(embeddings)

    async def check(self, model_version):
        if self.down:
            raise Unavailable("Triton")


class Vectors:
    """Rows are searchable once they are settled."""

    def __init__(self):
        self.down = False
        self.written = {}
        self.searchable = {}
        self.before_settling = lambda: None

    async def upsert(self, collection, rows):
        await self.check(collection)
        self.written |= {row.image_id: row for row in rows}

    async def settle(self, collection):
        await self.check(collection)
        self.before_settling()
        self.searchable = dict(self.written)

    async def delete(self, collection, image_ids):
        await self.check(collection)
        for image_id in image_ids:
            self.written.pop(image_id, None)
            self.searchable.pop(image_id, None)

    async def check(self, collection):
        if self.down:
            raise Unavailable("Milvus")


class Indexing:
    """Everything that indexing needs, in memory."""

    def __init__(self, pool: ThreadPoolExecutor):
        self.encoder, self.vectors = Encoder(), Vectors()
        self.catalog, self.blobs, self.events = FakeCatalog(), FakeBlobs(), FakeEvents()
        self.ingest = Ingest(self.encoder, self.vectors, self.catalog, self.blobs, pool)

    async def upload(self, key, data):
        """Promise and store a picture as the gateway does; return its event."""
        image = await self.catalog.promise(NewImage(self.blobs.uri(key), source="web", owner="ada"))
        await self.blobs.put(key, data)
        return Event(EventKind.CREATED, image.uri, image.id)

    async def index(self, *events):
        return await self.ingest.batch(events, RELEASE)

    def bare(self, key, kind=EventKind.CREATED):
        """An event as a store tells it, which knows no ids."""
        return Event(kind, self.blobs.uri(key))
