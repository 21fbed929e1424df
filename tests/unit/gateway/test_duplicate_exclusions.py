"""Duplicate exclusions, on fakes."""

import hashlib

import pytest

from tests.pictures import encoded, jpeg, noise
from tests.unit.serving import Serving, assert_problem
from visualsearch.domain.images import Visibility

KEYS = {owner: {"Authorization": f"Bearer {owner}-key"} for owner in ("ada", "bob", "carl")}
API_KEYS = ",".join(
    f"{owner}:{role}:{hashlib.sha256(f'{owner}-key'.encode()).hexdigest()}"
    for owner, role in (("ada", "write"), ("bob", "write"), ("carl", "read"))
)


def copy(seed):
    return encoded(noise(seed).resize((160, 120)), "PNG")


async def say(serving, method, ids, headers=None):
    return await serving.client.request(method, "/not-duplicates", json={"image_ids": ids}, headers=headers)


async def folded(serving, **fields):
    answer = (await serving.search(jpeg(1), **fields)).json()
    return [(hit["id"], hit["near_duplicates"]) for hit in answer["results"]]


async def test_a_marked_pair_is_not_folded_until_the_mark_is_removed():
    async with Serving() as serving:
        one, twin = await serving.index(jpeg(1)), await serving.index(copy(1))
        assert await folded(serving) == [(one, [twin])]
        for ids in ([twin, one], [one, twin]):
            assert (await say(serving, "POST", ids)).status_code == 204
        assert await folded(serving) == [(one, []), (twin, [])]
        assert (await say(serving, "DELETE", [one, twin])).status_code == 204
        assert await folded(serving) == [(one, [twin])]
        assert_problem(await say(serving, "DELETE", [one, twin]), 404)


@pytest.mark.parametrize("ids", [[], [1], [1, 1], [1, 2, 3], ["1", 2], [1.5, 2], None, [True, 1], [2**70, 1]])
async def test_an_invalid_pair_is_refused(ids):
    async with Serving() as serving:
        for seed in (1, 2):
            await serving.index(jpeg(seed))
        assert_problem(await say(serving, "POST", ids), 422)


async def test_a_missing_or_invisible_image_is_not_found():
    async with Serving(api_keys=API_KEYS) as serving:
        one = await serving.index(jpeg(1), owner="ada")
        hidden = await serving.index(jpeg(2), owner="ada", visibility=Visibility.PRIVATE)
        assert_problem(await say(serving, "POST", [one, 10**6], KEYS["ada"]), 404)
        assert_problem(await say(serving, "POST", [one, hidden], KEYS["bob"]), 404)
        assert (await say(serving, "POST", [one, hidden], KEYS["ada"])).status_code == 204
        assert serving.duplicate_exclusions.pairs == {(one, hidden): "ada"}


async def test_marking_needs_a_key_that_may_write():
    async with Serving(api_keys=API_KEYS) as serving:
        ids = [await serving.index(jpeg(1)), await serving.index(jpeg(2))]
        for method in ("POST", "DELETE"):
            assert_problem(await say(serving, method, ids), 401)
            assert_problem(await say(serving, method, ids, KEYS["carl"]), 403)
