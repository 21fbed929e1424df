"""An indexer in memory, composed of fakes."""

import asyncio
import contextlib

from indexer.pipeline.ingest import Ingest
from indexer.pipeline.worker import Worker
from tests.fakes.audit_log import FakeAuditLog
from tests.fakes.dead_letter_archive import FakeDeadLetterArchive
from tests.fakes.encoder import FakeEncoder
from tests.fakes.event_stream import FakeEventStream
from tests.fakes.image_repository import FakeImages
from tests.fakes.indexed_folder_repository import FakeIndexedFolders
from tests.fakes.indexing_progress import FakeIndexingProgress
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.release_repository import FakeReleases
from tests.fakes.vectors import FakeVectors
from visualsearch.domain.images import NewImage
from visualsearch.domain.indexing import Event, EventKind
from visualsearch.domain.releases import Release
from visualsearch.imaging.picture_pool import PicturePool
from visualsearch.releases.active_releases import ActiveReleases

RELEASE = Release("v1", 1, "f" * 64, "images_v1", "hnsw")


class Encoder(FakeEncoder):
    """Remembers how large its batches were; what ``spoil`` does to the embeddings, tests choose."""

    def __init__(self):
        super().__init__()
        self.batches = []
        self.spoil = lambda embeddings: embeddings

    async def encode(self, pixels, model_version):
        await self.check(model_version)
        self.batches.append(len(pixels))
        return self.spoil(await super().encode(pixels, model_version))


class Vectors(FakeVectors):
    """Rows are searchable once they are settled."""

    def __init__(self):
        super().__init__(RELEASE.collection)
        self.searchable = {}
        self.before_settling = lambda: None

    @property
    def written(self):
        return self.rows[RELEASE.collection]

    async def settle(self, collection):
        await super().settle(collection)
        self.before_settling()
        self.searchable = dict(self.written)

    async def delete(self, collection, image_ids):
        await super().delete(collection, image_ids)
        for image_id in image_ids:
            self.searchable.pop(image_id, None)


class Indexing:
    """Everything that indexing needs, in memory."""

    def __init__(self, pool: PicturePool):
        self.encoder, self.vectors = Encoder(), Vectors()
        self.image_repository, self.object_store, self.events = FakeImages(), FakeObjectStore(), FakeEventStream()
        self.release_repository = FakeReleases(self.image_repository)
        self.dead_letter_archive = FakeDeadLetterArchive(self.image_repository)
        self.indexing_progress = FakeIndexingProgress(self.image_repository)
        self.audit_log = FakeAuditLog(self.image_repository, self.release_repository)
        self.indexed_folders = FakeIndexedFolders()
        self.pool = pool
        self.ingest = Ingest(self.encoder, self.vectors, self.image_repository, self.object_store, pool)

    def scan_with(self, scanner):
        """Scan what is indexed from now on."""
        self.ingest = Ingest(self.encoder, self.vectors, self.image_repository, self.object_store, self.pool, scanner)

    def limit_to(self, quota):
        """Let owners store so much from now on."""
        self.ingest = Ingest(
            self.encoder, self.vectors, self.image_repository, self.object_store, self.pool, quota=quota
        )

    async def upload(self, key, data):
        """Register and store a picture as the gateway does; return its event."""
        image = await self.image_repository.register(NewImage(self.object_store.uri(key), source="web", owner="ada"))
        await self.object_store.put(key, data)
        return Event(EventKind.CREATED, image.uri, image.id)

    async def index(self, *events):
        return await self.ingest.batch(events, [RELEASE])

    def bare(self, key, kind=EventKind.CREATED):
        """An event as a store tells it, which knows no ids."""
        return Event(kind, self.object_store.uri(key))


def a_worker(world, beat=lambda: None, **values):
    values = {"batch": 4, "stale_after_s": 0.05, "max_deliveries": 3} | values
    return Worker(
        "one",
        world.events,
        world.image_repository,
        world.dead_letter_archive,
        ActiveReleases(world.release_repository),
        world.ingest,
        beat=beat,
        **values,
    )


@contextlib.asynccontextmanager
async def working(world, **values):
    """A worker at work; it ends in peace at the end."""
    stop = asyncio.Event()
    task = asyncio.create_task(a_worker(world, **values).run(stop))
    yield task
    stop.set()
    await asyncio.wait_for(task, 5)


def status(world, event):
    return world.image_repository.images[event.image_id].status


def settled(world):
    return all(entry.acknowledged for entry in world.events.entries.values())
