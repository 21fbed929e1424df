"""The order in which the work of several callers is done."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from gateway.limits.fair_queue import FairQueue
from tests.clock import StillClock

WORK = 20.0


class Shop:
    """A queue, whose turns end when the test says so."""

    def __init__(self, most=8, contended=True):
        self.contended = contended
        self.clock = StillClock()
        self.queue = FairQueue(most, lambda: self.contended, self.clock)
        self.began, self._ends, self._tasks = [], {}, []

    async def ask(self, caller, count=1, cost=WORK):
        for _ in range(count):
            self._tasks.append(asyncio.create_task(self._work(caller, cost)))
        await settle()

    async def _work(self, caller, cost):
        async with self.queue.turn(caller, cost):
            number = len(self.began)
            self.began.append(caller)
            self._ends[number] = asyncio.get_running_loop().create_future()
            await self._ends[number]

    async def finish(self, count=1, took_s=1.0):
        for _ in range(count):
            self.clock.advance(took_s)
            number = next(iter(self._ends))
            self._ends.pop(number).set_result(None)
            await settle()

    async def close(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def shop(**options):
    one = Shop(**options)
    yield one
    await one.close()


async def narrowed(one):
    """A queue whose work has become slow: one at a time."""
    await one.ask("warm")
    await one.finish(took_s=1.0)
    for _ in range(20):
        await one.ask("warm")
        await one.finish(took_s=10.0)
    assert one.queue.width == 1
    one.began.clear()


async def test_alone_a_caller_gets_all_there_is():
    async with shop(most=8, contended=False) as one:
        await one.ask("a", 10)
        assert one.began == ["a"] * 8


async def test_callers_are_served_in_turn_however_many_requests_they_have():
    async with shop() as one:
        await narrowed(one)
        await one.ask("greedy", 20)
        await one.ask("other", 3)
        await one.finish(8)
        assert one.began[:7].count("other") == 3


async def test_a_newcomer_does_not_wait():
    async with shop() as one:
        await narrowed(one)
        await one.ask("greedy", 20)
        await one.finish(3)
        await one.ask("polite")
        assert one.began[-1] == "polite"
        assert one.queue.working == 2


async def test_who_comes_back_after_a_while_does_not_wait_either():
    async with shop() as one:
        await narrowed(one)
        await one.ask("greedy", 20)
        for _ in range(3):
            await one.ask("polite")
            assert one.began[-1] == "polite"
            await one.finish(4)


async def test_expensive_requests_come_less_often():
    async with shop() as one:
        await narrowed(one)
        await one.ask("large", 20, cost=4 * WORK)
        await one.ask("small", 20, cost=WORK)
        await one.finish(20)
        assert 3 <= one.began[:20].count("small") / one.began[:20].count("large") <= 5


async def test_work_that_was_not_foreseen_counts_too():
    async with shop() as one:
        await narrowed(one)
        for _ in range(10):
            await one.ask("large")
            one.queue.charge("large", 3 * WORK)
        await one.ask("small", 10)
        await one.finish(4)
        assert one.began[-3:].count("small") >= 2


async def test_work_that_takes_no_longer_beside_other_work_is_done_at_once():
    async with shop(most=8) as one:
        for _ in range(20):
            await one.ask("a", 10)
            await one.ask("b", 10)
            await one.finish(10, took_s=0.0)
            one.clock.advance(1)
            await one.finish(took_s=0.0)
        assert one.queue.width == 8


@pytest.mark.parametrize("called", [False, True])
async def test_who_leaves_while_waiting_holds_no_turn(called):
    async with shop() as one:
        await narrowed(one)
        await one.ask("a")
        leaver = asyncio.create_task(one.queue.turn("b", WORK).__aenter__())
        await one.ask("a")
        waiting = asyncio.create_task(one.queue.turn("a", WORK).__aenter__())
        await settle()
        if called:
            one.clock.advance(1)
            one._ends.pop(next(iter(one._ends))).set_result(None)
        leaver.cancel()
        waiting.cancel()
        await settle()
        await one.finish(len(one._ends))
        assert one.queue.working <= 1
        await one.finish(len(one._ends))
