"""Changing the source and the visibility of an image by REST."""

import hashlib

import pytest

from tests.pictures import jpeg
from tests.unit.serving import Serving, assert_problem
from visualsearch.domain.images import Status, Visibility
from visualsearch.domain.indexing import ObjectMetadata

OWNERS = {"ada": "write", "bob": "write", "carl": "read", "root": "admin"}
KEYS = ",".join(f"{owner}:{role}:{hashlib.sha256(owner.encode()).hexdigest()}" for owner, role in OWNERS.items())


@pytest.fixture
async def serving():
    async with Serving(api_keys=KEYS) as serving:
        yield serving


async def change(serving, image, who, **wanted):
    headers = {"authorization": f"Bearer {who}"}
    return await serving.client.patch(f"/images/{image}", json=wanted, headers=headers)


async def found_by(serving, owner):
    headers = {"authorization": f"Bearer {owner}"}
    files = {"image": ("x.jpg", jpeg(1))}
    answer = await serving.client.post("/search", files=files, headers=headers)
    return [hit["id"] for hit in answer.json()["results"]]


async def test_a_picture_that_becomes_private_is_found_by_nobody_from_then_on(serving):
    image = await serving.index(jpeg(1), owner="ada", name="shoes/1.jpg")
    assert await found_by(serving, "bob") == [image]
    answer = await change(serving, image, "ada", visibility="private")
    assert (answer.status_code, answer.headers["location"]) == (202, f"/images/{image}")
    assert await found_by(serving, "bob") == []
    assert_problem(await serving.client.get(f"/images/{image}", headers={"authorization": "Bearer bob"}), 404)


async def test_a_change_is_in_the_row_with_the_object_and_announced_to_the_indexers(serving):
    image = await serving.index(jpeg(1), owner="ada", source="web", name="shoes/1.jpg")
    answer = await change(serving, image, "ada", visibility="private", source="archive")
    row = serving.image_repository.images[image]
    assert (row.source, row.visibility, row.status) == ("archive", Visibility.PRIVATE, Status.PENDING)
    stored = await serving.object_store.fetch("shoes/1.jpg", 10**9)
    assert stored.metadata == ObjectMetadata("ada", Visibility.PRIVATE, "archive")
    assert stored.data == jpeg(1)
    (entry,) = serving.events.entries.values()
    assert (entry.event.image_id, entry.event.uri) == (image, answer.json()["uri"])


async def test_what_is_not_named_stays_as_it_is(serving):
    image = await serving.index(jpeg(1), owner="ada", source="web", visibility=Visibility.PRIVATE)
    assert (await change(serving, image, "ada", source="archive")).status_code == 202
    row = serving.image_repository.images[image]
    assert (row.source, row.visibility, row.owner) == ("archive", Visibility.PRIVATE, "ada")


async def test_only_its_owner_and_an_administrator_may_change_it(serving):
    image = await serving.index(jpeg(1), owner="ada")
    hidden = await serving.index(jpeg(2), owner="ada", visibility=Visibility.PRIVATE)
    assert_problem(await change(serving, image, "bob", source="x"), 403)
    assert_problem(await change(serving, hidden, "bob", source="x"), 404)
    assert_problem(await change(serving, image, "carl", source="x"), 403)
    assert_problem(await serving.client.patch(f"/images/{image}", json={"source": "x"}), 401)
    assert (await change(serving, image, "root", source="x")).status_code == 202


async def test_a_change_is_recorded(serving):
    image = await serving.index(jpeg(1), owner="ada")
    await change(serving, image, "ada", visibility="private")
    (entry,) = serving.audit_log.kept.values()
    assert (entry.actor, entry.action, entry.outcome) == ("ada", "image.change", "done")
    assert entry.subject == f"image {image}: visibility private"


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"source": None},
        {"visibility": "secret"},
        {"source": "a\0"},
        {"source": "x" * 201},
        {"owner": "bob"},
        {"source": 5},
    ],
)
async def test_a_change_that_does_not_fit_is_refused(serving, wanted):
    image = await serving.index(jpeg(1), owner="ada")
    assert_problem(await change(serving, image, "ada", **wanted), 422)
    assert serving.image_repository.images[image].status is Status.INDEXED


async def test_an_image_that_is_not_there_cannot_be_changed(serving):
    assert_problem(await change(serving, 999, "root", source="x"), 404)
