"""Keys of Postgres, as a gateway checks them."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from gateway.grpc import visualsearch_pb2 as pb
from gateway.grpc import visualsearch_pb2_grpc as pb_grpc
from gateway.grpc.server import serve
from gateway.stored_keys import MAX_AGE_S, OUTAGE_S, REFRESH_S, USE_S, StoredKeys
from tests.clock import StillClock
from tests.eventually import eventually
from tests.fakes.api_key_repository import FakeApiKeys
from tests.pictures import jpeg
from tests.unit.gateway.test_host_policy import code, free_address
from tests.unit.serving import Serving, assert_problem
from visualsearch.domain.access import KeyText, Scope, new_key
from visualsearch.domain.errors import Unavailable

WITHIN_S = 5.0
"""How soon a change of keys is effective."""
UNKNOWN = f"vs_{'0' * 12}_{'0' * 64}"


async def make(api_keys, *scopes, owner="ada", expires_at=None):
    """Store a key for these scopes; return its text and its id."""
    text = KeyText.make()
    await api_keys.add(new_key(text, owner, frozenset(scopes or {Scope.SEARCH}), expires_at, ""))
    return text.text, text.id


async def status(serving, key="", path="/stats", method="GET"):
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return (await serving.client.request(method, path, headers=headers)).status_code


@pytest.fixture
async def serving():
    async with Serving(require_keys=True) as serving:
        yield serving


@pytest.fixture
def api_keys():
    return FakeApiKeys()


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture
async def stored(api_keys, clock):
    stored = StoredKeys(api_keys, clock)
    yield stored
    await stored.close()


async def test_the_first_stored_key_closes_the_gateway_and_revoking_it_does_not_open_it():
    async with Serving() as serving:
        assert await status(serving) == 200
        key, key_id = await make(serving.api_keys)
        serving.clock.advance(WITHIN_S)
        assert await status(serving) == 401
        assert await status(serving, key) == 200
        await serving.api_keys.revoke(key_id)
        serving.clock.advance(WITHIN_S)
        assert await status(serving) == 401


async def test_where_keys_are_required_nobody_gets_in_before_the_first_is_made(serving):
    assert_problem(await serving.client.get("/stats"), 401)


async def test_a_key_works_soon_after_it_is_made_and_stops_soon_after_it_is_revoked(serving):
    assert await status(serving, UNKNOWN) == 401
    key, key_id = await make(serving.api_keys)
    serving.clock.advance(WITHIN_S)
    assert await status(serving, key) == 200
    await serving.api_keys.revoke(key_id)
    serving.clock.advance(WITHIN_S)
    assert await status(serving, key) == 401


async def test_an_idle_gateway_does_not_go_by_what_it_knew(serving):
    key, key_id = await make(serving.api_keys)
    assert await status(serving, key) == 200
    await serving.api_keys.revoke(key_id)
    serving.clock.advance(3600)
    assert await status(serving, key) == 401


async def test_scopes_open_their_calls_and_no_other(serving):
    calls = {"search": ("GET", "/stats"), "ingest": ("DELETE", "/images/1"), "admin": ("GET", "/releases")}
    for given in Scope:
        key, _ = await make(serving.api_keys, given)
        serving.clock.advance(WITHIN_S)
        for scope, (method, path) in calls.items():
            refused = await status(serving, key, path, method) == 403
            assert refused == (given not in {scope, Scope.ADMIN}), (given, scope)


async def test_the_owner_of_a_stored_key_owns_what_it_uploads(serving):
    keys = {owner: (await make(serving.api_keys, *Scope, owner=owner))[0] for owner in ("ada", "bob")}
    headers = {owner: {"authorization": f"Bearer {key}"} for owner, key in keys.items()}
    stored = await serving.upload(jpeg(1), headers["ada"], visibility="private")
    assert stored.status_code == 202
    image = serving.image_repository.images[stored.json()["id"]]
    assert image.owner == "ada"


async def test_a_key_that_expires_stops_without_any_change_in_postgres(serving):
    key, _ = await make(serving.api_keys, expires_at=datetime.now(UTC) + timedelta(seconds=0.3))
    assert await status(serving, key) == 200
    await asyncio.sleep(0.4)
    assert await status(serving, key) == 401
    assert serving.api_keys.asked == 1


@pytest.mark.parametrize(
    "change", [lambda key: key[:-1], lambda key: key + "0", lambda key: key.upper(), lambda key: key[:-1] + "g"]
)
async def test_a_malformed_key_is_unknown(serving, change):
    key, _ = await make(serving.api_keys)
    assert await status(serving, change(key)) == 401


async def test_the_id_of_a_key_with_another_secret_is_unknown(serving):
    _, key_id = await make(serving.api_keys)
    assert await status(serving, f"vs_{key_id}_{'0' * 64}") == 401


async def test_grpc_decides_by_the_same_keys(serving):
    key, _ = await make(serving.api_keys)
    ingest, _ = await make(serving.api_keys, Scope.INGEST)
    address = free_address()
    async with serve(serving.gateway, address, 1), grpc.aio.insecure_channel(address) as channel:
        embed, request = pb_grpc.VisualSearchStub(channel).Embed, pb.EmbedRequest(image_bytes=jpeg(1))
        assert (await embed(request, metadata=[("authorization", f"Bearer {key}")])).values
        assert await code(embed(request)) is grpc.StatusCode.UNAUTHENTICATED
        assert await code(embed(request, metadata=[("x-api-key", UNKNOWN)])) is grpc.StatusCode.UNAUTHENTICATED
        assert await code(embed(request, metadata=[("x-api-key", ingest)])) is grpc.StatusCode.PERMISSION_DENIED
        many = await asyncio.gather(*(code(embed(request, metadata=[("x-api-key", UNKNOWN)])) for _ in range(60)))
        assert grpc.StatusCode.RESOURCE_EXHAUSTED in many, "wrong keys are slowed down here too"


async def test_guessing_costs_no_query_per_attempt(stored, api_keys):
    for number in range(1000):
        assert await stored.find(f"vs_{number:012x}_{'0' * 64}") is None
    assert api_keys.asked == 1


async def test_requests_do_not_wait_for_postgres_while_the_keys_are_fresh(stored, api_keys, clock):
    text, _ = await make(api_keys)
    assert await stored.find(text)
    answer = asyncio.Event()
    active = api_keys.active

    async def slow(known):
        await answer.wait()
        return await active(known)

    api_keys.active = slow
    clock.advance(REFRESH_S)
    assert await asyncio.wait_for(stored.find(text), 1)
    clock.advance(MAX_AGE_S)
    waiting = asyncio.create_task(stored.find(text))
    await asyncio.sleep(0)
    assert not waiting.done()
    answer.set()
    assert await waiting


async def test_many_requests_share_one_refresh(stored, api_keys, clock):
    text, _ = await make(api_keys)
    await asyncio.gather(*(stored.find(text) for _ in range(100)))
    clock.advance(MAX_AGE_S)
    await asyncio.gather(*(stored.find(text) for _ in range(100)))
    assert api_keys.asked == 2


async def test_during_an_outage_known_keys_go_on_for_a_while_and_then_nobody_gets_in(stored, api_keys, clock):
    text, _ = await make(api_keys)
    assert await stored.find(text)
    api_keys.down = True
    clock.advance(OUTAGE_S - 1)
    assert await stored.find(text)
    assert await stored.find(UNKNOWN) is None
    clock.advance(2)
    for attempt in (stored.find(text), stored.find(UNKNOWN), stored.any_made()):
        with pytest.raises(Unavailable):
            await attempt
    api_keys.down = False
    clock.advance(WITHIN_S)
    assert await stored.find(text)


async def test_a_key_that_is_revoked_right_after_an_outage_stops_soon(stored, api_keys, clock):
    text, key_id = await make(api_keys)
    assert await stored.find(text)
    api_keys.down = True
    clock.advance(30)
    assert await stored.find(text)
    api_keys.down = False
    await api_keys.revoke(key_id)
    clock.advance(WITHIN_S)
    assert await stored.find(text) is None


async def test_a_gateway_that_cannot_read_the_keys_answers_503_and_lets_nobody_in():
    async with Serving() as serving:
        serving.api_keys.down = True
        for path in ("/stats", "/images/1"):
            assert_problem(await serving.client.get(path), 503)
        assert await status(serving, path="/health") == 200


async def test_an_unexpected_fault_of_the_repository_is_a_503_too(serving, caplog):
    async def broken(known):
        raise RuntimeError("no such table")

    serving.api_keys.active = broken
    assert_problem(await serving.client.get("/stats", headers={"x-api-key": UNKNOWN}), 503)
    assert "no such table" in caplog.text


async def test_keys_of_the_environment_need_no_postgres():
    entry = f"eve:admin:{hashlib.sha256(b'a').hexdigest()}"
    async with Serving(api_keys=entry) as serving:
        serving.api_keys.down = True
        assert await status(serving, "a") == 200
        assert await status(serving, "b") == 401
        assert await status(serving, UNKNOWN) == 503


async def test_the_last_use_is_written_in_the_background_at_most_once_a_minute(stored, api_keys, clock):
    text, key_id = await make(api_keys)
    marked, mark_used = [], api_keys.mark_used

    async def mark(ids):
        marked.append(set(ids))
        await mark_used(ids)

    api_keys.mark_used = mark
    for _ in range(50):
        assert await stored.find(text)
    await eventually(lambda: marked)
    clock.advance(USE_S - 1)
    await stored.find(text)
    assert marked == [{key_id}]
    clock.advance(1)
    await stored.find(text)
    await eventually(lambda: len(marked) == 2)
    assert api_keys.keys[key_id].last_used_at is not None


async def test_a_use_that_cannot_be_written_hinders_nobody(stored, api_keys):
    text, _ = await make(api_keys)
    await stored.any_made()
    api_keys.down = True
    assert await stored.find(text)
    await stored.close()


async def test_no_request_waits_for_a_server_that_went_down_during_a_pause(api_keys, clock, monkeypatch):
    monkeypatch.setattr("gateway.stored_keys.REFRESH_S", 0.01)
    stored, stop = StoredKeys(api_keys, clock), asyncio.Event()
    text, _ = await make(api_keys)
    running = asyncio.create_task(stored.run(stop))
    await eventually(lambda: api_keys.asked)
    clock.advance(MAX_AGE_S - 1)
    before = api_keys.asked
    await eventually(lambda: api_keys.asked > before)  # although nobody calls

    async def hang(_known):
        await asyncio.sleep(60)

    monkeypatch.setattr(api_keys, "active", hang)
    clock.advance(MAX_AGE_S - 1)
    async with asyncio.timeout(5):
        assert (await stored.find(text)).owner == "ada"
    stop.set()
    await running
    await stored.close()
