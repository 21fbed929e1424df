"""Contract of the change feed, tested with the fake and SeaweedFS."""

import asyncio
import shutil
import socket
import subprocess
import time
import uuid
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass

import grpc
import httpx
import obstore
import pytest
from obstore.store import S3Store

from tests.conftest import missing
from tests.fakes.change_feed import FakeChangeFeed, NotedBlobs
from tests.fakes.object_store import FakeObjectStore
from visualsearch.adapters.s3.object_store import S3ObjectStore
from visualsearch.adapters.seaweedfs import change_feed as adapter
from visualsearch.adapters.seaweedfs.change_feed import SeaweedFSChangeFeed
from visualsearch.adapters.seaweedfs.filer.filer_pb2 import SubscribeMetadataRequest, SubscribeMetadataResponse
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.indexing import EventKind
from visualsearch.tls import ClientTLS

ODD_KEYS = [
    "plain.jpg",
    "a folder/with spaces.jpg",
    "ünïcode/日本.webp",
    "per%20cent%.jpg",
    "q?u=e&r+y#x;.png",
    "-dash/_under/.dot",
    ".hidden/key",
    "/".join(["long" * 50] * 4),
]
PATIENCE_S = 30.0
FILER_GRPC_OFFSET = 10_000


@dataclass
class World:
    """A bucket and its log, and another bucket; ``begun_ns`` is a moment before everything that a test does."""

    object_store: object
    beside: object
    changes: object
    begun_ns: int

    async def told(self, count, since_ns=None):
        """The first ``count`` changes that are told."""
        since_ns = self.begun_ns if since_ns is None else since_ns
        seen = []
        async with asyncio.timeout(PATIENCE_S), aclosing(self.changes.follow(since_ns)) as pages:
            async for page in pages:
                seen += page
                if len(seen) >= count:
                    break
        return seen

    async def all_told(self):
        """Every change so far: all that is told before an object that is written now."""
        await self.object_store.put("last", b"last")
        seen = []
        while not seen or seen[-1].key != "last":
            seen = await self.told(len(seen) + 1)
        return seen[:-1]


async def exhausted(pages):
    """Take pages until an error comes."""
    async with asyncio.timeout(PATIENCE_S), aclosing(pages):
        async for _ in pages:
            pass


def words(changes):
    return [(change.kind.value, change.key, change.etag) for change in changes]


@pytest.fixture(scope="session")
def bucket():
    return f"changes-{uuid.uuid4().hex[:8]}"


@asynccontextmanager
async def seaweed(stack, bucket):
    """A bucket of the tests' own in SeaweedFS, and one beside it."""
    keys = stack.s3_access_key.get_secret_value(), stack.s3_secret_key.get_secret_value()
    object_store, beside = (
        S3ObjectStore(stack.s3_url, name, stack.s3_region, *keys, 10.0) for name in (bucket, bucket + "-2")
    )
    changes = SeaweedFSChangeFeed(stack.s3_changes, bucket, 5.0)
    for one in (object_store, beside):
        await one.ensure_bucket()
    yield World(object_store, beside, changes, time.time_ns())
    await changes.close()
    for one in (object_store, beside):
        async for page in one.walk():
            for blob in page:
                await one.delete(blob.key)
        await one.close()


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def world(request, bucket):
    if request.param == "fake":
        changes = FakeChangeFeed()
        yield World(NotedBlobs(changes), FakeObjectStore("beside"), changes, time.time_ns())
        return
    async with seaweed(request.getfixturevalue("stack"), bucket) as world:
        yield world


@pytest.fixture
async def real(stack, bucket):
    async with seaweed(stack, bucket) as world:
        yield world


@pytest.fixture
def filer(stack):
    """The filer's own HTTP interface, by which objects can be changed behind S3's back."""
    host, port = stack.s3_changes.rsplit(":", 1)
    with httpx.Client(base_url=f"http://{host}:{int(port) - FILER_GRPC_OFFSET}") as client:
        yield client


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_writes_and_removals_are_reported_with_key_and_entity_tag(world, key):
    etag = await world.object_store.put(key, b"hello")
    await world.object_store.delete(key)
    assert words(await world.told(2)) == [("created", key, etag), ("deleted", key, etag)]


async def test_an_overwritten_object_is_reported_as_created_with_its_new_entity_tag(world):
    etags = [await world.object_store.put("a", data) for data in (b"one", b"other", b"")]
    assert words(await world.told(3)) == [("created", "a", etag) for etag in etags]


async def test_missing_objects_and_other_buckets_are_not_reported(world):
    await world.object_store.delete("none")
    await world.beside.put("a", b"a")
    assert await world.all_told() == []


async def test_changes_before_the_start_time_are_not_reported(world):
    for key in "abc":
        await world.object_store.put(key, key.encode())
    first, second, third = await world.told(3)
    assert world.begun_ns < first.at_ns < second.at_ns < third.at_ns
    # Only the change at the start time itself may be repeated.
    assert [one for one in await world.told(2, second.at_ns - 1) if one != second] == [third]


async def test_a_consumer_receives_new_changes_and_empty_pages_when_idle(world):
    pages = world.changes.follow(world.begun_ns)
    async with asyncio.timeout(PATIENCE_S), aclosing(pages):
        assert await anext(pages) == []
        etag = await world.object_store.put("a", b"a")
        page = []
        while not page:
            page = await anext(pages)
        assert words(page) == [("created", "a", etag)]
        assert await anext(pages) == []


async def test_two_consumers_receive_the_same_changes(world):
    followers = [asyncio.ensure_future(world.told(2)) for _ in range(2)]
    await world.object_store.put("a", b"a")
    await world.object_store.put("b", b"b")
    one, other = await asyncio.gather(*followers)
    assert one == other
    assert [change.key for change in one] == ["a", "b"]


async def test_many_changes_come_in_order_in_pages_of_at_most_a_thousand(world):
    for batch in "abcdefghijk":
        await asyncio.gather(*(world.object_store.put(f"{batch}/{number}", b"x") for number in range(100)))
    seen, sizes = [], []
    async with asyncio.timeout(PATIENCE_S), aclosing(world.changes.follow(world.begun_ns)) as pages:
        async for page in pages:
            seen += page
            sizes.append(len(page))
            if len(seen) >= 1100:
                break
    assert max(sizes) <= 1000
    assert len({change.key for change in seen}) == len(seen) == 1100
    batches = [change.key[0] for change in seen]
    assert batches == sorted(batches)


async def test_a_consumer_gets_an_error_when_the_feed_is_closed(world):
    pages = world.changes.follow(world.begun_ns)
    await anext(pages)
    await world.changes.close()
    with pytest.raises(Unavailable, match="change log"):
        await exhausted(pages)


@pytest.mark.stack
async def test_a_multipart_upload_is_reported_once_it_is_complete(real, stack):
    keys = {
        "access_key_id": stack.s3_access_key.get_secret_value(),
        "secret_access_key": stack.s3_secret_key.get_secret_value(),
    }
    store = S3Store(
        real.object_store.bucket,
        endpoint=stack.s3_url,
        region=stack.s3_region,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
        **keys,
    )
    await obstore.put_async(store, "large", b"x" * 6_000_000, use_multipart=True, chunk_size=5 * 1024 * 1024)
    etag = await real.object_store.etag("large")
    assert etag.endswith("-2")
    assert words(await real.all_told()) == [("created", "large", etag)]


@pytest.mark.stack
async def test_a_renamed_object_is_reported_as_removed_and_created(real, filer):
    etag = await real.object_store.put("old/name", b"x")
    folder = f"/buckets/{real.object_store.bucket}"
    assert filer.post(f"{folder}/new/name", params={"mv.from": f"{folder}/old/name"}).is_success
    assert filer.post(f"{folder}/newer", params={"mv.from": f"{folder}/new"}).is_success
    assert words(await real.all_told()) == [
        ("created", "old/name", etag),
        ("deleted", "old/name", etag),
        ("created", "new/name", etag),
        ("deleted", "new/name", etag),
        ("created", "newer/name", etag),
    ]


@pytest.mark.stack
async def test_every_object_of_a_removed_folder_is_reported(real, filer):
    etags = {key: await real.object_store.put(key, key.encode()) for key in ("tree/a", "tree/b/c")}
    assert filer.delete(f"/buckets/{real.object_store.bucket}/tree", params={"recursive": "true"}).is_success
    removed = [one for one in await real.all_told() if one.kind is EventKind.DELETED]
    assert {one.key: one.etag for one in removed} == etags


@pytest.mark.stack
async def test_files_written_without_s3_are_reported_with_the_entity_tag_of_s3(real, filer):
    assert filer.put(f"/buckets/{real.object_store.bucket}/by-filer", content=b"hello").is_success
    etag = await real.object_store.etag("by-filer")
    assert words(await real.all_told()) == [("created", "by-filer", etag)]


@pytest.mark.stack
async def test_the_files_behind_a_versioned_object_are_not_reported(real, filer):
    path = f"/buckets/{real.object_store.bucket}/a.jpg.versions/v_6714e4abb5af7e154e175"
    assert filer.put(path, content=b"hello").is_success
    assert await real.all_told() == []
    assert filer.delete(path).is_success


@asynccontextmanager
async def stand_in(answer, credentials=None):
    """A filer of the test's own; yields its address."""
    handler = grpc.unary_stream_rpc_method_handler(
        answer, SubscribeMetadataRequest.FromString, SubscribeMetadataResponse.SerializeToString
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("filer_pb.SeaweedFiler", {"SubscribeMetadata": handler}),)
    )
    address = "127.0.0.1:0"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def falls_silent(request, context):
    yield SubscribeMetadataResponse(ts_ns=1)
    await asyncio.sleep(PATIENCE_S)


async def ends(request, context):
    yield SubscribeMetadataResponse(ts_ns=1)


async def fails(request, context):
    yield SubscribeMetadataResponse(ts_ns=1)
    await context.abort(grpc.StatusCode.UNKNOWN, "reading from persisted logs")


@pytest.mark.parametrize("answer", [falls_silent, ends, fails])
async def test_a_filer_that_stops_sending_raises_unavailable(answer, monkeypatch):
    monkeypatch.setattr(adapter, "HEARTBEAT_S", 0.2)
    async with stand_in(answer) as address:
        with pytest.raises(Unavailable, match="change log"):
            await exhausted(SeaweedFSChangeFeed(address, "images", 0.5).follow(0))


async def test_a_filer_that_is_down_raises_unavailable():
    fake = FakeChangeFeed()
    fake.down = True
    for changes in (fake, SeaweedFSChangeFeed("127.0.0.1:1", "images", 0.3)):
        with pytest.raises(Unavailable, match="change log"):
            await exhausted(changes.follow(0))


async def test_a_filer_that_never_answers_raises_unavailable():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:  # connects, and says no word
        changes = SeaweedFSChangeFeed(f"127.0.0.1:{server.getsockname()[1]}", "images", 0.3)
        with pytest.raises(Unavailable, match="change log"):
            await exhausted(changes.follow(0))


async def test_a_consumer_that_waits_for_a_filer_gets_an_error_on_close():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        changes = SeaweedFSChangeFeed(f"127.0.0.1:{server.getsockname()[1]}", "images", PATIENCE_S)
        follower = asyncio.ensure_future(exhausted(changes.follow(0)))
        connection, _ = await asyncio.to_thread(server.accept)
        with connection:
            await changes.close()
            with pytest.raises(Unavailable, match="closed"):
                await follower


async def test_a_heartbeat_is_no_change():
    async def beats(request, context):
        for _ in range(3):
            yield SubscribeMetadataResponse(ts_ns=time.time_ns())
        await asyncio.sleep(PATIENCE_S)

    async with stand_in(beats) as address, aclosing(SeaweedFSChangeFeed(address, "images", 5.0).follow(0)) as pages:
        assert await anext(pages) == []


def certificate(folder, name):
    """A key and a certificate that vouches for itself, as PEM."""
    key, cert = folder / f"{name}.key", folder / f"{name}.crt"
    words = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
    ]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(["openssl", "req", "-x509", *words, *names], check=True, capture_output=True)
    return key, cert


async def test_a_filer_that_asks_for_a_certificate_is_shown_one(tmp_path):
    if not shutil.which("openssl"):
        missing("openssl")
    (filer_key, filer_cert), (our_key, our_cert) = certificate(tmp_path, "filer"), certificate(tmp_path, "indexer")
    pair = filer_key.read_bytes(), filer_cert.read_bytes()
    credentials = grpc.ssl_server_credentials([pair], our_cert.read_bytes(), require_client_auth=True)

    async def beats(request, context):
        yield SubscribeMetadataResponse(ts_ns=1)
        await asyncio.sleep(PATIENCE_S)

    async with stand_in(beats, credentials) as address:
        known = SeaweedFSChangeFeed(address, "images", 5.0, ClientTLS(filer_cert, our_cert, our_key))
        async with aclosing(known.follow(0)) as pages:
            assert await anext(pages) == []
        for stranger in (
            SeaweedFSChangeFeed(address, "images", 1.0, ClientTLS(filer_cert)),
            SeaweedFSChangeFeed(address, "images", 1.0),
        ):
            with pytest.raises(Unavailable):
                await exhausted(stranger.follow(0))
