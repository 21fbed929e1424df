"""The routes for object stores and operators: notifications, dead letters, builds and differences."""

import hashlib
from dataclasses import replace

import orjson
import pytest

from tests.unit.serving import RELEASE, Serving, assert_problem
from visualsearch.domain.indexing import Delivery, Event, EventKind
from visualsearch.domain.releases import Build, ReleaseState

TOKEN = "a-token"
SHOWN = {"authorization": f"Bearer {TOKEN}"}
KEYS = ",".join(
    f"{who}:{role}:{hashlib.sha256(who.encode()).hexdigest()}" for who, role in (("w", "write"), ("r", "read"))
)


@pytest.fixture
async def serving():
    async with Serving(webhook_token=TOKEN) as serving:
        yield serving


def record(key, name="s3:ObjectCreated:Put", bucket="images", **thing):
    return {"eventName": name, "s3": {"bucket": {"name": bucket}, "object": {"key": key, **thing}}}


async def put(serving, *keys):
    for key in keys:
        await serving.object_store.put(key, b"a picture")


async def tell(serving, body, headers=SHOWN):
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return await serving.client.post("/events/s3", content=content, headers=headers)


def told(serving):
    return [entry.event for entry in serving.events.entries.values()]


async def test_notifications_of_aws_and_minio_become_events_with_decoded_keys_and_tags(serving):
    await put(serving, "my folder/ü%.jpg", "c.jpg")
    body = {
        "EventName": "s3:ObjectCreated:Put",
        "Records": [
            record("my+folder/%C3%BC%25.jpg", eTag='"abc"', versionId="7"),
            record("b.jpg", "ObjectRemoved:Delete"),
            record("c.jpg", "ObjectCreated:CompleteMultipartUpload", versionId="7"),
        ],
    }
    answer = await tell(serving, body)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 3, "refused": []})
    assert told(serving) == [
        Event(EventKind.CREATED, serving.object_store.uri("my folder/ü%.jpg"), etag="abc"),
        Event(EventKind.DELETED, serving.object_store.uri("b.jpg")),
        Event(EventKind.CREATED, serving.object_store.uri("c.jpg"), etag="7"),
    ]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record("a", "s3:ReducedRedundancyLostObject"), "not used"),
        (record("a", bucket="other"), "not ours"),
        (record("a" * 2000), "bytes"),
        (record(""), "empty steps"),
        (record("a/../b"), "empty steps"),
        (record("a%00b"), "control"),
        (record("queries/7"), "reserved"),
        (record("queries%5C7"), "reserved"),
        (record("queries\\7"), "reserved"),
        (record("/queries/7"), "reserved"),
        (record("./queries//7"), "reserved"),
        (record("Queries/7"), "reserved"),
        (record("a/../queries/7"), "empty steps"),
        (record("a%5Cb"), "backslashes"),
        (record(".visualsearch/probe"), "reserved"),
        (record("uploads/7.jpg"), "reserved for uploads"),
        (record("uploads%5C7.jpg"), "reserved for uploads"),
        (record("uploads%5C7.jpg", "s3:ObjectRemoved:Delete"), "reserved for uploads"),
        ({"eventName": "s3:ObjectCreated:Put"}, "no bucket or no key"),
        ({"eventName": "s3:ObjectCreated:Put", "s3": {"bucket": {"name": "images"}, "object": {"key": 7}}}, "no key"),
        ({}, "not used"),
    ],
)
async def test_an_irrelevant_record_is_refused_with_a_reason_without_affecting_others(serving, bad, reason):
    await put(serving, "a.jpg")
    answer = await tell(serving, {"Records": [record("a.jpg"), bad]})
    assert answer.status_code == 202
    assert answer.json()["accepted"] == len(told(serving)) == 1
    (refused,) = answer.json()["refused"]
    assert refused["record"] == 1
    assert reason in refused["reason"]
    assert 'visualsearch_store_notices_total{outcome="refused"}' in (await serving.client.get("/metrics")).text


@pytest.mark.parametrize(
    "body",
    [b"", b"no json", b"[]", b"7", b'{"Records": 7}', b'{"Records": [7]}', orjson.dumps({"Records": [{}] * 101})],
)
async def test_a_malformed_notification_is_refused(serving, body):
    assert_problem(await tell(serving, body), 422)
    assert not told(serving)


async def test_a_test_notification_is_accepted(serving):
    assert (await tell(serving, {"Service": "Amazon S3", "Event": "s3:TestEvent"})).json()["accepted"] == 0


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer another"}, {"authorization": TOKEN[:-1]}])
async def test_a_notification_without_the_token_is_refused(serving, headers):
    assert_problem(await tell(serving, {"Records": [record("a.jpg")]}, headers), 401)
    assert not told(serving)


async def test_a_token_without_the_word_bearer_is_accepted(serving):
    assert (await tell(serving, {"Records": []}, {"authorization": TOKEN})).status_code == 202


async def test_without_a_configured_token_every_notification_is_refused():
    async with Serving() as serving:
        assert_problem(await tell(serving, {"Records": []}, {"authorization": "Bearer "}), 401)


async def test_a_key_that_may_write_may_send_notifications():
    async with Serving(api_keys=KEYS) as serving:
        for who, status in (("w", 202), ("r", 403), ("x", 401)):
            assert (await tell(serving, {"Records": []}, {"authorization": f"Bearer {who}"})).status_code == status


async def test_while_the_stream_is_down_the_store_is_asked_to_retry(serving):
    await put(serving, "a.jpg")
    serving.events.down = True
    assert_problem(await tell(serving, {"Records": [record("a.jpg")]}), 503)


async def test_while_the_object_store_is_down_the_store_is_asked_to_retry(serving):
    serving.object_store.down = True
    assert_problem(await tell(serving, {"Records": [record("a.jpg")]}), 503)
    assert (await tell(serving, {"Records": [record("a.jpg", "s3:ObjectRemoved:Delete")]})).status_code == 202


async def test_objects_that_do_not_exist_make_no_events_and_so_no_dead_letters(serving):
    await put(serving, "there.jpg")
    records = [*(record(f"never/{number}.jpg") for number in range(99)), record("there.jpg")]
    answer = await tell(serving, {"Records": records})
    assert answer.json()["accepted"] == 1
    assert [refused["record"] for refused in answer.json()["refused"]] == list(range(99))
    assert "no such object" in answer.json()["refused"][0]["reason"]
    assert [event.uri for event in told(serving)] == [serving.object_store.uri("there.jpg")]


async def test_a_sender_of_too_many_records_has_to_wait_and_another_has_not():
    async with Serving(webhook_token=TOKEN, webhook_rate=50, api_keys=KEYS) as serving:
        await put(serving, "a.jpg")
        many = {"Records": [record("a.jpg")] * 100}
        assert (await tell(serving, many)).json()["accepted"] == 100
        assert_problem(refused := await tell(serving, many), 429)
        assert int(refused.headers["retry-after"]) == 1
        assert (await tell(serving, many, {"authorization": "Bearer w"})).status_code == 202
        serving.clock.advance(1.1)
        assert (await tell(serving, many)).status_code == 202


@pytest.fixture
async def buried(serving):
    for number in range(3):
        event = Event(EventKind.CREATED, serving.object_store.uri(f"{number}.jpg"))
        await serving.events.dead_letter(Delivery(f"{number}-1", event, 5), f"reason {number}")
    return sorted(serving.events.dead)


async def test_dead_letters_are_listed_newest_first_with_their_reasons(serving, buried):
    letters = (await serving.client.get("/dead-letters?limit=2")).json()
    assert [letter["reason"] for letter in letters] == ["reason 2", "reason 1"]
    assert letters[0]["uri"] == "s3://images/2.jpg"
    assert letters[0]["deliveries"] == 5


async def test_dead_letters_are_requeued_one_by_one_or_all_at_once(serving, buried):
    one = await serving.client.post("/dead-letters/retry", json={"entries": [buried[1], "no such entry"]})
    assert one.json() == {"retried": 1}
    rest = await serving.client.post("/dead-letters/retry", json={})
    assert rest.json() == {"retried": 2}
    assert len(told(serving)) == 3
    assert (await serving.client.get("/dead-letters")).json() == []


async def test_only_administrators_may_handle_dead_letters_without_an_owner():
    async with Serving(api_keys=KEYS) as serving:
        event = Event(EventKind.CREATED, serving.object_store.uri("none.jpg"))
        await serving.events.dead_letter(Delivery("1-1", event, 5), "a reason")
        headers = {"authorization": "Bearer w"}
        assert (await serving.client.get("/dead-letters", headers=headers)).json() == []
        assert (await serving.client.post("/dead-letters/retry", json={}, headers=headers)).json() == {"retried": 0}
        reader = {"authorization": "Bearer r"}
        assert_problem(await serving.client.post("/dead-letters/retry", json={}, headers=reader), 403)


async def test_stats_and_metrics_contain_builds_and_differences(serving):
    await serving.release_repository.add(replace(RELEASE, name="v2"), ReleaseState.BUILDING)
    await serving.release_repository.record_build(Build("v2", 40, 30, 100))
    await serving.indexing_progress.record_differences({("", "row without an object"): 2})
    stats = (await serving.client.get("/stats")).json()
    assert stats["builds"] == [{"release": "v2", "up_to": 40, "done": 30, "total": 100}]
    assert stats["differences"] == [{"release": "", "kind": "row without an object", "number": 2}]
    metrics = (await serving.client.get("/metrics")).text
    assert 'visualsearch_build_images{part="done",release="v2"} 30.0' in metrics
    assert 'visualsearch_differences{kind="row without an object",release=""} 2.0' in metrics
