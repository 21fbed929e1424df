"""A gateway in memory for the tests beside it: the fakes, wired together as gateway/main.py wires the real servers."""

from concurrent.futures import ThreadPoolExecutor

import httpx

from gateway.main import build, create_app
from tests.fakes.blobs import FakeBlobs
from tests.fakes.catalog import FakeCatalog
from tests.fakes.counts import FakeCounts
from tests.fakes.encoder import FakeEncoder
from tests.fakes.events import FakeEvents
from tests.fakes.journal import FakeJournal
from tests.fakes.models import FakeModels
from tests.fakes.recall_log import FakeRecallLog
from tests.fakes.release_log import FakeReleaseLog
from tests.fakes.spool import FakeSpool
from tests.fakes.trials import FakeTrials
from tests.fakes.vectors import FakeVectors
from visualsearch.domain import Described, NewImage, Release, VectorRow, Visibility
from visualsearch.images import prepare
from visualsearch.settings import Settings
from visualsearch.wiring import Stores

KEY = "a secret of the tests"
RELEASE = Release("v1", 1, "f" * 64, "images_v1", "hnsw")


class Serving:
    """A gateway over fakes, and a client of it. Settings are given as the environment gives them."""

    def __init__(self, **settings):
        self.encoder, self.vectors = FakeEncoder(RELEASE.fingerprint), FakeVectors(RELEASE.collection)
        self.catalog, self.blobs, self.events = FakeCatalog(), FakeBlobs(), FakeEvents()
        self.pool = ThreadPoolExecutor(2)
        self.release_log, self.models = FakeReleaseLog(self.catalog), FakeModels()
        self.spool, self.journal, self.trials = FakeSpool(), FakeJournal(), FakeTrials()
        self.counts = FakeCounts()
        self.recall_log = FakeRecallLog(self.catalog)
        servers = self.encoder, self.vectors, self.catalog, self.events, self.blobs
        stores = Stores(
            *servers,
            None,
            self.spool,
            self.journal,
            self.trials,
            self.recall_log,
            self.vectors,
            release_log=self.release_log,
            models=self.models,
            counts=self.counts,
        )
        settings = {"recall_share": 0, "user_id_key": KEY} | settings
        self.gateway = build(Settings(_env_file=None, **settings), stores, self.pool)
        self.app = create_app()
        self.app.state.gateway = self.gateway
        self.client = self.client_from("127.0.0.1")

    def client_from(self, address):
        transport = httpx.ASGITransport(self.app, client=(address, 1), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://gateway")

    async def __aenter__(self):
        await self.catalog.add_release(RELEASE, "live")
        return self

    async def __aexit__(self, *_):
        await self.client.aclose()
        await self.gateway.drain()
        self.pool.shutdown()

    async def index(self, data, *, source="tests", owner="", visibility=Visibility.PUBLIC, name=None):
        """Put a picture into the corpus as the indexer does; return its id."""
        key = name or f"uploads/{len(self.catalog.images)}.jpg"
        image = await self.catalog.promise(NewImage(self.blobs.uri(key), source, owner, visibility))
        await self.blobs.put(key, data)
        prepared = prepare(data)
        embedding = (await self.encoder.encode(prepared.pixels[None], 1))[0]
        size = prepared.width, prepared.height
        await self.catalog.describe([Described(image.id, *size, prepared.phash, b"")])
        row = VectorRow(
            *(image.id, embedding, prepared.phash, prepared.phash_mirrored, source, owner, visibility, min(size))
        )
        await self.vectors.upsert(RELEASE.collection, [row])
        await self.catalog.mark_indexed({image.id: b""}, RELEASE.name)
        return image.id

    async def search(self, data, **fields):
        return await self.client.post("/search", files={"image": ("x.jpg", data)}, data=fields)

    async def upload(self, data, headers=None, **fields):
        return await self.client.post("/images", files={"image": ("x.jpg", data)}, data=fields, headers=headers)


def assert_problem(response, status):
    """An error is a problem document that says what to do."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert {"type", "title", "detail"} <= set(body)
    assert len(body["detail"]) >= 20
    if status in {429, 503}:
        assert int(response.headers["retry-after"]) >= 1
