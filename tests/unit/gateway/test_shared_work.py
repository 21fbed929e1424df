"""What many ask for at the same time is computed once."""

import asyncio
import time

import pytest

from gateway.shared_work import PacedWork, SharedWork
from tests.pictures import jpeg
from tests.unit.gateway.test_caller_limits import KEYS, key
from tests.unit.serving import Serving
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.images import NewImage
from visualsearch.imaging import preprocessing


class Work:
    def __init__(self, result=b"result"):
        self.times = 0
        self._result = result

    async def __call__(self):
        self.times += 1
        await asyncio.sleep(0)
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


async def test_all_who_ask_at_once_share_one_computation():
    shared, work = SharedWork(1000), Work()
    assert set(await asyncio.gather(*(shared.get("key", work) for _ in range(20)))) == {b"result"}
    assert await shared.get("key", work) == b"result"
    assert work.times == 1


async def test_who_leaves_takes_nothing_from_the_others():
    shared, work = SharedWork(1000), Work()
    first, second = (asyncio.create_task(shared.get("key", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == b"result"
    assert work.times == 1


async def test_errors_are_not_kept():
    shared, work = SharedWork(1000), Work(Unavailable("The object store"))
    for _ in range(2):
        with pytest.raises(Unavailable):
            await shared.get("key", work)
    assert work.times == 2


async def test_the_least_recently_used_make_room_and_the_too_large_are_not_kept():
    shared, works = SharedWork(10), {key: Work(b"x" * size) for key, size in {"a": 6, "b": 6, "huge": 11}.items()}
    for name in ("a", "b", "huge", "b", "a", "huge"):
        await shared.get(name, works[name])
    assert {key: work.times for key, work in works.items()} == {"a": 2, "b": 1, "huge": 2}


async def test_a_thumbnail_is_made_once_however_many_ask(monkeypatch):
    made = []

    def counted(data, size, thumbnail=preprocessing.thumbnail):
        made.append(size)
        return thumbnail(data, size)

    monkeypatch.setattr("gateway.image_service.thumbnail", counted)
    async with Serving() as serving:
        image_id = await serving.index(jpeg(1))
        address = f"/images/{image_id}/content?size=64"
        answers = await asyncio.gather(*(serving.client.get(address) for _ in range(20)))
        assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
        assert made == [64]
        assert (await serving.client.delete(f"/images/{image_id}")).status_code == 204
        assert (await serving.client.get(address)).status_code == 404


async def test_a_thumbnail_shows_what_an_object_holds_now_while_its_content_is_unknown():
    async with Serving() as serving:
        key = "uploads/a.jpg"
        image = await serving.image_repository.register(NewImage(serving.object_store.uri(key)))
        thumbnails = []
        for data in (jpeg(1), jpeg(2)):
            await serving.object_store.put(key, data)
            thumbnails.append((await serving.client.get(f"/images/{image.id}/content?size=64")).content)
        assert thumbnails == [preprocessing.thumbnail(data, 64) for data in (jpeg(1), jpeg(2))]


async def test_nobody_waits_for_a_thumbnail_in_the_pace_of_another():
    async with Serving(caller_share=1, api_keys=KEYS) as serving:
        address = f"/images/{await serving.index(jpeg(1))}/content?size=64"

        async def ask(owner):
            return await serving.client.get(address, headers=key(owner))

        await serving.client.get("/stats", headers=key("bob"))
        with serving.gateway.limits.request("ann", "127.0.0.1", 1) as account:
            while account.budget.pace_s(account.caller) < 0.6:
                account.charge(20)
        slow = asyncio.create_task(ask("ann"))
        await asyncio.sleep(0.05)
        assert (await ask("bob")).status_code == 200
        assert not slow.done()
        assert (await slow).status_code == 200


async def test_paced_work_is_done_once_for_all_who_ask_and_not_too_often():
    runs = []

    async def work():
        runs.append(time.monotonic())
        await asyncio.sleep(0)
        return len(runs)

    paced = PacedWork(work, 0.1)
    assert await asyncio.gather(*(paced.result() for _ in range(20))) == [1] * 20
    assert await asyncio.gather(*(paced.result() for _ in range(20))) == [2] * 20
    assert runs[1] - runs[0] >= 0.09


async def test_no_result_of_paced_work_is_older_than_the_question():
    begun, going, runs = asyncio.Event(), asyncio.Event(), []

    async def work():
        runs.append(1)
        begun.set()
        await going.wait()

    paced = PacedWork(work, 0)
    first = asyncio.create_task(paced.result())
    await begun.wait()
    late = asyncio.create_task(paced.result())
    await asyncio.sleep(0)
    going.set()
    await asyncio.gather(first, late)
    assert len(runs) == 2


async def test_a_failure_of_paced_work_is_everybodys_and_is_forgotten():
    async def work():
        raise Unavailable("Triton")

    paced = PacedWork(work, 0)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await paced.result()
