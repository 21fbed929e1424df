"""Listing images by REST: what a caller may see, page by page."""

import hashlib

import pytest

from tests.pictures import jpeg
from tests.unit.serving import Serving, assert_problem
from visualsearch.domain.images import Visibility

OWNERS = {"ada": "write", "bob": "write", "carl": "read", "root": "admin"}
KEYS = ",".join(f"{owner}:{role}:{hashlib.sha256(owner.encode()).hexdigest()}" for owner, role in OWNERS.items())


@pytest.fixture
async def serving():
    async with Serving(api_keys=KEYS, blocked_sources="bad") as serving:
        yield serving


async def listed(serving, owner, **wanted):
    answer = await serving.client.get("/images", params=wanted, headers={"authorization": f"Bearer {owner}"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return [image["id"] for image in body["images"]], body["next"]


async def test_a_caller_lists_exactly_what_it_can_get_one_by_one(serving):
    ids = [
        await serving.index(jpeg(number), owner=owner, visibility=visibility, source=source)
        for number, (owner, visibility, source) in enumerate(
            (owner, visibility, source)
            for owner in ("", "ada", "bob", "root")
            for visibility in Visibility
            for source in ("good", "bad")
        )
    ]
    for owner in OWNERS:
        headers = {"authorization": f"Bearer {owner}"}
        seen = [one for one in ids if (await serving.client.get(f"/images/{one}", headers=headers)).status_code == 200]
        assert await listed(serving, owner) == (seen, None), owner


async def test_pages_follow_each_other_until_there_is_no_next(serving):
    ids = [await serving.index(jpeg(number)) for number in range(5)]
    first, after = await listed(serving, "carl", limit=3)
    rest, end = await listed(serving, "carl", limit=3, after=after)
    assert (first, after, rest, end) == (ids[:3], ids[2], ids[3:], None)


async def test_images_are_filtered_by_status_source_and_prefix(serving):
    one = await serving.index(jpeg(1), source="web", name="shoes/1.jpg")
    other = await serving.index(jpeg(2), source="phone", name="Täschchen/1.jpg")
    await serving.image_repository.mark_rejected(other, "damaged")
    assert (await listed(serving, "carl", status="indexed"))[0] == [one]
    assert (await listed(serving, "carl", status="rejected"))[0] == [other]
    assert (await listed(serving, "carl", source="phone"))[0] == [other]
    assert (await listed(serving, "carl", prefix="shoes/"))[0] == [one]
    assert (await listed(serving, "carl", prefix="shoes/1"))[0] == [one]
    assert (await listed(serving, "carl", prefix="Täsch"))[0] == [other]
    assert (await listed(serving, "carl", prefix="%"))[0] == []


async def test_a_listing_says_why_an_image_was_rejected(serving):
    image = await serving.index(jpeg(1), source="web", name="1.jpg")
    await serving.image_repository.mark_rejected(image, "damaged")
    answer = await serving.client.get("/images", headers={"authorization": "Bearer carl"})
    (told,) = answer.json()["images"]
    assert (told["id"], told["status"], told["reason"]) == (image, "rejected", "damaged")
    assert (told["source"], told["visibility"]) == ("web", "public")


@pytest.mark.parametrize(
    "wanted", [{"after": -1}, {"after": "x"}, {"limit": 0}, {"limit": 1001}, {"status": "gone"}, {"prefix": "x" * 201}]
)
async def test_a_malformed_wish_is_refused(serving, wanted):
    answer = await serving.client.get("/images", params=wanted, headers={"authorization": "Bearer carl"})
    assert_problem(answer, 422)


async def test_a_listing_needs_a_key(serving):
    assert_problem(await serving.client.get("/images"), 401)
