"""A gateway in memory for the tests beside it: the fakes, wired together as gateway/main.py wires the real servers."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np

from gateway.main import build, create_app
from tests.fakes.blobs import FakeBlobs
from tests.fakes.catalog import FakeCatalog
from tests.fakes.events import FakeEvents
from visualsearch.domain import Candidates, Described, NewImage, Release, VectorRow, Visibility
from visualsearch.errors import NotFound, Overloaded, Unavailable
from visualsearch.images import prepare
from visualsearch.settings import Settings
from visualsearch.wiring import Stores

RELEASE = Release("v1", 1, "f" * 64, "images_v1", "hnsw")


class Encoder:
    """Embeds a picture by its colours on a coarse grid, so that pictures alike have embeddings alike."""

    def __init__(self):
        self.down = self.overloaded = False
        self.delay_s = 0.0
        self.calls = 0
        self.print = RELEASE.fingerprint
        self._projection = np.random.default_rng(0).normal(size=(8 * 8 * 3, 256)).astype(np.float32)

    async def encode(self, pixels, model_version):
        await self.check(model_version)
        if self.overloaded:
            raise Overloaded("The encoder has more work than it can do in time. Try again shortly.")
        self.calls += 1
        await asyncio.sleep(self.delay_s)
        grid = pixels.reshape(-1, 8, 28, 8, 28, 3).mean((2, 4), dtype=np.float32).reshape(len(pixels), -1) - 127
        embeddings = grid @ self._projection + 1e-3
        return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)

    async def check(self, model_version):
        if self.down:
            raise Unavailable("Triton")

    async def fingerprint(self, model_version):
        return self.print


class Vectors:
    """Collections by name, each with its rows by id; searched exactly."""

    def __init__(self):
        self.down = False
        self.rows: dict[str, dict[int, VectorRow]] = {RELEASE.collection: {}}
        self.counts_asked = []

    def _up(self):
        if self.down:
            raise Unavailable("Milvus")

    async def nearest(self, collection, embedding, count, search_params, where):
        await self.check(collection)
        self.counts_asked.append(count)
        rows = [row for row in self.rows[collection].values() if passes(row, where)]
        scored = sorted(((-float(row.embedding @ embedding), row.image_id, row) for row in rows), key=lambda it: it[:2])
        best = scored[:count]
        return Candidates(
            np.array([row.image_id for *_, row in best], np.int64),
            np.array([-score for score, *_ in best], np.float32),
            np.array([row.phash for *_, row in best], np.uint64),
            np.array([row.phash_mirrored for *_, row in best], np.uint64),
            len(best) < count,
        )

    async def upsert(self, collection, rows):
        self._up()
        self.rows[collection] |= {row.image_id: row for row in rows}

    async def delete(self, collection, image_ids):
        self._up()
        for image_id in image_ids:
            self.rows[collection].pop(image_id, None)

    async def fetch(self, collection, image_ids):
        await self.check(collection)
        rows = self.rows[collection]
        return {image_id: rows[image_id].embedding for image_id in image_ids if image_id in rows}

    async def count(self, collection):
        self._up()
        return len(self.rows[collection])

    async def collections(self):
        self._up()
        return list(self.rows)

    async def check(self, collection):
        self._up()
        if collection not in self.rows:
            raise NotFound(f"Milvus knows no such collection: {collection}")


def passes(row, where):
    visible = row.visibility is Visibility.PUBLIC or (where.owner and row.owner == where.owner)
    blocked = row.source in where.blocked_sources or row.image_id in where.blocked_ids
    return visible and not blocked and row.min_side >= where.min_side


class Serving:
    """A gateway over fakes, and a client of it. Settings are given as the environment gives them."""

    def __init__(self, **settings):
        self.encoder, self.vectors = Encoder(), Vectors()
        self.catalog, self.blobs, self.events = FakeCatalog(), FakeBlobs(), FakeEvents()
        self.pool = ThreadPoolExecutor(2)
        stores = Stores(self.encoder, self.vectors, self.catalog, self.events, self.blobs)
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
        await self.catalog.mark_indexed([image.id], RELEASE.name)
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
