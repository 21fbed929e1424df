"""What one caller may take: work, requests in progress, connections."""

import asyncio
import hashlib
import multiprocessing

import pytest

from gateway.limits.caller_limits import CallerLimits, current_account, is_loopback, network_of
from gateway.limits.connections import LATER_S, WASTED_A_SECOND, Connections
from gateway.limits.fair_queue import FairQueue
from gateway.limits.work_budget import ACTIVE_S, BURST_S, COUNT_S, WorkBudget
from tests.clock import StillClock
from tests.eventually import eventually
from tests.pictures import jpeg
from tests.unit.serving import Serving, assert_problem
from visualsearch.domain.errors import RateLimited

RATE = 500.0


@pytest.fixture
def clock():
    """The time, for a test to move on."""
    return StillClock()


@pytest.fixture
def budget(clock):
    """Budgets of two callers who are there."""
    budget = WorkBudget(RATE, clock)
    budget.note("a")
    budget.note("b")
    return budget


def test_a_caller_has_its_budget_back_after_a_while(budget, clock):
    budget.take("a", RATE * (BURST_S + 2))
    assert budget.wait_s("a") == pytest.approx(2)
    clock.advance(1.5)
    assert budget.wait_s("a") == pytest.approx(0.5)
    clock.advance(0.5)
    assert budget.wait_s("a") == 0


def test_the_budget_of_another_is_untouched(budget):
    budget.take("a", RATE * 100)
    assert budget.wait_s("b") == 0


def test_a_burst_is_free(budget):
    budget.take("a", RATE * BURST_S)
    assert budget.wait_s("a") == 0


def test_one_request_may_cost_more_than_the_whole_budget(budget):
    assert budget.wait_s("a") == 0
    budget.take("a", RATE * BURST_S * 3)
    assert budget.wait_s("a") == pytest.approx(2 * BURST_S)


def test_alone_a_caller_may_take_everything(clock):
    budget = WorkBudget(RATE, clock)
    budget.note("a")
    for _ in range(100):
        budget.take("a", RATE)
    assert not budget.contended
    assert budget.wait_s("a") == 0
    budget.note("b")
    assert budget.wait_s("a") == 0, "what it took alone is not held against it"


def test_a_caller_is_alone_again_when_the_others_have_left(budget, clock):
    assert budget.contended
    budget.take("a", RATE * 100)
    clock.advance(ACTIVE_S - 1)
    budget.note("a")
    assert budget.wait_s("a") > 0
    clock.advance(2)
    budget.note("a")
    assert budget.wait_s("a") == 0


def test_no_rate_is_no_limit(clock):
    budget = WorkBudget(0, clock)
    budget.note("a")
    budget.note("b")
    budget.take("a", 1e9)
    assert budget.wait_s("a") == 0


def test_forked_processes_share_the_budgets(budget):
    context = multiprocessing.get_context("fork")
    process = context.Process(target=budget.take, args=("a", RATE * 100))
    process.start()
    process.join()
    assert budget.wait_s("a") > 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:1:2:3::4", "2001:db8:1:2:ffff::1", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("testclient", "testclient", True),
    ],
)
def test_addresses_are_told_apart_by_network(one, other, same):
    assert (network_of(one) == network_of(other)) is same


def test_loopback_is_known():
    assert [is_loopback(address) for address in ("127.0.0.1", "127.1.2.3", "::1", "192.0.2.1", "2001:db8::1", "x")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def limits(budget, most=2):
    return CallerLimits(budget, FairQueue(8, lambda: budget.contended), most)


def enter(one, owner, address="192.0.2.1", port=1):
    """Begin a request. Only in a coroutine, whose context ends with it: the current account would stay."""
    context = one.request(owner, address, port)
    context.__enter__()
    return context


async def test_a_caller_has_so_many_requests_in_progress_and_no_more(budget):
    one = limits(budget)
    first, *others = enter(one, "ann"), enter(one, "ann", "192.0.2.2"), enter(one, "bob")
    with pytest.raises(RateLimited, match="2 requests in progress"):
        enter(one, "ann")
    first.__exit__(None, None, None)
    others.append(enter(one, "ann"))


async def test_callers_without_keys_are_told_apart_by_address_and_on_this_machine_by_connection(budget):
    one = limits(budget, most=1)
    entered = [enter(one, "", "192.0.2.1", 1)]
    with pytest.raises(RateLimited):
        enter(one, "", "192.0.2.1", 2)
    entered += [enter(one, "", "192.0.2.2", 1), enter(one, "", "127.0.0.1", 1), enter(one, "", "127.0.0.1", 2)]
    with pytest.raises(RateLimited):
        enter(one, "", "127.0.0.1", 2)


async def test_a_caller_without_budget_is_refused_and_pays_for_asking(budget, clock):
    one = limits(budget)
    with one.request("ann", "192.0.2.1", 1):
        current_account().charge(RATE * (BURST_S + 2))
    before = budget.wait_s("owner ann")
    with pytest.raises(RateLimited, match=r"share.*try again in 2\.0 s") as refused:
        enter(one, "ann")
    assert refused.value.retry_after_s == pytest.approx(2, abs=0.1)
    assert budget.wait_s("owner ann") > before


def test_connections_are_limited_in_all_and_by_network():
    connections = Connections(4, 2)
    assert connections.enter("192.0.2.1") == ""
    assert connections.enter("192.0.2.1") == ""
    assert "which is the limit" in connections.enter("192.0.2.1")
    connections.leave("192.0.2.1", wasted=False)
    assert connections.enter("192.0.2.1") == ""
    assert connections.enter("192.0.2.2") == ""
    assert connections.enter("192.0.2.3") == ""
    assert "as many connections as it can keep" in connections.enter("192.0.2.4")


def test_a_proxy_may_have_more_connections_than_a_caller():
    connections = Connections(100, 2, "10.0.0.0/8, 127.0.0.1")
    assert not any(connections.enter("10.1.2.3") for _ in range(50))
    assert connections.enter("127.0.0.1") == connections.enter("127.0.0.1") == ""
    assert connections.enter("127.0.0.1")


def connect_and_leave(connections, address, *, wasted):
    assert connections.enter(address) == ""
    delay = connections.delay_s(address)
    connections.leave(address, wasted=wasted)
    return delay


def test_a_network_whose_connections_bring_nothing_is_served_later(clock):
    connections = Connections(1000, 1000, clock=clock)
    count = int(WASTED_A_SECOND)
    delays = [connect_and_leave(connections, "192.0.2.1", wasted=True) for _ in range(count + 1)]
    assert delays == [0.0] * count + [LATER_S]
    assert connections.delay_s("192.0.2.2") == 0
    clock.advance(1)
    assert connections.delay_s("192.0.2.1") == 0


def test_many_new_connections_of_a_network_that_each_bring_a_request_do_not_wait(clock):
    connections = Connections(1000, 1000, clock=clock)
    assert not any(connect_and_leave(connections, "192.0.2.1", wasted=False) for _ in range(500))


KEYS = ",".join(f"{owner}:read:{hashlib.sha256(owner.encode()).hexdigest()}" for owner in ("ann", "bob"))


def key(owner):
    return {"Authorization": f"Bearer {owner}"}


async def test_work_that_a_caller_asks_for_at_one_moment_is_spread_over_time(budget, clock):
    one = limits(budget)
    paced = []
    for _ in range(4):
        with one.request("ann", "192.0.2.1", 1) as account:
            paced.append(budget.pace_s(account.caller))
            account.charge(RATE / 5)
    assert paced == pytest.approx([0, 0.1, 0.3, 0.5], abs=0.02)
    clock.advance(1)
    assert budget.pace_s("owner ann") == 0


async def test_work_that_would_have_to_wait_long_is_refused(budget):
    with limits(budget).request("ann", "192.0.2.1", 1) as account:
        account.charge(RATE * (BURST_S + 1))
        with pytest.raises(RateLimited, match=r"try again in 1\.0 s"):
            await account.pace(1)


def test_callers_in_debt_divide_two_shares_among_them(budget, clock):
    for caller in ("a", "b", "c", "d"):
        budget.take(caller, RATE)
    clock.advance(2 * COUNT_S)
    before = budget.pace_s("a")
    budget.take("a", RATE / 4)
    assert budget.pace_s("a") - before == pytest.approx(0.5, abs=0.01), "half a share each, so it takes twice as long"
    budget.take("e", RATE / 100)
    assert budget.pace_s("e") == 0, "who takes little is not slowed"


async def test_over_rest_too_many_requests_of_one_caller_get_429_and_another_is_served():
    async with Serving(max_per_caller=3, api_keys=KEYS) as serving:
        await serving.index(jpeg(1))
        serving.encoder.delay_s = 0.3

        async def search(owner):
            return await serving.client.post("/search", files={"image": jpeg(1)}, headers=key(owner))

        tasks = [asyncio.create_task(search("ann")) for _ in range(6)]
        await eventually(lambda: serving.gateway.search.admission.active == 3)
        assert (await search("bob")).status_code == 200
        answers = await asyncio.gather(*tasks)
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 3
        for refused in (answer for answer in answers if answer.status_code == 429):
            assert_problem(refused, 429)


async def test_over_rest_a_caller_that_took_its_share_is_refused_before_its_body_is_read():
    async with Serving(caller_share=0.05, api_keys=KEYS) as serving:
        await serving.index(jpeg(1))

        async def search(owner):
            return await serving.client.post("/search", files={"image": jpeg(1)}, headers=key(owner))

        await search("bob")
        many = [asyncio.create_task(search("ann")) for _ in range(8)]
        await eventually(lambda: any(one.done() and one.result().status_code == 429 for one in many))

        async def body():
            raise AssertionError("it was read")
            yield b""

        refused = await serving.client.post("/search", content=body(), headers=key("ann"))
        assert_problem(refused, 429)
        await asyncio.gather(*many)
        assert "share" in refused.json()["detail"]
        assert (await serving.client.get("/stats", headers=key("bob"))).status_code == 200
        serving.clock.advance(60)
        assert (await serving.client.get("/stats", headers=key("ann"))).status_code == 200
