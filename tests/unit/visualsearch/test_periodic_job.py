"""Periodic jobs: errors, and leases between several processes."""

import asyncio

from tests.eventually import eventually
from tests.fakes.event_stream import FakeEventStream
from visualsearch.backoff import Backoff
from visualsearch.domain.errors import Unavailable
from visualsearch.periodic_job import Lease, PeriodicJob


class Work:
    """Counts its turns; raises the errors that it is given, one a turn."""

    def __init__(self, *errors):
        self.turns = 0
        self._errors = list(errors)

    async def __call__(self):
        self.turns += 1
        if self._errors:
            raise self._errors.pop(0)


async def running(job, until):
    stop = asyncio.Event()
    task = asyncio.create_task(job.run(stop))
    await eventually(until)
    stop.set()
    await asyncio.wait_for(task, 1)


async def test_an_error_ends_one_run_and_not_the_job(caplog):
    work = Work(Unavailable("Valkey"), ValueError("a bug"))
    await running(PeriodicJob(name="sweeping", work=work, every_s=0.001), lambda: work.turns >= 3)
    assert "sweeping is postponed: Valkey does not answer" in caplog.text
    assert "sweeping failed" in caplog.text
    assert "a bug" in caplog.text


async def test_after_an_error_the_job_retries_sooner():
    work = Work(Unavailable("Valkey"))
    await running(PeriodicJob(name="sweeping", work=work, every_s=3600, retry_s=0.001), lambda: work.turns == 2)


async def test_only_one_of_two_processes_runs_the_job():
    events, first, second = FakeEventStream(), Work(), Work()
    jobs = [
        PeriodicJob(name="sweeping", work=work, every_s=0.001, lease=Lease(events, "sweep", name, 60))
        for name, work in (("one", first), ("two", second))
    ]
    stop = asyncio.Event()
    tasks = [asyncio.create_task(job.run(stop)) for job in jobs]
    await eventually(lambda: first.turns + second.turns >= 5)
    stop.set()
    await asyncio.gather(*tasks)
    assert 0 in {first.turns, second.turns}


async def test_the_job_stops_at_once_while_it_waits():
    stop = asyncio.Event()
    stop.set()
    await asyncio.wait_for(PeriodicJob(name="sweeping", work=Work(), every_s=3600).run(stop), 1)


def test_pauses_grow_up_to_a_limit_and_reset():
    backoff = Backoff(1.0, 4.0)
    pauses = [backoff.seconds() for _ in range(5)]
    for pause, middle in zip(pauses, [1, 2, 4, 4, 4], strict=True):
        assert 0.5 * middle <= pause <= 1.5 * middle
    backoff.reset()
    assert backoff.seconds() <= 1.5
