"""Contract of the image repository, tested with the fake and Postgres."""

import asyncio
import random
import socket
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest

from tests.eventually import eventually
from tests.fakes.dead_letter_archive import FakeDeadLetterArchive
from tests.fakes.duplicate_exclusions import FakeDuplicateExclusions
from tests.fakes.image_repository import FakeImages
from tests.fakes.indexing_progress import FakeIndexingProgress
from visualsearch.adapters.postgres.database import Database
from visualsearch.adapters.postgres.dead_letter_archive import PostgresDeadLetterArchive
from visualsearch.adapters.postgres.duplicate_exclusions import PostgresDuplicateExclusions
from visualsearch.adapters.postgres.image_repository import PostgresImages
from visualsearch.adapters.postgres.indexing_progress import PostgresIndexingProgress
from visualsearch.adapters.s3.object_store import uri_of
from visualsearch.domain.errors import InvalidInput, NotFound, QuotaExceeded, Unavailable
from visualsearch.domain.images import (
    ImageChange,
    ImageMetadata,
    ImagePage,
    ImageSelection,
    ImageSummary,
    NewImage,
    Quota,
    Status,
    Usage,
    Visibility,
)
from visualsearch.domain.indexing import DeadLetter, Event, EventKind
from visualsearch.domain.object_keys import MAX_KEY_BYTES
from visualsearch.domain.releases import Release

ONE, OTHER = b"1" * 32, b"2" * 32
RELEASE = Release("v1_hnsw", 1, "f" * 64, "images_v1_hnsw", "hnsw", {"ef": 200})


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def image_repository(request):
    if request.param == "fake":
        yield FakeImages()
        return
    dsn, password = request.getfixturevalue("database")
    with psycopg.connect(dsn, password=password, autocommit=True) as server:
        tables = "images, owner_usage, deletions, dead_letters, not_duplicates, releases, positions, differences"
        server.execute(f"TRUNCATE {tables} CASCADE")
    postgres = PostgresImages(Database(dsn, password, 5.0))
    yield postgres
    await postgres.close()


@pytest.fixture
def exclusions(image_repository):
    if isinstance(image_repository, FakeImages):
        return FakeDuplicateExclusions(image_repository)
    return PostgresDuplicateExclusions(image_repository.database)


@pytest.fixture
def archive(image_repository):
    if isinstance(image_repository, FakeImages):
        return FakeDeadLetterArchive(image_repository)
    return PostgresDeadLetterArchive(image_repository.database)


@pytest.fixture
def progress(image_repository):
    if isinstance(image_repository, FakeImages):
        return FakeIndexingProgress(image_repository)
    return PostgresIndexingProgress(image_repository.database)


async def test_an_image_is_not_marked_if_its_vector_has_another_source_or_visibility(image_repository):
    image = await image_repository.register(NewImage("s3://images/changing", "web", content_hash=ONE))
    was_private = replace(image, visibility=Visibility.PRIVATE)
    for other in (was_private, replace(image, source="album")):
        assert await image_repository.mark_indexed({image.id: ONE}, "v1", [other]) == []
    assert await image_repository.mark_indexed({image.id: ONE}, "v1", [image]) == [image.id]


@pytest.mark.parametrize(("first", "last"), [(0xA1, 0x800), (0x4E00, 0x9FFF), (0x10000, 0x110000)])
async def test_an_image_of_the_longest_key_is_found_by_its_uri(image_repository, first, last):
    """Its uri has 3 KB, which an index of Postgres only takes because it compresses them."""
    letters = random.Random(1).choices(range(first, last), k=MAX_KEY_BYTES)
    key = "".join(map(chr, letters)).encode()[:MAX_KEY_BYTES].decode(errors="ignore")
    uri = uri_of("b" * 63, key)
    image = await image_repository.register(NewImage(uri))
    assert await image_repository.by_uri(uri) == image


async def test_a_new_image_is_pending_and_can_be_read_back(image_repository):
    new = NewImage("s3://images/ü.jpg", "web", "ada", Visibility.PRIVATE, ONE)
    image = await image_repository.register(new)
    assert (image.uri, image.source, image.owner, image.visibility, image.content_hash) == (
        new.uri,
        "web",
        "ada",
        Visibility.PRIVATE,
        ONE,
    )
    assert (image.status, image.reason, image.width, image.height) == (Status.PENDING, None, None, None)
    assert abs((datetime.now(UTC) - image.created_at).total_seconds()) < 60
    assert await image_repository.get(image.id) == image
    assert await image_repository.by_uri(new.uri) == image
    assert await image_repository.by_ids([image.id, 10**12]) == {image.id: image}


async def test_unknown_images_are_reported_as_missing(image_repository):
    assert await image_repository.by_uri("s3://images/none") is None
    assert await image_repository.by_ids([]) == {}
    for image_id in (10**12, 2**63, -1):
        with pytest.raises(NotFound, match=str(image_id)):
            await image_repository.get(image_id)


async def test_a_uri_keeps_its_id_under_concurrent_registrations(image_repository):
    images = await asyncio.gather(*(image_repository.register(NewImage("s3://images/a")) for _ in range(8)))
    assert len({image.id for image in images}) == 1


async def test_registering_the_same_content_leaves_an_indexed_image_unchanged(image_repository):
    image = await indexed(image_repository, "s3://images/a", ONE)
    assert (await image_repository.register(NewImage(image.uri, content_hash=ONE))).status is Status.INDEXED
    assert (await image_repository.register(NewImage(image.uri, content_hash=OTHER))).status is Status.PENDING


async def test_registering_unknown_content_makes_an_image_pending_again(image_repository):
    image = await indexed(image_repository, "s3://images/a", ONE)
    assert (await image_repository.register(NewImage(image.uri))).status is Status.PENDING


async def test_registering_a_rejected_image_again_makes_it_pending(image_repository):
    image = await image_repository.register(NewImage("s3://images/a", content_hash=ONE))
    await image_repository.mark_rejected(image.id, "It is broken.")
    assert (await image_repository.get(image.id)).reason == "It is broken."
    again = await image_repository.register(NewImage("s3://images/a", content_hash=ONE))
    assert (again.id, again.status, again.reason) == (image.id, Status.PENDING, None)


async def test_describing_and_indexing_can_be_repeated(image_repository):
    image = await image_repository.register(NewImage("s3://images/a"))
    for _ in range(2):
        await image_repository.describe([ImageMetadata(image.id, 640, 480, 2**64 - 1, ONE)])
        assert await image_repository.mark_indexed({image.id: ONE}, "v1") == [image.id]
    found = await image_repository.get(image.id)
    assert (found.width, found.height, found.content_hash, found.status) == (640, 480, ONE, Status.INDEXED)


async def test_images_deleted_during_indexing_are_reported(image_repository):
    kept, gone = [await image_repository.register(NewImage(f"s3://images/{name}")) for name in "ab"]
    await image_repository.delete(gone.id)
    await image_repository.describe([ImageMetadata(one.id, 640, 480, 1, ONE) for one in (kept, gone)])
    assert await image_repository.mark_indexed({kept.id: ONE, gone.id: ONE}, "v1") == [kept.id]
    await image_repository.mark_rejected(gone.id, "late")
    assert await image_repository.by_uri(gone.uri) is None


async def test_a_deletion_stays_unfinished_until_it_is_marked_finished(image_repository):
    image = await indexed(image_repository, "s3://images/a", ONE)
    assert not await image_repository.is_deleted(image.uri)
    assert await image_repository.delete(image.id) == image.uri
    assert await image_repository.is_deleted(image.uri)
    assert await image_repository.delete(image.id) == image.uri, "an unfinished deletion can be taken up again"
    assert (image.id, image.uri) in await image_repository.unfinished_deletions(0, 10)
    assert await image_repository.unfinished_deletions(60, 10) == []
    await image_repository.finish_deletion(image.id)
    assert await image_repository.unfinished_deletions(0, 10) == []
    with pytest.raises(NotFound):
        await image_repository.delete(image.id)
    with pytest.raises(NotFound):
        await image_repository.get(image.id)


async def test_a_deletion_can_be_recorded_as_finished(image_repository):
    image = await image_repository.register(NewImage("s3://images/vanished"))
    assert await image_repository.delete(image.id, finished=True) == image.uri
    assert await image_repository.is_deleted(image.uri)
    assert not await image_repository.is_being_deleted(image.uri)
    assert await image_repository.unfinished_deletions(0.0, 100) == []
    with pytest.raises(NotFound):
        await image_repository.delete(image.id)


async def test_a_deleted_uri_gets_a_new_id_when_it_is_registered_again(image_repository):
    old = await image_repository.register(NewImage("s3://images/a"))
    await image_repository.delete(old.id)
    new = await image_repository.register(NewImage("s3://images/a"))
    assert new.id != old.id
    assert not await image_repository.is_deleted("s3://images/a")


async def test_overdue_pending_images_are_listed_oldest_first(image_repository):
    images = [await image_repository.register(NewImage(f"s3://images/{name}")) for name in "abc"]
    await image_repository.mark_rejected(images[0].id, "broken")
    assert await image_repository.waiting(60, 10) == []
    assert await image_repository.waiting(0, 1) == [images[1]]
    assert {image.id for image in await image_repository.waiting(0, 10)} == {images[1].id, images[2].id}


async def test_a_result_shows_a_private_image_to_its_owner_alone(image_repository, exclusions):
    new = NewImage("s3://images/a", owner="ada", visibility=Visibility.PRIVATE, content_hash=ONE)
    image = await image_repository.register(new)
    await image_repository.mark_indexed({image.id: ONE}, "v1")
    found = {who: list((await exclusions.pairs_and_shown([], [image.id], who))[1]) for who in ("", "ada", "bob")}
    assert found == {"": [], "ada": [image.id], "bob": []}


async def test_images_are_counted_by_status_zeros_included(image_repository):
    await indexed(image_repository, "s3://images/a", ONE)
    await image_repository.register(NewImage("s3://images/b"))
    assert await image_repository.counts() == {Status.PENDING: 1, Status.INDEXED: 1, Status.REJECTED: 0}


async def test_an_owner_counts_what_is_public_or_its_own(image_repository):
    for name, owner, visibility in (("a", "ada", "public"), ("b", "ada", "private"), ("c", "", "private")):
        new = NewImage(f"s3://images/{name}", owner=owner, visibility=Visibility(visibility))
        await image_repository.register(new)
    expected = {None: 3, "ada": 2, "bob": 1}
    assert {who: (await image_repository.counts(who))[Status.PENDING] for who in expected} == expected


async def test_query_ids_and_image_ids_never_collide(image_repository):
    image = await image_repository.register(NewImage("s3://images/a"))
    ids = await image_repository.allocate_query_ids(100)
    later = await image_repository.register(NewImage("s3://images/b"))
    assert len({*ids, image.id, later.id}) == 102
    assert all([await image_repository.was_issued(one) for one in (image.id, ids[0], ids[-1], later.id)])
    assert not any([await image_repository.was_issued(one) for one in (0, -1, later.id + 10**6, 2**62)])


async def test_duplicate_exclusions_are_returned_only_among_the_requested_images(image_repository, exclusions):
    one, two, three = [await image_repository.register(NewImage(f"s3://images/{name}")) for name in "abc"]
    assert await exclusions.pairs_and_shown([], [], "") == (set(), {})
    await image_repository.describe([ImageMetadata(three.id, 640, 480, 5, ONE)])
    assert (await exclusions.pairs_and_shown([], [three.id], ""))[1] == {}, "it is not indexed yet"
    await image_repository.mark_indexed({three.id: ONE}, "v1")
    await exclusions.mark_not_duplicates(two.id, one.id, "ada")
    await exclusions.mark_not_duplicates(one.id, two.id, "bob")
    await exclusions.mark_not_duplicates(two.id, three.id, "")
    pairs, images = await exclusions.pairs_and_shown([one.id, two.id], [three.id, 10**12], "")
    assert pairs == {(one.id, two.id)}
    assert images == {three.id: ImageSummary("s3://images/c", 640, 480)}
    assert await exclusions.unmark_not_duplicates(two.id, one.id)
    assert not await exclusions.unmark_not_duplicates(two.id, one.id)
    everything = [one.id, two.id, three.id]
    assert (await exclusions.pairs_and_shown(everything, [], ""))[0] == {(two.id, three.id)}


async def test_a_duplicate_exclusion_of_a_missing_image_is_not_stored(image_repository, exclusions):
    image = await image_repository.register(NewImage("s3://images/a"))
    await exclusions.mark_not_duplicates(image.id, 10**12, "ada")
    assert not await exclusions.unmark_not_duplicates(image.id, 10**12)


async def archived(archive, image_repository):
    """Reasons of the archived dead letters, by entry. The port has no way to read them: people query the table."""
    if isinstance(archive, FakeDeadLetterArchive):
        return [(entry, letter.reason) for entry, letter in archive.letters.items()]
    return [
        (row["entry_id"], row["reason"]) for row in await image_repository.database.rows("SELECT * FROM dead_letters")
    ]


async def test_a_dead_letter_is_stored_once(image_repository, archive):
    event = Event(EventKind.CREATED, "s3://images/a", 5, "etag")
    for reason in ("why", "once more"):
        await archive.dead_letter(DeadLetter("1-1", event, reason, 5, datetime.now(UTC)))
    assert await archived(archive, image_repository) == [("1-1", "why")]


async def test_a_check_of_a_working_server_raises_nothing(image_repository):
    assert await image_repository.check() is None


async def test_a_server_that_is_down_raises_unavailable():
    fake = FakeImages()
    fake.down = True
    real = PostgresImages(Database("postgresql://nobody@127.0.0.1:1/none", "", 0.5))
    for image_repository in (fake, real):
        with pytest.raises(Unavailable, match="Postgres"):
            await image_repository.check()
        await image_repository.close()


async def test_a_server_that_never_answers_raises_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as server:  # connects, and says no word
        port = server.getsockname()[1]
        image_repository = PostgresImages(Database(f"postgresql://nobody@127.0.0.1:{port}/none", "", 0.3))
        with pytest.raises(Unavailable, match="Postgres"):
            await image_repository.check()
        await image_repository.close()


@pytest.mark.stack
async def test_tables_have_the_documented_columns(database):
    dsn, password = database
    image_repository = PostgresImages(Database(dsn, password, 5.0))
    image = await indexed(image_repository, f"s3://images/{uuid.uuid4()}", ONE)
    await image_repository.close()
    with psycopg.connect(dsn, password=password) as server:
        phash = server.execute("SELECT phash FROM image_hash WHERE image_id = %s", [image.id]).fetchone()
        assert phash == ((5).to_bytes(8, "big"),)


@pytest.mark.stack
async def test_text_that_postgres_cannot_store_raises_invalid_input(database):
    image_repository = PostgresImages(Database(*database, 5.0))
    with pytest.raises(InvalidInput):
        await image_repository.by_uri("s3://images/\x00")
    await image_repository.close()


@pytest.mark.stack
async def test_connections_that_the_server_closed_are_replaced(database):
    dsn, password = database
    image_repository = PostgresImages(Database(dsn, password, 5.0))
    await image_repository.check()
    with psycopg.connect(dsn, password=password, autocommit=True) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert await image_repository.by_uri("s3://images/none") is None
    await image_repository.close()


@pytest.mark.stack
async def test_a_call_that_timed_out_leaves_the_repository_usable(database):
    dsn, password = database
    image_repository = PostgresImages(Database(dsn, password, 0.5, connections=1))
    with psycopg.connect(dsn, password=password) as server:
        server.execute("LOCK TABLE images")
        with pytest.raises(Unavailable):
            await image_repository.counts()
    await eventually(image_repository.counts, within_s=5, errors=Unavailable)
    await image_repository.close()


async def indexed(image_repository, uri, content_hash):
    """An image that is searchable."""
    image = await image_repository.register(NewImage(uri, content_hash=content_hash))
    await image_repository.describe([ImageMetadata(image.id, 640, 480, 5, content_hash)])
    await image_repository.mark_indexed({image.id: content_hash}, "v1")
    return await image_repository.get(image.id)


async def test_images_registered_together_are_returned_in_their_order(image_repository):
    known = await indexed(image_repository, "s3://images/b", ONE)
    new = [NewImage(f"s3://images/{name}", "web", content_hash=ONE, etag=f"tag {name}") for name in "cba"]
    images = await image_repository.register_all(new)
    assert [image.uri for image in images] == [one.uri for one in new]
    assert [image.status for image in images] == [Status.PENDING, Status.INDEXED, Status.PENDING]
    assert (images[1].id, images[1].etag) == (known.id, "tag b")
    assert await image_repository.by_uris([one.uri for one in new] + ["s3://images/none"]) == {i.uri: i for i in images}
    assert await image_repository.register_all([]) == []


async def test_an_image_is_marked_indexed_only_for_the_described_content(image_repository):
    image = await image_repository.register(NewImage("s3://images/a"))
    await image_repository.describe([ImageMetadata(image.id, 640, 480, 1, OTHER, "tag")])
    assert await image_repository.mark_indexed({image.id: ONE}, "v1") == []
    assert await image_repository.mark_indexed({image.id: OTHER}, "v1") == [image.id]
    assert (await image_repository.get(image.id)).etag == "tag"


async def test_images_can_be_made_pending_again(image_repository):
    image = await indexed(image_repository, "s3://images/a", ONE)
    assert [one.status for one in await image_repository.mark_pending([image.id, 10**12])] == [Status.PENDING]
    assert (await image_repository.get(image.id)).status is Status.PENDING


async def test_images_are_listed_in_bytewise_order_of_uris_and_in_order_of_ids(image_repository):
    names = ["a", "B", "b/%C3%BC", "b-", "a/b"]
    for name in names:
        await indexed(image_repository, f"s3://images/{name}", ONE)
    await image_repository.register(NewImage("s3://images/pending"))
    uris, last = [], ""
    while page := await image_repository.after_uri(last, 2):
        last = page[-1].uri
        uris += [image.uri for image in page]
    assert uris == sorted(f"s3://images/{name}" for name in [*names, "pending"])
    ids, after = [], 0
    while some := await image_repository.after_id(after, 2):
        after = some[-1].id
        ids += [image.id for image in some]
    assert ids == sorted(ids)
    assert len(ids) == len(names)
    assert await image_repository.hashes(0, 3) == [(image_id, 5) for image_id in ids[:3]]
    assert await image_repository.hashes(ids[2], 3) == [(image_id, 5) for image_id in ids[3:]]
    assert sorted(await image_repository.hashes_of([ids[0], 10**12])) == [(ids[0], 5)]


async def test_images_are_paged_by_what_is_selected(image_repository):
    new = [
        NewImage(f"s3://images/{name}", source, owner, visibility)
        for name, source, owner, visibility in (
            ("a/1", "web", "", Visibility.PUBLIC),
            ("a/2", "web", "ada", Visibility.PRIVATE),
            ("b/3", "bad", "ada", Visibility.PUBLIC),
            ("b/4", "web", "bob", Visibility.PRIVATE),
            ("b/5", "bad", "", Visibility.PUBLIC),
        )
    ]
    ids = [one.id for one in await image_repository.register_all(new)]
    await image_repository.mark_rejected(ids[0], "no picture")

    async def found(after=0, limit=10, **selection):
        page = await image_repository.page(ImageSelection(**selection), after, limit)
        return [ids.index(one.id) + 1 for one in page.images]

    assert await found() == [1, 2, 3, 4, 5]
    assert await found(owners=frozenset()) == [1, 3, 5]
    assert await found(owners=frozenset({"ada"})) == [1, 2, 3, 5]
    assert await found(owners=frozenset({"ada"}), blocked_sources=frozenset({"bad"})) == [1, 2, 3]
    assert await found(owners=frozenset({""}), blocked_ids=frozenset(ids[:3])) == [1, 5]
    assert await found(status=Status.REJECTED) == [1]
    assert await found(source="bad") == [3, 5]
    assert await found(prefix="s3://images/a/") == [1, 2]
    assert await found(prefix="s3://images/_/") == []
    assert await found(after=ids[1], limit=2) == [3, 4]
    whole = await image_repository.page(ImageSelection(), 0, 5)
    assert whole.next == ids[4]
    assert await image_repository.page(ImageSelection(), whole.next, 5) == ImagePage([], None)


async def test_a_page_looks_at_a_limited_number_of_images_and_says_where_to_go_on(image_repository, monkeypatch):
    monkeypatch.setattr("visualsearch.adapters.postgres.image_repository.SCANNED", 2)
    monkeypatch.setattr(image_repository, "scanned", 2, raising=False)
    new = [NewImage(f"s3://images/{number}", "rare" if number == 4 else "web") for number in range(5)]
    ids = [one.id for one in await image_repository.register_all(new)]
    selection, after, pages = ImageSelection(source="rare"), 0, []
    while after is not None:
        page = await image_repository.page(selection, after, 10)
        pages.append([one.id for one in page.images])
        after = page.next
    assert pages == [[], [], [ids[4]]]


async def test_a_deletion_is_listed_until_it_is_marked_finished(image_repository):
    image = await image_repository.register(NewImage("s3://images/a"))
    assert not await image_repository.is_being_deleted(image.uri)
    await image_repository.delete(image.id)
    assert await image_repository.is_being_deleted(image.uri)
    await image_repository.finish_deletion(image.id)
    assert not await image_repository.is_being_deleted(image.uri)


async def test_the_position_in_a_change_log_is_stored(progress):
    assert await progress.position("bucket") is None
    for at_ns in (1, 2**62):
        await progress.set_position("bucket", at_ns)
        assert await progress.position("bucket") == at_ns


async def test_new_counts_of_differences_replace_the_previous_ones(progress):
    await progress.record_differences({("", "one"): 1, ("v1", "other"): 2})
    await progress.record_differences({("v1", "other"): 3, ("v2", "other"): 4})
    assert await progress.differences() == {("v1", "other"): 3, ("v2", "other"): 4}
    await progress.record_differences({})
    assert await progress.differences() == {}


def owned(number, owner="ann", size=100):
    return NewImage(f"s3://images/{owner}-{number}.jpg", owner=owner, bytes=size)


async def test_what_an_owner_stores_is_counted_and_given_back(image_repository):
    first, second = [await image_repository.register(owned(number)) for number in range(2)]
    await image_repository.register(owned(0, "bob", 7))
    await image_repository.register(NewImage("s3://images/free.jpg", bytes=1000))
    assert await image_repository.usage("ann") == Usage(2, 200)
    assert await image_repository.usage("bob") == Usage(1, 7)
    assert await image_repository.usage("nobody") == await image_repository.usage("") == Usage()
    await image_repository.register(owned(0))
    assert await image_repository.usage("ann") == Usage(2, 200), "a repetition is no second image"
    await image_repository.describe([ImageMetadata(first.id, 10, 10, 1, ONE, bytes=150)])
    assert await image_repository.usage("ann") == Usage(2, 250)
    await image_repository.mark_rejected(first.id, "broken")
    assert await image_repository.usage("ann") == Usage(1, 100)
    await image_repository.mark_pending([first.id])
    assert await image_repository.usage("ann") == Usage(2, 250)
    await image_repository.delete(first.id)
    await image_repository.delete(second.id)
    assert await image_repository.usage("ann") == Usage()


@pytest.mark.parametrize("quota", [Quota(images=3), Quota(bytes=300), Quota(images=3, bytes=300)])
async def test_no_owner_gets_beyond_its_quota_even_by_many_uploads_at_once(image_repository, quota):
    results = await asyncio.gather(
        *(image_repository.register(owned(number), quota) for number in range(10)), return_exceptions=True
    )
    refused = [one for one in results if isinstance(one, QuotaExceeded)]
    assert len(refused) == 7
    assert "Delete some" in str(refused[0])
    assert await image_repository.usage("ann") == Usage(3, 300)
    assert len(await image_repository.after_uri("", 100)) == 3
    await image_repository.register(owned(0, "bob"), quota)
    accepted = next(one for one in results if not isinstance(one, QuotaExceeded))
    await image_repository.delete(accepted.id)
    await image_repository.register(owned(99), quota)


async def test_what_belongs_to_nobody_has_no_quota(image_repository):
    for number in range(3):
        await image_repository.register(owned(number, owner=""), Quota(images=1))
    assert len(await image_repository.after_uri("", 100)) == 3


async def test_images_are_deleted_together_and_each_leaves_its_tombstone(image_repository):
    one, other, kept = await image_repository.register_all([NewImage(f"s3://images/{n}.jpg") for n in range(3)])
    assert await image_repository.delete_all([one.id, other.id, 10**9]) == {one.id: one.uri, other.id: other.uri}
    assert set(await image_repository.by_ids([one.id, other.id, kept.id])) == {kept.id}
    unfinished = await image_repository.unfinished_deletions(-1.0, 10)
    assert sorted(unfinished) == sorted([(one.id, one.uri), (other.id, other.uri)])
    assert await image_repository.delete_all([one.id]) == {}


async def test_a_changed_image_is_pending_and_keeps_what_was_not_named(image_repository):
    image = await image_repository.register(NewImage("s3://images/1.jpg", "web", "ada"))
    await image_repository.mark_rejected(image.id, "damaged")
    changed = await image_repository.change(image.id, ImageChange(visibility=Visibility.PRIVATE))
    assert (changed.source, changed.visibility, changed.owner) == ("web", Visibility.PRIVATE, "ada")
    assert (changed.status, changed.reason) == (Status.PENDING, None)
    assert (await image_repository.change(image.id, ImageChange(source=""))).source == ""
    assert await image_repository.get(image.id) == await image_repository.by_uri(image.uri)
    with pytest.raises(NotFound):
        await image_repository.change(10**9, ImageChange(source="web"))


async def test_a_page_can_be_of_one_owner_alone(image_repository):
    owners = ("ada", "bob", "")
    images = [await image_repository.register(NewImage(f"s3://images/{who}.jpg", owner=who)) for who in owners]
    for image in images:
        page = await image_repository.page(ImageSelection(owner=image.owner), 0, 10)
        assert page == ImagePage([image], None)
