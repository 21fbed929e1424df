"""Contract of the counters by release, tested with the fake and Valkey."""

import uuid

import pytest

from tests.clock import Clock
from tests.fakes.release_counters import FakeReleaseCounters
from visualsearch.adapters.valkey.release_counters import ValkeyReleaseCounters
from visualsearch.domain.errors import Unavailable


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def counts(request, clock):
    if request.param == "fake":
        yield FakeReleaseCounters(clock)
        return
    settings = request.getfixturevalue("stack")
    real = ValkeyReleaseCounters(settings.valkey_url, settings.valkey_password.get_secret_value(), 5.0, clock=clock)
    yield real
    await real.close()


@pytest.fixture
def name():
    return f"contract_{uuid.uuid4().hex[:8]}"


async def test_counts_of_several_processes_are_summed_by_release_and_counter(counts, name):
    other = f"{name}|odd"
    await counts.add({name: {"requests": 2, "slot:3": 1}, other: {"requests": 7}})
    await counts.add({name: {"requests": 3}})
    sums = await counts.since(60)
    assert sums[name] == {"requests": 5, "slot:3": 1}
    assert sums[other] == {"requests": 7}


async def test_counts_before_the_requested_time_are_left_out(counts, clock, name):
    await counts.add({name: {"requests": 1}})
    clock.advance(1.1)
    assert name not in await counts.since(1)


async def test_totals_are_kept_apart_by_their_name(counts, name):
    await counts.add_total(name, {"queries": 1, "rbo": 900_000})
    await counts.add_total(name, {"queries": 1})
    assert await counts.total(name) == {"queries": 2, "rbo": 900_000}
    assert await counts.total(f"{name}_other") == {}


async def test_a_missing_server_raises_unavailable():
    away = ValkeyReleaseCounters("redis://127.0.0.1:1/0", "", 1.0)
    with pytest.raises(Unavailable):
        await away.since(5)
    await away.close()
