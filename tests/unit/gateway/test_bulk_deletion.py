"""Deleting many images by REST: exactly those that are meant and may be deleted, page by page."""

import hashlib

import pytest

from gateway.api.bulk_deletion import ranges
from tests.pictures import jpeg
from tests.unit.serving import Serving, assert_problem
from visualsearch.domain.images import Visibility

OWNERS = {"ada": "write", "bob": "write", "carl": "read", "root": "admin"}
KEYS = ",".join(f"{owner}:{role}:{hashlib.sha256(owner.encode()).hexdigest()}" for owner, role in OWNERS.items())


@pytest.fixture
async def serving():
    async with Serving(api_keys=KEYS) as serving:
        yield serving


async def ask(serving, owner, **wanted):
    return await serving.client.post("/deletions", json=wanted, headers={"authorization": f"Bearer {owner}"})


async def deleted(serving, owner, **wanted):
    answer = await ask(serving, owner, **wanted)
    assert answer.status_code == 200, answer.text
    return answer.json()["image_ids"]


def there(serving):
    return sorted(serving.image_repository.images)


@pytest.fixture
async def ids(serving):
    """Three images of each owner in each of two folders."""
    return {
        (owner, folder): [
            await serving.index(jpeg(number), owner=owner, source=folder, name=f"{folder}/{owner}-{number}.jpg")
            for number in range(3)
        ]
        for owner in ("ada", "bob")
        for folder in ("old", "new")
    }


@pytest.mark.parametrize("wanted", [{"prefix": "old/"}, {"source": "old"}, {"prefix": "old/", "source": "old"}])
async def test_an_owner_deletes_its_own_of_what_it_names(serving, ids, wanted):
    assert await deleted(serving, "ada", **wanted) == ids["ada", "old"]
    kept = sorted(image for who, found in ids.items() if who != ("ada", "old") for image in found)
    assert there(serving) == kept
    assert sorted(serving.vectors.rows["images_v1"]) == kept
    assert len(serving.object_store.objects) == len(kept)
    assert await serving.image_repository.unfinished_deletions(0.0, 100) == []


async def test_conditions_must_all_hold(serving, ids):
    assert await deleted(serving, "ada", prefix="old/", source="new") == []
    chosen = [ids["ada", "old"][0], ids["ada", "new"][0]]
    assert await deleted(serving, "ada", image_ids=chosen, source="new") == chosen[1:]


async def test_an_administrator_deletes_those_of_all(serving, ids):
    assert await deleted(serving, "root", prefix="old/") == sorted(ids["ada", "old"] + ids["bob", "old"])


async def test_ids_of_others_and_unknown_ones_are_left_out(serving, ids):
    private = await serving.index(jpeg(9), owner="bob", visibility=Visibility.PRIVATE)
    before = there(serving)
    assert await deleted(serving, "ada", image_ids=[*ids["bob", "old"], private, 999, -5]) == []
    assert there(serving) == before


async def test_a_dry_run_says_the_same_and_deletes_nothing(serving, ids):
    before = there(serving)
    would = await deleted(serving, "ada", prefix="old/", dry_run=True)
    assert there(serving) == before
    assert serving.audit_log.kept == {}
    assert would == await deleted(serving, "ada", prefix="old/")


@pytest.mark.parametrize(
    ("wanted", "folders"), [({"source": "old"}, ["old"]), ({"image_ids": list(range(1, 20))}, ["old", "new"])]
)
async def test_pages_follow_each_other_until_there_is_no_next(serving, ids, wanted, folders):
    after, found = 0, []
    while after is not None:
        body = (await ask(serving, "bob", **wanted, after=after, limit=2)).json()
        assert len(body["image_ids"]) <= 2
        found += body["image_ids"]
        after = body["next"]
    assert found == [image for folder in folders for image in ids["bob", folder]]


async def test_what_was_deleted_is_recorded(serving, ids):
    await deleted(serving, "ada", prefix="old/")
    (entry,) = serving.audit_log.kept.values()
    first, *_, last = ids["ada", "old"]
    assert (entry.actor, entry.action, entry.outcome) == ("ada", "image.delete-many", "done")
    assert entry.subject == f"3 images with prefix 'old/': {first}-{last}"


async def test_what_a_store_that_is_down_interrupts_is_finished_later(serving, ids):
    serving.object_store.down = True
    assert_problem(await ask(serving, "ada", prefix="old/"), 503)
    assert not set(ids["ada", "old"]) & set(there(serving))
    assert len(await serving.image_repository.unfinished_deletions(0.0, 100)) == 3
    (entry,) = serving.audit_log.kept.values()
    assert entry.outcome.startswith("failed: ")


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"prefix": ""},
        {"source": "", "dry_run": True},
        {"sourc": "old"},
        {"source": "old", "prefx": "x"},
        {"image_ids": ["1"]},
        {"image_ids": list(range(1001))},
        {"image_ids": [2**63]},
        {"prefix": "a\0"},
        {"source": "old", "limit": 0},
        {"source": "old", "limit": 1001},
        {"source": "old", "after": -1},
        {"source": "old", "after": False},
        {"source": "old", "dry_run": "perhaps"},
        {"source": "old", "dry_run": 1},
    ],
)
async def test_a_call_that_does_not_say_which_is_refused(serving, ids, wanted):
    before = there(serving)
    assert_problem(await ask(serving, "root", **wanted), 422)
    assert there(serving) == before


async def test_it_needs_a_key_that_may_write(serving):
    assert_problem(await serving.client.post("/deletions", json={"source": "old"}), 401)
    assert_problem(await ask(serving, "carl", source="old"), 403)


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([5], "5"), ([1, 2], "1-2"), ([1, 2, 3, 7, 9, 10], "1-3, 7, 9-10")]
)
def test_ids_are_recorded_as_ranges(numbers, text):
    assert ranges(numbers) == text
