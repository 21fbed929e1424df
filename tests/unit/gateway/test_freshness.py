"""When searches see uploads, on fakes."""

import asyncio
import time

import pytest

from tests.eventually import eventually
from tests.pictures import jpeg
from tests.unit.serving import RELEASE, Serving, assert_problem
from visualsearch.domain.images import Status


@pytest.fixture
async def serving():
    async with Serving() as serving:
        yield serving


@pytest.fixture
def settled(serving, monkeypatch):
    """Collections that were waited for."""
    names = []

    async def settle(collection):
        names.append(collection)

    monkeypatch.setattr(serving.vectors, "settle", settle)
    return names


async def test_only_a_search_with_strong_consistency_waits_for_all_writes(serving, settled):
    image = await serving.index(jpeg(1))
    for fields in ({}, {"consistency": "bounded"}):
        assert (await serving.search(jpeg(1), **fields)).status_code == 200
    assert settled == []
    assert (await serving.search(jpeg(1), consistency="strong")).status_code == 200
    await serving.client.get(f"/images/{image}/similar", params={"consistency": "strong"})
    assert settled == [RELEASE.collection] * 2


@pytest.mark.parametrize("value", ["", "eventual"])
async def test_another_consistency_is_refused(serving, value):
    assert_problem(await serving.search(jpeg(1), consistency=value), 422)


async def test_one_can_wait_until_an_upload_is_indexed(serving):
    image = (await serving.upload(jpeg(1))).json()["id"]
    looks, get = [], serving.image_repository.get

    async def look(image_id):
        looks.append(image_id)
        return await get(image_id)

    serving.image_repository.get = look
    asked = asyncio.create_task(serving.client.get(f"/images/{image}", params={"wait_s": 10}))
    await eventually(lambda: len(looks) > 2)
    assert not asked.done()
    await serving.image_repository.mark_rejected(image, "so that it is pending no more")
    assert (await asked).json()["status"] == Status.REJECTED


async def test_waiting_ends_at_the_timeout(serving):
    image = (await serving.upload(jpeg(1))).json()["id"]
    begin = time.monotonic()
    answer = await serving.client.get(f"/images/{image}", params={"wait_s": 0.3})
    assert answer.json()["status"] == Status.PENDING
    assert time.monotonic() - begin >= 0.3
    for wait_s in (-1, 31, "x"):
        assert_problem(await serving.client.get(f"/images/{image}", params={"wait_s": wait_s}), 422)


async def test_the_same_query_gives_the_same_results_with_ties_ordered_by_id(serving):
    for _ in range(5):
        await serving.index(jpeg(1))
    answers = [(await serving.search(jpeg(1), near_duplicates="keep")).json()["results"] for _ in range(3)]
    assert [hit["id"] for hit in answers[0]] == sorted(hit["id"] for hit in answers[0])
    assert answers[0] == answers[1] == answers[2]
