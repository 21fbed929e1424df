"""A gateway in memory, composed of fakes as gateway/main.py composes it of the real servers."""

import hashlib

import httpx

from gateway.api.app import create_app
from gateway.main import build
from tests.clock import Clock
from tests.documented import assert_documented_later
from tests.fakes.api_key_repository import FakeApiKeys
from tests.fakes.audit_log import FakeAuditLog
from tests.fakes.dead_letter_archive import FakeDeadLetterArchive
from tests.fakes.duplicate_exclusions import FakeDuplicateExclusions
from tests.fakes.encoder import FakeEncoder
from tests.fakes.event_stream import FakeEventStream
from tests.fakes.experiment_repository import FakeExperiments
from tests.fakes.image_repository import FakeImages
from tests.fakes.indexing_progress import FakeIndexingProgress
from tests.fakes.interaction_queue import FakeInteractionQueue
from tests.fakes.interaction_repository import FakeInteractions
from tests.fakes.model_control import FakeModelControl
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.recall_repository import FakeRecallSamples
from tests.fakes.release_counters import FakeReleaseCounters
from tests.fakes.release_repository import FakeReleases
from tests.fakes.vectors import FakeVectors
from visualsearch.composition import Stores
from visualsearch.domain.images import ImageMetadata, NewImage, Visibility
from visualsearch.domain.releases import Release, ReleaseState
from visualsearch.domain.search import VectorRow
from visualsearch.imaging.picture_pool import PicturePool
from visualsearch.imaging.preprocessing import prepare
from visualsearch.settings import Settings

KEY = "a secret of the tests"
RELEASE = Release("v1", 1, "f" * 64, "images_v1", "hnsw")
idle_apps = []
"""Apps that no gateway uses at the moment. To build the routes takes longer than most tests."""


class Serving:
    """A gateway over fakes, and a client of it.

    Settings are given as the environment gives them. ``vectors`` and ``background_vectors`` replace the fakes.
    ``scanner`` looks for malware, ``tokens`` verifies tokens, and ``topics`` messages of SNS. ``app`` is one that was
    made otherwise than usual.
    """

    def __init__(
        self,
        *,
        vectors=None,
        background_vectors=None,
        scanner=None,
        tokens=None,
        topics=None,
        app=None,
        **settings,
    ):
        self.encoder = FakeEncoder(RELEASE.fingerprint)
        self.vectors = vectors or FakeVectors(RELEASE.collection)
        self.image_repository, self.object_store, self.events = FakeImages(), FakeObjectStore(), FakeEventStream()
        self.pool, self.clock = PicturePool(2), Clock()
        self.release_repository, self.models = FakeReleases(self.image_repository), FakeModelControl()
        self.audit_log = FakeAuditLog(self.image_repository, self.release_repository)
        self.interaction_queue, self.interaction_repository, self.experiment_repository = (
            FakeInteractionQueue(),
            FakeInteractions(),
            FakeExperiments(),
        )
        self.api_keys = FakeApiKeys()
        self.counts = FakeReleaseCounters()
        self.recall_repository = FakeRecallSamples(self.release_repository)
        self.duplicate_exclusions = FakeDuplicateExclusions(self.image_repository)
        self.dead_letter_archive = FakeDeadLetterArchive(self.image_repository)
        self.indexing_progress = FakeIndexingProgress(self.image_repository)
        stores = Stores(
            encoder=self.encoder,
            vectors=self.vectors,
            image_repository=self.image_repository,
            duplicate_exclusions=self.duplicate_exclusions,
            dead_letter_archive=self.dead_letter_archive,
            audit_log=self.audit_log,
            indexing_progress=self.indexing_progress,
            events=self.events,
            object_store=self.object_store,
            changes=None,
            interaction_queue=self.interaction_queue,
            interaction_repository=self.interaction_repository,
            experiment_repository=self.experiment_repository,
            recall_repository=self.recall_repository,
            background_vectors=background_vectors or self.vectors,
            release_repository=self.release_repository,
            api_keys=self.api_keys,
            models=self.models,
            counts=self.counts,
            scanner=scanner,
            tokens=tokens,
            topics=topics,
        )
        # Owners of a test ask in no time at all.
        settings = {"recall_share": 0, "user_id_key": KEY, "caller_share": 0} | settings
        self.gateway = build(Settings(_env_file=None, **settings), stores, self.pool, clock=self.clock)
        self.idle_apps = idle_apps if app is None else []
        self.app = app or (idle_apps.pop() if idle_apps else create_app())
        self.app.state.gateway = self.gateway
        self.client = self.client_from("127.0.0.1")

    def client_from(self, address):
        transport = httpx.ASGITransport(self.app, client=(address, 1), raise_app_exceptions=False)
        hooks = {"response": [assert_documented_later]}
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", event_hooks=hooks)

    async def __aenter__(self):
        await self.release_repository.add(RELEASE, ReleaseState.LIVE)
        return self

    async def __aexit__(self, *_):
        await self.client.aclose()
        await self.gateway.drain()
        self.pool.__exit__()
        self.app.root_path = ""
        self.idle_apps.append(self.app)

    async def index(self, data, *, source="tests", owner="", visibility=Visibility.PUBLIC, name=None):
        """Put a picture into the corpus as the indexer does; return its id."""
        key = name or f"uploads/{len(self.image_repository.images)}.jpg"
        image = await self.image_repository.register(NewImage(self.object_store.uri(key), source, owner, visibility))
        await self.object_store.put(key, data)
        prepared, content = prepare(data), hashlib.sha256(data).digest()
        embedding = (await self.encoder.encode(prepared.pixels[None], 1))[0]
        size = prepared.width, prepared.height
        await self.image_repository.describe(
            [ImageMetadata(image.id, *size, prepared.phash, content, colours=prepared.colours)]
        )
        row = VectorRow(
            *(image.id, embedding, prepared.phash, prepared.phash_mirrored, source, owner, visibility, min(size))
        )
        await self.vectors.upsert(RELEASE.collection, [row])
        await self.image_repository.mark_indexed({image.id: content}, RELEASE.name)
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
