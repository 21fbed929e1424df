"""Interactions are recorded outside the request path, never lost silently, and written once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from gateway.interactions import interaction_recorder as recording
from gateway.interactions.interaction_recorder import InteractionRecorder
from indexer.maintenance.retention import Retention
from indexer.pipeline import interaction_writer
from indexer.pipeline.interaction_writer import InteractionWriter
from tests.eventually import eventually
from tests.fakes.audit_log import FakeAuditLog
from tests.fakes.event_stream import FakeEventStream
from tests.fakes.image_repository import FakeImages
from tests.fakes.interaction_queue import FakeInteractionQueue
from tests.fakes.interaction_repository import FakeInteractions
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.release_repository import FakeReleases
from tests.pictures import jpeg
from tests.unit.serving import KEY, Serving, assert_problem
from visualsearch.adapters.messages import decode_interaction, encode_interaction
from visualsearch.domain.errors import Unavailable
from visualsearch.domain.indexing import ObjectInfo
from visualsearch.domain.interactions import Click, Search, hashed_user


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(recording, "PAUSE_S", 0.01)
    monkeypatch.setattr(interaction_writer, "BLOCK_S", 0.01)
    monkeypatch.setattr(interaction_writer, "FIRST_PAUSE_S", 0.01)


def search(number: int) -> Search:
    return Search(number, "v1", (1, 2, 3))


def test_a_user_has_one_pseudonym_that_depends_on_the_key():
    assert hashed_user("key", 7) == hashed_user("key", 7)
    assert len({hashed_user(key, user) for key in ("key", "other") for user in range(-50, 50)}) == 200
    assert all(0 <= hashed_user("key", user) < 2**63 for user in (0, -1, 2**63 - 1))
    assert hashed_user("key", None) is None
    assert hashed_user("", 7) is None


def test_a_recorded_interaction_is_read_back_unchanged():
    for interactions in (
        Search(9, "v1", (3, 2), 4, True, "1,2,3,4", "queries/9", {"x": "é"}),
        Click(9, 3, 1, None, False),
    ):
        assert decode_interaction(encode_interaction(interactions)) == interactions


async def test_interactions_during_an_outage_of_the_queue_are_queued_later_in_order():
    interaction_queue = FakeInteractionQueue()
    interaction_recorder = InteractionRecorder(interaction_queue)
    interaction_queue.down = True
    for number in range(5):
        interaction_recorder.searched(search(number))
    with pytest.raises(Unavailable):
        await interaction_recorder.clicked(Click(0, 1, 1))
    await eventually(lambda: interaction_queue.refused > 2)
    assert not interaction_queue.entries
    interaction_queue.down = False
    await interaction_recorder.clicked(Click(4, 1, 1))
    assert [type(one) for one in interaction_queue.interactions] == [Search] * 5 + [Click]
    assert [one.query_image_id for one in interaction_queue.interactions] == [0, 1, 2, 3, 4, 4]
    await interaction_recorder.close()


async def test_a_click_does_not_wait_for_a_hanging_queue(monkeypatch):
    monkeypatch.setattr(recording, "CLICK_S", 0.05)
    interaction_queue = FakeInteractionQueue()
    interaction_recorder = InteractionRecorder(interaction_queue)
    begun, hanging = asyncio.Event(), asyncio.Event()

    async def hang(interactions):
        begun.set()
        await hanging.wait()

    interaction_queue.append = hang
    interaction_recorder.searched(search(1))
    await begun.wait()
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable):
            await interaction_recorder.clicked(Click(1, 1, 1))
    hanging.set()
    await interaction_recorder.close()


async def test_the_buffer_is_bounded_and_dropped_searches_are_logged(caplog):
    interaction_queue = FakeInteractionQueue()
    interaction_recorder = InteractionRecorder(interaction_queue, max_held=3)
    interaction_queue.down = True
    for number in range(5):
        interaction_recorder.searched(search(number))
    await eventually(lambda: interaction_queue.refused)
    interaction_queue.down = False
    await eventually(lambda: "2 searches are lost" in caplog.text)
    assert [one.query_image_id for one in interaction_queue.interactions] == [0, 1, 2]
    await interaction_recorder.close()


async def test_searches_that_cannot_be_queued_before_shutdown_are_logged(caplog):
    interaction_queue = FakeInteractionQueue()
    interaction_queue.down = True
    interaction_recorder = InteractionRecorder(interaction_queue)
    interaction_recorder.searched(search(1))
    await interaction_recorder.close(0.05)
    assert "1 searches are lost" in caplog.text


async def test_while_the_queue_is_down_a_search_is_answered_and_a_click_is_refused():
    async with Serving() as serving:
        image = await serving.index(jpeg(1))
        serving.interaction_queue.down = True
        answer = await serving.search(jpeg(1))
        assert answer.status_code == 200
        body = {"user_id": 7, "query_image_id": answer.json()["query_image_id"], "displayed_image_id": image, "rank": 1}
        assert_problem(await serving.client.post("/click", json=body), 503)
        serving.interaction_queue.down = False
        assert (await serving.client.post("/click", json=body)).status_code == 204
        assert [type(one) for one in serving.interaction_queue.interactions] == [Search, Click]


async def test_while_postgres_is_down_a_click_is_queued_unchecked():
    async with Serving() as serving:
        serving.image_repository.down = True
        body = {"user_id": 7, "query_image_id": 12, "displayed_image_id": 13, "rank": 1}
        assert (await serving.client.post("/click", json=body)).status_code == 204
        (click,) = serving.interaction_queue.interactions
        assert (click.checked, click.user) == (False, hashed_user(KEY, 7))


async def test_without_a_key_no_user_is_recorded():
    async with Serving(user_id_key="") as serving:
        await serving.search(jpeg(1), user_id="7")
        await serving.gateway.drain()
        assert [one.user for one in serving.interaction_queue.interactions] == [None]


async def test_the_metrics_contain_the_queue():
    async with Serving() as serving:
        await serving.search(jpeg(1))
        await eventually(lambda: serving.interaction_queue.entries)
        assert "visualsearch_interactions_waiting 1.0" in (await serving.client.get("/metrics")).text


class Writing:
    """A writer over fakes, at work."""

    def __init__(self):
        self.interaction_queue, self.interaction_repository, self.stop = (
            FakeInteractionQueue(),
            FakeInteractions(),
            asyncio.Event(),
        )

    async def __aenter__(self):
        self.task = asyncio.create_task(
            InteractionWriter("one", self.interaction_queue, self.interaction_repository).run(self.stop)
        )
        return self

    async def __aexit__(self, *_):
        self.stop.set()
        await self.task


async def test_queued_interactions_are_written_and_acknowledged():
    async with Writing() as at:
        await at.interaction_queue.append([search(1), Click(1, 2, 1)])
        await eventually(lambda: not at.interaction_queue.entries)
        assert len(at.interaction_repository.interactions) == 2


async def test_interactions_read_while_postgres_is_down_are_written_when_it_is_back():
    async with Writing() as at:
        at.interaction_repository.down = True
        await at.interaction_queue.append([search(1)])
        await eventually(lambda: at.interaction_repository.refused)
        assert len(at.interaction_queue.entries) == 1
        at.interaction_repository.down = False
        await eventually(lambda: not at.interaction_queue.entries)
        assert len(at.interaction_repository.searches) == 1


async def test_an_interaction_that_was_written_but_not_acknowledged_is_not_written_again():
    async with Writing() as at:
        done = at.interaction_queue.done
        tries = []

        async def unlucky(entry_ids):
            tries.append(entry_ids)
            if len(tries) == 1:
                raise Unavailable("Valkey")
            await done(entry_ids)

        at.interaction_queue.done = unlucky
        await at.interaction_queue.append([search(1)])
        await eventually(lambda: not at.interaction_queue.entries)
        assert len(at.interaction_repository.interactions) == 1


async def test_an_interaction_that_cannot_be_written_does_not_block_the_others(caplog):
    async with Writing() as at:
        await at.interaction_queue.append([search(1), search(2**63), search(2)])
        at.interaction_queue.entries["x"] = "nothing that is known"
        await eventually(lambda: not at.interaction_queue.entries)
        assert [one.query_image_id for one in at.interaction_repository.searches] == [1, 2]
        assert len(at.interaction_queue.dead) == 2
    assert "goes to the dead letters" in caplog.text


async def test_a_click_on_an_unknown_search_or_image_is_dropped_and_logged(caplog):
    async with Writing() as at:
        at.interaction_repository.real = {1, 2}
        await at.interaction_queue.append([Click(1, 2, 1, checked=False), Click(1, 3, 1, checked=False)])
        await eventually(lambda: not at.interaction_queue.entries)
        assert len(at.interaction_repository.interactions) == 1
    assert "1 clicks were dropped" in caplog.text


def retention(interaction_repository, object_store):
    images = FakeImages()
    audit_log = FakeAuditLog(images, FakeReleases(images))
    queue = FakeInteractionQueue()
    return Retention(
        "one", FakeEventStream(), interaction_repository, queue, object_store, audit_log, days=10, audit_days=400
    )


async def test_pictures_of_queries_are_deleted_when_they_are_old(monkeypatch):
    object_store, interaction_repository = FakeObjectStore(), FakeInteractions()
    for key in ("queries/1", "queries/2", "uploads/1"):
        await object_store.put(key, b"x")
    walk = object_store.walk

    async def aged(prefix="", after=""):
        async for page in walk(prefix, after):
            old = datetime.now(UTC) - timedelta(days=11)
            yield [
                ObjectInfo(one.key, one.size, one.etag, old if one.key[-1] == "1" else datetime.now(UTC))
                for one in page
            ]

    object_store.walk = aged
    await retention(interaction_repository, object_store).enforce()
    assert set(object_store.objects) == {"queries/2", "uploads/1"}
    assert interaction_repository.kept_days == 10


async def test_retention_waits_for_a_server_that_is_down():
    object_store, interaction_repository, stop = FakeObjectStore(), FakeInteractions(), asyncio.Event()
    interaction_repository.down = True
    task = asyncio.create_task(retention(interaction_repository, object_store).run(stop))
    await eventually(lambda: interaction_repository.refused)
    assert not task.done()
    stop.set()
    await task
