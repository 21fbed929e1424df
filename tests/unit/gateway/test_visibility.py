"""Nobody sees what they may not, whatever was uploaded, told, deleted, lost and restored before.

The gateway and the indexer run over the fakes. Hypothesis chooses what happens; the model below knows each picture's
owner and visibility by the picture itself, not by what the stores say.
"""

import asyncio
import hashlib
import itertools
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gateway.grpc import visualsearch_pb2 as pb
from gateway.grpc.server import Servicer
from indexer.maintenance.backup import Backup
from indexer.maintenance.backup_archive import Places
from indexer.maintenance.reconcile import Reconcile
from indexer.maintenance.restore import Restore
from indexer.pipeline.ingest import Ingest
from indexer.sources.change_feed_consumer import BucketSweep
from tests.fakes.table_copy import FakeTableCopy
from tests.pictures import jpeg
from tests.unit.serving import RELEASE, Serving
from visualsearch.domain.images import Visibility
from visualsearch.domain.indexing import Delivery, Event, EventKind, ObjectMetadata, Rejected

ROLES = {"ada": "write", "bob": "write", "carl": "read", "root": "admin"}
KEYS = ",".join(f"{owner}:{role}:{hashlib.sha256(owner.encode()).hexdigest()}" for owner, role in ROLES.items())
ALL = 200
ACTORS = st.sampled_from(list(ROLES))
WRITERS = st.sampled_from(["ada", "bob", "root"])
VISIBILITIES = st.sampled_from(list(Visibility))
SPELLINGS = {
    "as it is": lambda key: key,
    "backslash": lambda key: key.replace("/", "\\"),
    "upper case": str.capitalize,
    "leading slash": lambda key: f"/{key}",
    "double slash": lambda key: key.replace("/", "//"),
    "dot": lambda key: f"./{key}",
    "there and back": lambda key: f"straight/../{key}",
    "quoted": lambda key: quote(key, safe=""),
}

EVENTS = ["ObjectCreated:Put", "ObjectRemoved:Delete"]


def by(actor):
    return {"authorization": f"Bearer {actor}"}


@dataclass
class Secret:
    """A picture and who may see it."""

    data: bytes = field(repr=False)
    owner: str
    visibility: Visibility
    is_query: bool = False
    deleted: bool = False
    metadata_lost: bool = False

    def may_be_seen_by(self, actor):
        if self.deleted:
            return False
        return self.visibility is Visibility.PUBLIC or actor == self.owner or (actor == "root" and self.metadata_lost)


class Context:
    """What gRPC tells the servicer of a call."""

    def __init__(self, actor):
        self._actor = actor

    def invocation_metadata(self):
        return [("authorization", f"Bearer {self._actor}")]

    def peer(self):
        return "ipv4:127.0.0.1:1"


class World:
    """A gateway and an indexer over the same fakes."""

    def __init__(self):
        self.serving = Serving(api_keys=KEYS)
        fakes = self.serving
        self.ingest = Ingest(fakes.encoder, fakes.vectors, fakes.image_repository, fakes.object_store, fakes.pool)

    async def index(self):
        """Process the events that wait, as the worker does."""
        stream = self.serving.events
        for entry_id, entry in list(stream.entries.items()):
            if not entry.acknowledged:
                (outcome,) = await self.ingest.batch([entry.event], [RELEASE])
                await stream.acknowledge([entry_id])
                if isinstance(outcome, Rejected):
                    await stream.dead_letter(Delivery(entry_id, entry.event, 1), outcome.reason)

    async def reconcile(self):
        fakes = self.serving
        stores = fakes.object_store, fakes.image_repository, fakes.vectors, fakes.events, fakes.indexing_progress
        await Reconcile(*stores, rewrite=self.ingest.rewrite, pause_s=0).run([RELEASE])
        await self.index()

    def places(self, tables, models):
        fakes = self.serving
        return Places(
            tables, fakes.image_repository, fakes.release_repository, fakes.vectors, fakes.object_store, models
        )


class Visible(RuleBasedStateMachine):
    """Ada, Bob, Carl and the administrator use the system, and each looks at all that can be asked for."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.models = self.folder / "models"
        (self.models / "1").mkdir(parents=True)
        (self.models / "1" / "card.json").write_text(json.dumps({"fingerprint": RELEASE.fingerprint}))
        self.numbers = itertools.count(1)
        self.secrets = []
        self.queries = []
        self.run(self._begin())

    def run(self, coroutine):
        return self.runner.run(coroutine)

    async def _begin(self):
        self.world = World()
        await self.world.serving.__aenter__()
        self.tables = FakeTableCopy(self.world.serving.image_repository)

    def teardown(self):
        try:
            for actor in ROLES:
                self.run(self._look(actor))
            self.run(self._owners_find_theirs())
        finally:
            self.run(self.world.serving.__aexit__())
            self.runner.close()
            shutil.rmtree(self.folder)

    def _secret(self, owner, visibility):
        self.secrets.append(Secret(jpeg(next(self.numbers), 64, 48), owner, visibility))
        return self.secrets[-1]

    async def _send(self, actor, method, path, **values):
        return await self.world.serving.client.request(method, path, headers=by(actor), **values)

    # What people do

    @initialize()
    def begin(self):
        """Have something to hide from the start."""
        self.upload("ada", Visibility.PRIVATE)
        self.search("bob")

    @rule(actor=WRITERS, visibility=VISIBILITIES)
    def upload(self, actor, visibility):
        secret = self._secret(actor, visibility)
        call = self._send(
            actor, "POST", "/images", files={"image": ("x.jpg", secret.data)}, data={"visibility": visibility.value}
        )
        assert self.run(call).status_code == 202

    @rule(actor=ACTORS)
    def search(self, actor):
        secret = self._secret(actor, Visibility.PRIVATE)
        secret.is_query = True

        async def ask():
            answer = await self._send(actor, "POST", "/search", files={"image": ("x.jpg", secret.data)})
            query = answer.json()["query_image_id"]
            self.queries.append((actor, query))
            fakes = self.world.serving
            await fakes.gateway.drain()
            await fakes.interaction_repository.write(fakes.interaction_queue.interactions)

        self.run(ask())

    @rule(actor=WRITERS, number=st.integers(0, 5))
    def delete(self, actor, number):
        """Delete an image, if it is there and may be."""

        async def ask():
            images = list(self.world.serving.image_repository.images.values())
            if not images:
                return
            image = images[number % len(images)]
            secret = self._of(image)
            answer = await self._send(actor, "DELETE", f"/images/{image.id}")
            if answer.status_code == 204 and secret is not None:
                assert actor in (secret.owner, "root")
                secret.deleted = True

        self.run(ask())

    @rule(
        actor=WRITERS,
        prefix=st.sampled_from(["queries/", "uploads/", ""]),
        number=st.integers(0, 3),
        spelling=st.sampled_from(list(SPELLINGS)),
        event=st.sampled_from(EVENTS),
    )
    def notify(self, actor, prefix, number, spelling, event):
        """Tell of any object of the bucket, in any spelling of its key."""
        store = self.world.serving.object_store
        keys = sorted(key for key in store.objects if key.startswith(prefix))
        if not keys:
            return
        key = quote(SPELLINGS[spelling](keys[number % len(keys)]))
        record = {"eventName": event, "s3": {"bucket": {"name": store.bucket}, "object": {"key": key}}}
        self.run(self._send(actor, "POST", "/events/s3", json={"Records": [record]}))
        self.run(self.world.index())

    @rule(actor=WRITERS)
    def retry_dead_letters(self, actor):
        self.run(self._send(actor, "POST", "/dead-letters/retry", json={}))

    @rule(visibility=VISIBILITIES, owner=st.sampled_from(["ada", ""]))
    def put_directly(self, visibility, owner):
        """Put a picture into the bucket as another program does, with its metadata."""
        secret = self._secret(owner, visibility)
        secret.metadata_lost = not owner
        metadata = ObjectMetadata(owner, visibility)
        self.run(self.world.serving.object_store.put(f"straight/{len(self.secrets)}.jpg", secret.data, "", metadata))

    # What happens to the system

    @rule()
    def index(self):
        self.run(self.world.index())

    @rule()
    def sweep(self):
        fakes = self.world.serving
        sweep = BucketSweep("one", fakes.events, fakes.image_repository, fakes.object_store, 1)
        self.run(sweep.sweep())

    @rule()
    def reconcile(self):
        self.run(self.world.reconcile())

    @rule()
    def begin_backup(self):
        """Take the snapshot of the rows; what comes after it is in the backup as objects only."""
        self.tables.begin()

    @rule()
    def restore_backup(self):
        self.run(self._restore())

    async def _restore(self):
        backup = self.folder / f"backup-{next(self.numbers)}"
        await Backup(self.world.places(self.tables, self.models)).run(backup, with_objects=True)
        before = self.world
        await self._begin()
        fakes = self.world.serving
        fakes.interaction_repository.interactions = before.serving.interaction_repository.interactions
        await Restore(self.world.places(self.tables, self.models)).run(backup)
        await self.world.reconcile()
        await before.serving.__aexit__()

    @rule()
    def lose_the_rows(self):
        """Lose the catalog and the collections, and reconcile: objects are all that is left."""
        fakes = self.world.serving
        fakes.image_repository.images.clear()
        fakes.image_repository.deletions.clear()
        fakes.vectors.rows[RELEASE.collection].clear()
        self.run(self.world.reconcile())

    @rule(rows_too=st.booleans())
    def lose_the_metadata(self, rows_too):
        """Have uploads as an earlier version stored them."""
        store = self.world.serving.object_store
        for key, data in store.objects.items():
            if key.startswith("uploads/"):
                store.known[key] = None
                for secret in self.secrets:
                    secret.metadata_lost |= secret.data == data
        if rows_too:
            self.lose_the_rows()

    # What nobody may see

    @invariant()
    def no_query_picture_is_an_image(self):
        fakes = self.world.serving
        assert not [one.uri for one in fakes.image_repository.images.values() if "queries" in one.uri.lower()]

    @rule(actor=ACTORS)
    def look(self, actor):
        self.run(self._look(actor))

    def _of(self, image):
        """Return the secret that an image's object holds."""
        store = self.world.serving.object_store
        data = store.objects.get(store.key(image.uri), b"")
        return next((secret for secret in self.secrets if data and secret.data in data), None)

    async def _look(self, actor):
        images = dict(self.world.serving.image_repository.images)
        owners = {image_id: self._of(image) for image_id, image in images.items()}
        hidden = {image_id for image_id, one in owners.items() if one and not one.may_be_seen_by(actor)}
        for image_id in hidden:
            for path in ("", "/content", "/content?size=32", "/similar"):
                answer = await self._send(actor, "GET", f"/images/{image_id}{path}")
                assert answer.status_code == 404, (actor, path, owners[image_id])
        for secret in self.secrets:
            found = await self._found(actor, secret.data)
            assert not found & hidden, (actor, [owners[image_id] for image_id in found & hidden])
        for image_id in images.keys() - hidden:
            found = await self._send(actor, "GET", f"/images/{image_id}/similar?k={ALL}&near_duplicates=keep")
            assert not {hit["id"] for hit in found.json().get("results", ())} & hidden
        await self._look_at_queries(actor, images, hidden)
        total = (await self._send(actor, "GET", "/stats")).json()["images"]["total"]
        assert total == len(images) if actor == "root" else total <= len(images.keys() - hidden)
        letters = (await self._send(actor, "GET", "/dead-letters")).json()
        uris = {images[image_id].uri for image_id in hidden}
        assert actor == "root" or not {letter["uri"] for letter in letters} & uris

    async def _look_at_queries(self, actor, images, hidden):
        for owner, query in self.queries:
            for image_id in images:
                answer = await self._send(actor, "GET", f"/explain?query_image_id={query}&image_id={image_id}")
                assert answer.status_code == 404 or (actor == owner and image_id not in hidden)
                click = {"user_id": 1, "query_image_id": query, "displayed_image_id": image_id, "rank": 1}
                told = await self._send(actor, "POST", "/click", json=click)
                assert told.status_code == 404 or (actor == owner and image_id not in hidden)

    async def _found(self, actor, data):
        """Return the ids that an actor finds with a picture, by gRPC."""
        servicer = Servicer(self.world.serving.gateway)
        vector = await servicer.Embed(pb.EmbedRequest(image_bytes=data), Context(actor))
        answer = await servicer.Search(pb.SearchRequest(vector=vector, k=ALL), Context(actor))
        return set(answer.ids)

    async def _owners_find_theirs(self):
        """Check that all this hides nothing: an owner finds its pictures, unless their metadata is lost."""
        fakes = self.world.serving
        late = await fakes.image_repository.waiting(0.0, ALL)  # as the sweeper does for events that are lost
        await fakes.events.publish([Event(EventKind.CREATED, image.uri, image.id) for image in late])
        await self.world.index()
        await self.world.reconcile()
        stored = set(self.world.serving.object_store.objects.values())
        for secret in self.secrets:
            if secret.data in stored and not (secret.is_query or secret.deleted or secret.metadata_lost):
                found = await self._found(secret.owner, secret.data)
                images = self.world.serving.image_repository.images
                assert secret in [self._of(images[image_id]) for image_id in found], secret


@pytest.mark.parametrize("prefix", ["queries/", "uploads/"])
@pytest.mark.usefixtures("impatient")
def test_no_spelling_of_a_key_opens_what_is_closed(prefix):
    world = Visible()
    world.begin()
    world.index()
    for spelling, event in itertools.product(SPELLINGS, EVENTS):
        world.notify("bob", prefix, 0, spelling, event)
    world.no_query_picture_is_an_image()
    world.teardown()


@pytest.mark.usefixtures("impatient")
def test_nobody_sees_what_they_may_not():
    run_state_machine_as_test(
        Visible,
        settings=settings(
            max_examples=25,
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
