"""Contract of what finding duplicates reads and writes: colours, contents, marked pairs. The fake and Postgres."""

import psycopg
import pytest

from tests.fakes.duplicate_exclusions import FakeDuplicateExclusions
from tests.fakes.image_repository import FakeImages
from visualsearch.adapters.postgres.database import Database
from visualsearch.adapters.postgres.duplicate_exclusions import PostgresDuplicateExclusions
from visualsearch.adapters.postgres.image_repository import PostgresImages
from visualsearch.domain.images import ImageContent, ImageMetadata, ImageSummary, NewImage

CONTENT, COLOURS, OTHER = b"1" * 32, bytes(range(49)), bytes(range(1, 50))


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def images(request):
    if request.param == "fake":
        yield FakeImages()
        return
    dsn, password = request.getfixturevalue("database")
    with psycopg.connect(dsn, password=password, autocommit=True) as server:
        server.execute("TRUNCATE images, owner_usage, not_duplicates CASCADE")
    postgres = PostgresImages(Database(dsn, password, 5.0))
    yield postgres
    await postgres.close()


@pytest.fixture
def exclusions(images):
    if isinstance(images, FakeImages):
        return FakeDuplicateExclusions(images)
    return PostgresDuplicateExclusions(images.database)


async def indexed(images, name, colours=b""):
    image = await images.register(NewImage(f"s3://images/{name}", content_hash=CONTENT))
    await images.describe([ImageMetadata(image.id, 640, 480, 5, CONTENT, colours=colours)])
    await images.mark_indexed({image.id: CONTENT}, "v1")
    return image.id


async def test_contents_are_read_page_by_page_with_and_without_colours(images):
    first, second = await indexed(images, "a", COLOURS), await indexed(images, "b")
    await images.register(NewImage("s3://images/pending"))
    every = [ImageContent(first, CONTENT, 640, 480, COLOURS), ImageContent(second, CONTENT, 640, 480, b"")]
    assert await images.contents(-1, 10) == every
    assert await images.contents(-1, 1) == every[:1]
    assert await images.contents(first, 10) == every[1:]
    assert await images.contents(second, 10) == []


async def test_a_result_has_the_colours_of_its_image(images, exclusions):
    first, second = await indexed(images, "a", COLOURS), await indexed(images, "b")
    _, shown = await exclusions.pairs_and_shown([], [first, second], "")
    assert shown == {
        first: ImageSummary("s3://images/a", 640, 480, COLOURS),
        second: ImageSummary("s3://images/b", 640, 480, b""),
    }


async def test_colours_are_added_to_images_without_and_to_no_others(images):
    first, second, third = [
        await indexed(images, name, colours) for name, colours in (("a", COLOURS), ("b", b""), ("c", b""))
    ]
    assert {one.id for one in await images.without_colours(10)} == {second, third}
    assert len(await images.without_colours(1)) == 1
    await images.add_colours({first: OTHER, second: OTHER, third: b"", 10**12: OTHER})
    assert await images.without_colours(10) == []
    assert [one.colours for one in await images.contents(-1, 10)] == [COLOURS, OTHER, b""]


async def test_describing_an_image_again_replaces_its_colours(images):
    image = await indexed(images, "a", COLOURS)
    await images.describe([ImageMetadata(image, 640, 480, 5, CONTENT, colours=OTHER)])
    assert [one.colours for one in await images.contents(-1, 10)] == [OTHER]


async def test_every_marked_pair_is_read(images, exclusions):
    first, second, third = [await indexed(images, name) for name in "abc"]
    assert await exclusions.all_pairs() == set()
    await exclusions.mark_not_duplicates(second, first, "ada")
    await exclusions.mark_not_duplicates(second, third, "bob")
    assert await exclusions.all_pairs() == {(first, second), (second, third)}
