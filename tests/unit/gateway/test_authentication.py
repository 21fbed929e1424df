"""Keys of the environment, scopes and rates."""

import asyncio
import hashlib

import pytest

from gateway.authentication import AccessControl
from gateway.caller import OPERATOR, Caller
from gateway.credentials import Authenticator, EnvironmentKeys
from gateway.process.rate_limits import AWAY_S, CALLERS, LocalRateLimit, SharedRateLimit
from gateway.stored_keys import StoredKeys
from tests.clock import StillClock
from tests.fakes.api_key_repository import FakeApiKeys
from tests.unit.serving import Serving
from visualsearch.domain.access import Scope
from visualsearch.domain.errors import ConfigurationError, Forbidden, RateLimited, Unauthenticated, Unavailable

READER = frozenset({Scope.SEARCH})
STRANGER = Caller("", READER)


def entry(owner, role, key):
    return f"{owner}:{role}:{hashlib.sha256(key.encode()).hexdigest()}"


KEYS = ", ".join([entry("ada", "read", "r"), entry("bob", "write", "w"), entry("eve", "admin", "a")])


def guarded(keys, rates=None, limit_loopback=False):
    return AccessControl(
        Authenticator(EnvironmentKeys(keys), StoredKeys(FakeApiKeys()), None, bool(keys)), rates, limit_loopback
    )


@pytest.fixture
def access():
    return guarded(KEYS)


@pytest.fixture
def clock():
    """The time, for a test to move on."""
    return StillClock()


async def test_without_keys_every_caller_is_the_operator():
    assert await guarded("").admit({}, Scope.ADMIN, "127.0.0.1") == OPERATOR


@pytest.mark.parametrize(
    "headers",
    [{"authorization": "Bearer w"}, {"authorization": "bearer  w "}, {"x-api-key": "w"}],
)
async def test_a_key_may_come_in_either_header(access, headers):
    found = await access.admit(headers, Scope.INGEST, "10.0.0.1")
    assert found == Caller("bob", frozenset({Scope.SEARCH, Scope.INGEST}))


@pytest.mark.parametrize(
    "headers",
    [{}, {"x-api-key": ""}, *({"authorization": value} for value in ("Bearer wrong", "Basic w", "Bearer", "w"))],
)
async def test_no_key_or_an_unknown_one_is_unauthenticated(access, headers):
    with pytest.raises(Unauthenticated):
        await access.admit(headers, Scope.SEARCH, "10.0.0.1")


@pytest.mark.parametrize(
    ("key", "opens"),
    [("r", {Scope.SEARCH}), ("w", {Scope.SEARCH, Scope.INGEST}), ("a", set(Scope))],
)
async def test_a_role_opens_its_scopes_and_no_other(access, key, opens):
    for scope in Scope:
        if scope in opens:
            await access.admit({"x-api-key": key}, scope, "10.0.0.1")
        else:
            with pytest.raises(Forbidden, match=scope):
                await access.admit({"x-api-key": key}, scope, "10.0.0.1")


@pytest.mark.parametrize("keys", ["ada", "ada:read", "ada:king:" + "0" * 64, "ada:read:short", ":read:" + "0" * 64])
def test_malformed_keys_are_a_configuration_error(keys):
    with pytest.raises(ConfigurationError):
        EnvironmentKeys(keys)


async def take(access, address="10.0.0.1", caller=STRANGER, times=1):
    for _ in range(times):
        await access.limit(caller, address)


async def test_a_burst_is_admitted_and_the_next_request_gets_the_time_to_wait(clock):
    access = guarded("", LocalRateLimit(5, clock), False)
    await take(access, times=5)
    with pytest.raises(RateLimited) as refused:
        await take(access)
    assert refused.value.retry_after_s == pytest.approx(0.2)


async def test_the_allowance_grows_back_with_time(clock):
    access = guarded("", LocalRateLimit(5, clock), False)
    await take(access, times=5)
    clock.advance(0.5)
    await take(access, times=2)
    with pytest.raises(RateLimited):
        await take(access)


async def test_a_refused_caller_is_not_put_back_by_asking_again(clock):
    access = guarded("", LocalRateLimit(1, clock), False)
    await take(access)
    for _ in range(4):
        clock.advance(0.24)
        with pytest.raises(RateLimited):
            await take(access)
    clock.advance(0.1)
    await take(access)


async def test_callers_do_not_share_an_allowance(clock):
    access = guarded("", LocalRateLimit(1, clock), False)
    await take(access, "10.0.0.1")
    await take(access, "10.0.0.2")
    await take(access, "10.0.0.1", Caller("ada", READER))
    with pytest.raises(RateLimited):
        await take(access, "10.0.0.9", Caller("ada", READER))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_loopback_callers_are_not_rate_limited_unless_configured(clock, address):
    await take(guarded("", LocalRateLimit(1, clock), False), address, times=50)
    await take(guarded("", LocalRateLimit(1, clock), False), address, Caller("ada", READER), times=50)
    with pytest.raises(RateLimited):
        await take(guarded("", LocalRateLimit(1, clock), True), address, times=2)


async def test_without_a_rate_there_is_no_limit(clock):
    assert await take(guarded("", None, True), times=1000) is None


async def test_the_number_of_tracked_callers_is_bounded(clock):
    access = guarded("", LocalRateLimit(1, clock), False)
    for number in range(CALLERS + 1):
        await take(access, f"host{number}")
    await take(access, "host0")
    with pytest.raises(RateLimited):
        await take(access, f"host{CALLERS}")


class Valkey:
    """Stands in for the shared rates: counts what it is asked, and may be away."""

    def __init__(self):
        self.asked, self.away = 0, False

    async def take(self, who):
        self.asked += 1
        if self.away:
            raise Unavailable("Valkey", "it is away")
        return 0.0


async def test_while_valkey_is_down_a_process_enforces_its_part_of_the_rate_and_retries_later(clock):
    valkey = Valkey()
    access = guarded("", SharedRateLimit(valkey, LocalRateLimit(2, clock), clock), False)
    await take(access, times=5)
    valkey.away = True
    await take(access, times=2)
    with pytest.raises(RateLimited):
        await take(access)
    assert valkey.asked == 6
    valkey.away = False
    clock.advance(AWAY_S)
    await take(access, times=5)
    assert valkey.asked == 11


async def first_answer(app, headers, body=b"x" * 1000):
    """Send the head of an upload by plain ASGI; return the status, and whether any of the body was read before it."""
    read, statuses = [], []

    async def receive():
        read.append(not statuses)
        return {"type": "http.request", "body": body, "more_body": True}

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        **{"type": "http", "method": "POST", "path": "/images", "raw_path": b"/images", "query_string": b""},
        **{"root_path": "", "scheme": "http", "http_version": "1.1", "client": ("127.0.0.1", 1)},
        "headers": [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=b"), *headers],
    }
    await app(scope, receive, send)
    return statuses[0], any(read)


async def test_a_stranger_s_upload_is_refused_before_any_of_it_is_read():
    async with Serving(api_keys=KEYS) as serving:
        assert await first_answer(serving.app, []) == (401, False)
        assert await first_answer(serving.app, [(b"authorization", b"Bearer wrong")]) == (401, False)


async def test_many_wrong_keys_are_slowed_down_and_right_ones_are_not():
    async with Serving(api_keys=KEYS) as serving:
        # All at once, so that a slow machine sends them no slower than the limit.
        calls = [serving.client.get("/stats", headers={"x-api-key": str(number)}) for number in range(200)]
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {401, 429}
        right = await serving.client.get("/stats", headers={"x-api-key": "r"})
        assert right.status_code == 200
