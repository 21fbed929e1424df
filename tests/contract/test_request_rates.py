"""Contract of the rate limits, tested with the limits of one process and those shared in Valkey."""

import uuid

import pytest

from gateway.process.rate_limits import LocalRateLimit
from visualsearch.adapters.valkey.request_rates import ValkeyRequestRates
from visualsearch.domain.errors import Unavailable

RATE = 0.5
"""So slow that nothing grows back during a test."""


@pytest.fixture(params=["own", pytest.param("valkey", marks=pytest.mark.stack)])
async def make(request):
    """Rates by the number of requests a second; those in Valkey are the same however often they are made."""
    if request.param == "own":
        yield LocalRateLimit
        return
    settings = request.getfixturevalue("stack")
    made = []

    def one(rate):
        made.append(ValkeyRequestRates(settings.valkey_url, settings.valkey_password.get_secret_value(), rate))
        return made[-1]

    yield one
    for rates in made:
        await rates.close()


@pytest.fixture
def who():
    return f"somebody {uuid.uuid4()}"


async def test_the_first_request_is_admitted_and_the_next_gets_the_time_to_wait(make, who):
    rates = make(RATE)
    assert await rates.take(who) == 0
    assert 0 < await rates.take(who) <= 1 / RATE


async def test_a_burst_of_one_second_of_the_rate_is_admitted(make, who):
    rates = make(3)
    assert [await rates.take(who) for _ in range(3)] == [0] * 3
    assert 0 < await rates.take(who) <= 1 / 3


async def test_asking_again_does_not_make_the_wait_longer(make, who):
    rates = make(RATE)
    await rates.take(who)
    waits = [await rates.take(who) for _ in range(5)]
    assert waits == sorted(waits, reverse=True)


async def test_callers_do_not_share_an_allowance(make, who):
    rates = make(RATE)
    assert await rates.take(who) == 0
    assert await rates.take(f"{who}'s neighbour") == 0


@pytest.mark.stack
async def test_processes_share_an_allowance(stack, who):
    rates = [ValkeyRequestRates(stack.valkey_url, stack.valkey_password.get_secret_value(), RATE) for _ in range(2)]
    assert await rates[0].take(who) == 0
    assert await rates[1].take(who) > 0
    for one in rates:
        await one.close()


async def test_a_valkey_that_is_down_raises_unavailable(who):
    rates = ValkeyRequestRates("redis://127.0.0.1:1/0", "", RATE)
    with pytest.raises(Unavailable):
        await rates.take(who)
    await rates.close()
