"""Contract of the object store, tested with the fake and S3."""

import socket
import uuid
from urllib.parse import quote

import httpx
import pytest

from tests.fakes.object_store import FakeObjectStore
from visualsearch.adapters.s3.object_store import S3ObjectStore
from visualsearch.adapters.s3.signature import SignatureV4
from visualsearch.domain.errors import ImageTooLarge, InvalidInput, NotFound, Unavailable
from visualsearch.domain.images import Visibility
from visualsearch.domain.indexing import ObjectMetadata, StoredObject

ODD_KEYS = [
    "plain.jpg",
    "a folder/with spaces.jpg",
    "ünïcode/日本.webp",
    "per%20cent%.jpg",
    "q?u=e&r+y#x;.png",
    "'quotes\" and *stars* [1] {2} ~.png",
    "family \N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}.png",
    "narrow\N{NARROW NO-BREAK SPACE}space.png",
    "-dash/_under/.dot",
]
NO_KEYS = ["", "/a", "a/", "a//b", "a/../b", "./a", "new\nline", "nul\x00", "\udcff", "a\\b"]
SPELLINGS = [
    "a\\b.jpg",
    "a%2Fb.jpg",
    "a%5Cb.jpg",
    "a%252Fb.jpg",
    "/a/b.jpg",
    "//a/b.jpg",
    "a//b.jpg",
    "a/./b.jpg",
    "a/c/../b.jpg",
    "./a/b.jpg",
    "A/b.jpg",
    "a/b.jpg/",
    "a/b.jpg ",
    "a/b.jpg\x00",
    "a/b.jpg#",
    "a/b.jpg?",
    "a\N{FRACTION SLASH}b.jpg",
    "\N{FULLWIDTH LATIN SMALL LETTER A}/b.jpg",
]
METADATA = [
    ObjectMetadata("", Visibility.PUBLIC),
    ObjectMetadata("", Visibility.PRIVATE, "upload"),
    ObjectMetadata("ada", Visibility.PRIVATE, "web"),
    ObjectMetadata("jürgen 日本", Visibility.PRIVATE, " a:b=c;d,'e' \"f\" 100% "),
    ObjectMetadata("=?utf-8?b?x?=", Visibility.PUBLIC, "\N{MAN}" * 200),
]


PROGRAMS_KEYS = [
    "a.jpg",
    "tab\t.jpg",
    "line\n.jpg",
    "\x01.jpg",
    "back\\slash.jpg",
    "dots...",
    "space ",
    "100%25+.jpg",
    "é" * 100,
]
"""Keys that other programs give objects. SeaweedFS reads a backslash as a slash."""


@pytest.fixture(scope="session")
def bucket():
    return f"contract-{uuid.uuid4().hex[:8]}"


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def object_store(request, bucket):
    if request.param == "fake":
        yield FakeObjectStore(bucket)
        return
    settings = request.getfixturevalue("stack")
    keys = settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value()
    s3 = S3ObjectStore(settings.s3_url, bucket, settings.s3_region, *keys, 10.0)
    await s3.ensure_bucket()
    yield s3
    async for page in s3.walk():
        for blob in page:
            await s3.delete(blob.key)
    await s3.close()


async def listed(object_store, **span):
    return [blob.key async for page in object_store.walk(**span) for blob in page]


async def test_creating_an_existing_bucket_keeps_its_objects(object_store):
    await object_store.ensure_bucket()
    await object_store.put("kept.jpg", b"kept", "image/jpeg")
    await object_store.ensure_bucket()
    assert await object_store.get("kept.jpg", 10) == b"kept"


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_an_object_with_any_valid_name_is_read_back_unchanged(object_store, key):
    etag = await object_store.put(key, b"hello", "image/jpeg")
    assert await object_store.get(key, 5) == b"hello"
    uri = object_store.uri(key)
    assert object_store.key(uri) == key
    assert uri.isascii()
    (blob,) = [blob async for page in object_store.walk() for blob in page]
    assert (blob.key, blob.size, blob.etag) == (key, 5, etag)
    await object_store.delete(key)
    assert await listed(object_store) == []


@pytest.mark.parametrize("key", NO_KEYS)
async def test_an_invalid_object_name_is_refused(object_store, key):
    with pytest.raises(InvalidInput):
        object_store.uri(key)
    with pytest.raises(InvalidInput):
        await object_store.put(key, b"hello")


@pytest.mark.parametrize(
    "key", ["queries/7", "queries\\7", "Queries/7", ".visualsearch/probe", ".uploads/7", "Uploads/7"]
)
async def test_a_key_that_no_picture_may_have_has_no_uri(object_store, key):
    with pytest.raises(InvalidInput):
        object_store.uri(key)


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_an_object_has_one_name_only(object_store, spelling):
    await object_store.put("a/b.jpg", b"hello")
    for call in (object_store.fetch(spelling, 10), object_store.metadata(spelling), object_store.etag(spelling)):
        with pytest.raises((InvalidInput, NotFound)):
            await call


@pytest.mark.parametrize("metadata", METADATA)
async def test_who_may_see_an_object_is_stored_with_it(object_store, metadata):
    etag = await object_store.put("a", b"hello", "image/jpeg", metadata)
    assert await object_store.fetch("a", 10) == StoredObject(b"hello", etag, metadata)
    assert await object_store.metadata("a") == metadata


async def test_an_object_that_is_replaced_has_the_new_metadata_alone(object_store):
    await object_store.put("a", b"hello", metadata=METADATA[2])
    await object_store.put("a", b"hello")
    assert await object_store.metadata("a") is None
    assert (await object_store.fetch("a", 10)).metadata is None


async def test_what_is_not_there_has_no_metadata(object_store):
    with pytest.raises(NotFound):
        await object_store.metadata("none")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "s3://",
        "s3://other/a",
        "https://images/a",
        "s3://{0}",
        "s3://{0}/",
        "s3://{0}/%00",
        "s3://{0}/queries/7",
        "s3://{0}/%61",
        "s3://{0}/a%5Cb",
    ],
)
async def test_a_uri_of_another_bucket_or_in_another_spelling_has_no_key(object_store, uri):
    with pytest.raises(InvalidInput):
        object_store.key(uri.format(object_store.bucket))


async def test_an_object_can_be_overwritten(object_store):
    first = await object_store.put("a", b"one")
    second = await object_store.put("a", b"other")
    assert first != second
    assert await object_store.get("a", 100) == b"other"


async def test_an_object_that_is_too_large_is_not_read(object_store):
    await object_store.put("a", b"x" * 1000)
    assert len(await object_store.get("a", 1000)) == 1000
    with pytest.raises(ImageTooLarge, match="1000 bytes"):
        await object_store.get("a", 999)


async def test_a_missing_object_is_not_found_and_deleting_it_is_harmless(object_store):
    with pytest.raises(NotFound):
        await object_store.get("none", 10)
    await object_store.delete("none")


async def test_objects_are_listed_in_order_from_any_key(object_store):
    for key in ("p/2", "p/1", "p/3", "q/1"):
        await object_store.put(key, b"x")
    assert await listed(object_store) == ["p/1", "p/2", "p/3", "q/1"]
    assert await listed(object_store, prefix="p/") == ["p/1", "p/2", "p/3"]
    assert await listed(object_store, prefix="p/", after="p/1") == ["p/2", "p/3"]
    assert await listed(object_store, prefix="none/") == []


@pytest.mark.stack
async def test_every_key_of_other_programs_is_listed_as_it_is(stack, bucket):
    keys = stack.s3_access_key.get_secret_value(), stack.s3_secret_key.get_secret_value()
    s3 = S3ObjectStore(stack.s3_url, f"{bucket}-odd", stack.s3_region, *keys, 10.0)
    await s3.ensure_bucket()
    async with httpx.AsyncClient(auth=SignatureV4(*keys, stack.s3_region)) as client:
        for key in PROGRAMS_KEYS:
            answer = await client.put(f"{stack.s3_url}/{s3.bucket}/{quote(key)}", content=b"hello")
            assert answer.status_code == 200
    assert sorted(await listed(s3)) == sorted(key.replace("\\", "/") for key in PROGRAMS_KEYS)
    assert [blob.size async for page in s3.walk() for blob in page] == [5] * len(PROGRAMS_KEYS)
    await s3.close()


async def test_a_check_of_a_working_server_raises_nothing(object_store):
    assert await object_store.check() is None


async def test_a_server_that_is_down_raises_unavailable():
    fake = FakeObjectStore()
    fake.down = True
    real = S3ObjectStore("http://127.0.0.1:1", "images", "us-east-1", "a", "b", 0.5)
    for object_store in (fake, real):
        calls = (
            object_store.check(),
            object_store.get("a", 1),
            object_store.put("a", b""),
            object_store.delete("a"),
            object_store.ensure_bucket(),
        )
        for call in calls:
            with pytest.raises(Unavailable, match="object store"):
                await call
        with pytest.raises(Unavailable, match="object store"):
            await listed(object_store)


async def test_a_server_that_never_answers_raises_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as server:  # connects, and says no word
        port = server.getsockname()[1]
        object_store = S3ObjectStore(f"http://127.0.0.1:{port}", "images", "us-east-1", "a", "b", 0.3)
        with pytest.raises(Unavailable, match="object store"):
            await object_store.get("a", 1)
