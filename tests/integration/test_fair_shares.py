"""Limits of callers on the real servers: quotas, requests in progress, notifications."""

import asyncio
import hashlib
import uuid
from contextlib import asynccontextmanager

import httpx
import pytest

from gateway.api.app import create_app
from gateway.main import build
from gateway.process.worker_group import WorkerGroup
from tests.integration.test_rest import assert_problem
from tests.integration.test_store_events import tell
from tests.pictures import jpeg
from visualsearch.composition import open_stores
from visualsearch.imaging.picture_pool import PicturePool

pytestmark = pytest.mark.stack


@pytest.fixture
def owners():
    """Two owners of keys that no other test knows."""
    return [f"{name}-{uuid.uuid4().hex[:8]}" for name in ("ada", "bob")]


@asynccontextmanager
async def gateway(stack, folder, owners, **settings):
    """A gateway in this process, on the real servers, and a client of it."""
    keys = ",".join(f"{owner}:write:{hashlib.sha256(owner.encode()).hexdigest()}" for owner in owners)
    limited = stack.model_copy(update={"api_keys": keys, "caller_share": 0} | settings)
    with PicturePool(1) as pool:
        async with open_stores(limited) as stores:
            app = create_app()
            app.state.gateway = build(limited, stores, pool, WorkerGroup(folder, 1))
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=30) as client:
                yield client
            await app.state.gateway.drain()


def by(owner):
    return {"authorization": f"Bearer {owner}"}


async def upload(client, owner, seed):
    return await client.post("/images", files={"image": jpeg(seed)}, headers=by(owner))


async def test_uploads_at_the_same_time_do_not_exceed_a_quota_together(stack, tmp_path, owners):
    ada, bob = owners
    async with gateway(stack, tmp_path, owners, quota_images=2) as client:
        answers = await asyncio.gather(*(upload(client, ada, 700 + number) for number in range(6)))
        accepted = [answer.headers["location"] for answer in answers if answer.status_code == 202]
        refused = [answer for answer in answers if answer.status_code != 202]
        assert len(accepted) == 2
        for answer in refused:
            assert_problem(answer, 403)
        usage = (await client.get("/stats", headers=by(ada))).json()["usage"]
        assert (usage["images"], usage["images_limit"]) == (2, 2)
        assert (await upload(client, bob, 710)).status_code == 202
        assert (await client.delete(accepted[0], headers=by(ada))).status_code == 204
        assert (await upload(client, ada, 711)).status_code == 202


async def test_more_requests_in_progress_than_a_caller_may_have_are_refused_and_anothers_are_not(
    stack, tmp_path, owners
):
    ada, bob = owners
    async with gateway(stack, tmp_path, owners, max_per_caller=2) as client:

        async def search(owner):
            return await client.post("/search", files={"image": jpeg(720)}, headers=by(owner))

        *answers, others = await asyncio.gather(*(search(ada) for _ in range(8)), search(bob))
        assert others.status_code == 200
        assert {answer.status_code for answer in answers} == {200, 429}
        for refused in (answer for answer in answers if answer.status_code == 429):
            assert_problem(refused, 429)


def test_one_notice_makes_no_dead_letters_of_objects_that_do_not_exist(stack, api):
    before = len(api.get("/dead-letters", params={"limit": 1000}).json())
    record = {"eventName": "s3:ObjectCreated:Put", "s3": {"bucket": {"name": stack.s3_bucket}}}
    records = [{**record, "s3": {**record["s3"], "object": {"key": f"nowhere/{number}.jpg"}}} for number in range(101)]
    assert_problem(tell(api, stack, {"Records": records}), 422)
    answer = tell(api, stack, {"Records": records[:100]})
    assert answer.json()["accepted"] == 0
    assert len(answer.json()["refused"]) == 100
    assert len(api.get("/dead-letters", params={"limit": 1000}).json()) == before
