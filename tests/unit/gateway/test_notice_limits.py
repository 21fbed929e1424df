"""What one sender of notifications may take: requests in progress, bytes in memory, and records."""

import asyncio

import orjson
import pytest

from gateway.api.notification_senders import MAX_MESSAGE_BYTES
from tests.eventually import eventually
from tests.topic import TOPIC, AmazonSns
from tests.unit.gateway.test_operations import KEYS, SHOWN, TOKEN, put, record, tell, told
from tests.unit.serving import Serving, assert_problem
from visualsearch.adapters.sns.topics import SnsTopics

WRITER = {"authorization": "Bearer w"}
SNS = {"x-amz-sns-message-type": "Notification"}


@pytest.fixture
async def serving():
    topics = SnsTopics([TOPIC], AmazonSns().transport)
    async with Serving(webhook_token=TOKEN, api_keys=KEYS, topics=topics, max_per_caller=2) as serving:
        yield serving


def slow_body(go_on):
    async def parts():
        yield b'{"Records": '
        await go_on.wait()
        yield b"[]}"

    return parts()


@pytest.mark.parametrize("headers", [SHOWN, WRITER, SNS])
async def test_a_sender_has_so_many_notifications_in_progress_and_no_more(serving, headers):
    go_on = asyncio.Event()

    async def send(body):
        return await serving.client.post("/events/s3", content=body, headers=headers)

    waiting = [asyncio.create_task(send(slow_body(go_on))) for _ in range(2)]
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        third = asyncio.create_task(send(slow_body(go_on)))
        await asyncio.sleep(0.05)
        done = third.done()
        go_on.set()
        assert_problem(await third, 429)
    assert done, "it is refused before its body is read"
    assert "2 requests in progress" in third.result().json()["detail"]
    await asyncio.gather(*waiting)


async def test_the_connections_of_a_store_count_together(serving):
    go_on = asyncio.Event()
    clients = [serving.client_from("127.0.0.1"), serving.client_from("10.0.0.1"), serving.client_from("10.0.0.2")]
    sent = [
        asyncio.create_task(client.post("/events/s3", content=slow_body(go_on), headers=SHOWN)) for client in clients
    ]
    await eventually(lambda: any(one.done() for one in sent))
    go_on.set()
    assert sorted(answer.status_code for answer in await asyncio.gather(*sent)) == [202, 202, 429]


@pytest.mark.parametrize("headers", [SHOWN, WRITER, SNS])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_notification_is_refused_before_all_of_it_is_in_memory(serving, headers, chunked):
    await put(serving, "a.jpg")
    body = orjson.dumps({"Records": [record("a.jpg")], "more": "x" * MAX_MESSAGE_BYTES})
    read = []

    async def parts():
        for part in (body, body, body):
            read.append(len(part))
            yield part

    answer = (
        await tell(serving, body, headers)
        if not chunked
        else await serving.client.post("/events/s3", content=parts(), headers=headers)
    )
    assert_problem(answer, 413)
    assert "512 KB" in answer.json()["detail"]
    assert len(read) <= 1
    assert not told(serving)


async def test_a_notification_of_too_many_records_counts_as_well(serving):
    many = {"Records": [record("a.jpg")] * 101}
    answers = [(await tell(serving, many, WRITER)).status_code for _ in range(8)]
    assert answers[0] == 422
    assert answers[-1] == 429


@pytest.mark.parametrize("headers", [SHOWN, WRITER])
async def test_a_notification_and_its_body_are_charged(serving, headers, monkeypatch):
    charged = []
    monkeypatch.setattr("gateway.limits.caller_limits.Account.charge_body", lambda _, size: charged.append(size))
    body = orjson.dumps({"Records": [record("a.jpg")]})
    assert (await tell(serving, body, headers)).status_code == 202
    assert sum(charged) == len(body)
