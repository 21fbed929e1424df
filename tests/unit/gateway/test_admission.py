"""The number of searches admitted at once, and the refusal of others."""

import asyncio
import threading
from contextlib import suppress

import httpx
import pytest

from gateway.limits.adaptive_limit import BACK_OFF, WINDOW_S
from gateway.search import decoder
from gateway.search.admission import FEWEST, FIRST, Admission
from tests.clock import StillClock
from tests.eventually import eventually
from tests.pictures import jpeg
from tests.unit.serving import Serving, assert_problem
from visualsearch.domain.errors import BrokenImage, Overloaded, Unavailable, VisualSearchError

TARGET_S = 0.5


@pytest.fixture
def clock():
    """The time, for a test to move on."""
    return StillClock()


def answer(admission, clock, seconds, error=None):
    """One search that takes so long."""
    with suppress(VisualSearchError), admission.slot():
        clock.advance(seconds)
        if error:
            raise error


def be_refused(admission):
    with pytest.raises(Overloaded):
        fill(admission, int(admission.limit) + 1)


def fill(admission, count):
    if count:
        with admission.slot():
            fill(admission, count - 1)


def test_searches_up_to_the_limit_are_admitted(clock):
    admission = Admission(8, TARGET_S, clock=clock)
    fill(admission, 8)
    be_refused(admission)
    assert admission.active == 0


def test_the_limit_falls_when_even_the_fastest_answer_of_a_window_is_late(clock):
    admission = Admission(128, TARGET_S, clock=clock)
    answer(admission, clock, 2 * TARGET_S)
    assert admission.limit == FIRST * BACK_OFF


def test_one_answer_in_time_keeps_the_limit(clock):
    admission = Admission(128, TARGET_S, clock=clock)
    answer(admission, clock, WINDOW_S / 2)
    answer(admission, clock, 2 * TARGET_S)
    assert admission.limit == FIRST


def test_missing_answers_count_as_late_ones(clock):
    admission = Admission(128, TARGET_S, clock=clock)
    answer(admission, clock, 2 * TARGET_S, Unavailable("Triton"))
    assert admission.limit < FIRST


def test_a_broken_picture_does_not_affect_the_limit(clock):
    admission = Admission(128, TARGET_S, clock=clock)
    answer(admission, clock, 0, BrokenImage("The picture is damaged and cannot be decoded."))
    answer(admission, clock, 2 * TARGET_S)
    assert admission.limit < FIRST


def test_the_limit_does_not_fall_below_its_minimum(clock):
    admission = Admission(128, TARGET_S, clock=clock)
    for _ in range(100):
        answer(admission, clock, 2 * TARGET_S)
    assert admission.limit == FEWEST


def test_the_limit_grows_only_while_it_is_reached_and_answers_are_in_time(clock):
    admission = Admission(FIRST + 2, TARGET_S, clock=clock)
    answer(admission, clock, 2 * WINDOW_S)
    assert admission.limit == FIRST
    for _ in range(5):
        be_refused(admission)
        answer(admission, clock, 2 * WINDOW_S)
    assert admission.limit == FIRST + 2


async def test_a_burst_is_answered_or_refused_and_nothing_else():
    async with Serving(max_waiting=4) as serving:
        image = await serving.index(jpeg(1))
        serving.encoder.delay_s = 0.05
        answers = await asyncio.gather(*(serving.search(jpeg(1), k=1) for _ in range(40)))
        for refused in (one for one in answers if one.status_code != 200):
            assert_problem(refused, 503)
        assert {one.status_code for one in answers} == {200, 503}
        assert (await serving.search(jpeg(1), k=1)).json()["results"][0]["id"] == image
        metrics = (await serving.client.get("/metrics")).text
        assert 'visualsearch_requests_total{method="POST",route="/search",status="503"}' in metrics


async def test_the_body_of_a_refused_search_is_not_read():
    async with Serving(max_waiting=1) as serving:
        with serving.gateway.search.admission.slot():

            async def body():
                raise AssertionError("it was read")
                yield b""

            assert_problem(await serving.client.post("/search", content=body()), 503)
            assert (await serving.client.get("/health")).status_code == 200


async def test_while_a_picture_is_decoded_other_requests_are_answered(monkeypatch):
    decoding, answered = threading.Event(), threading.Event()
    decode = decoder.decode

    def slow(*values):
        decoding.set()
        assert answered.wait(30), "nothing was answered meanwhile: decoding has blocked the event loop"
        return decode(*values)

    async with Serving() as serving:
        await serving.index(jpeg(1))
        monkeypatch.setattr(decoder, "decode", slow)
        search = asyncio.create_task(serving.search(jpeg(1)))
        await eventually(decoding.is_set)
        assert (await serving.client.get("/health")).status_code == 200
        answered.set()
        assert (await search).status_code == httpx.codes.OK
