"""The supervisor of one process, with small programs in place of the servers."""

import asyncio
import os
import signal
import sys
import threading

import psutil
import pytest

from compose import probes, supervisor
from compose.servers import Service
from compose.supervisor import ManagedProcess
from tests.eventually import eventually

SLEEP = "import time; time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
FAMILY = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{SLEEP}'], start_new_session=True)"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name in ("READY_EVERY_S", "ALIVE_EVERY_S", "BACKOFF_S"):
        monkeypatch.setattr(supervisor, name, 0.01)


@pytest.fixture
async def keep(tmp_path):
    """Keep a service for the length of a test."""
    (tmp_path / "logs").mkdir()
    tasks = []

    def one(code: str = SLEEP, probe=lambda: None, **options) -> ManagedProcess:
        managed = ManagedProcess(
            Service("one", [sys.executable, "-c", code], probe, {}, **options), tmp_path, {}, lambda: None
        )
        tasks.append(asyncio.create_task(managed.keep()))
        return managed

    one.tasks = tasks
    yield one
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Probe:
    """Fails with ``error`` where there is one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.error:
            raise self.error


async def pid_of(managed) -> int:
    await managed.ready.wait()
    return managed.entry()["pid"]


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_a_killed_process_is_restarted(keep):
    managed = keep()
    first = await pid_of(managed)
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: managed.restarts == 1)
    assert await pid_of(managed) != first


async def test_a_process_that_exits_at_once_is_restarted_and_its_exit_is_shown(keep):
    managed = keep("raise SystemExit(3)", Probe(OSError("nobody listens")))
    await eventually(lambda: managed.restarts >= 2)
    assert "ended with 3" in managed.health
    assert not managed.entry()["ready"]


async def test_a_failed_preparation_is_shown_and_retried(keep):
    def prepare():
        raise RuntimeError("the disk is full")

    managed = keep(prepare=prepare)
    await eventually(lambda: managed.restarts >= 2)
    assert "the disk is full" in managed.health


async def test_a_live_process_that_fails_its_probe_is_killed_and_restarted(keep):
    probe = Probe()
    managed = keep(probe=probe, patience_s=0.1)
    first = await pid_of(managed)
    probe.error = TimeoutError("hangs")
    await eventually(lambda: managed.restarts == 1)
    probe.error = None
    assert await pid_of(managed) != first


async def test_a_permanently_broken_process_is_restarted_at_once(keep):
    probe = Probe()
    managed = keep(probe=probe, patience_s=3600)
    await pid_of(managed)
    probe.error = probes.Broken("the process of the model is dead")
    await eventually(lambda: managed.restarts == 1)


async def test_a_process_that_waits_for_others_is_not_ready_and_not_killed(keep):
    probe = Probe()
    alive = Probe()
    managed = keep(probe=probe, alive=alive, patience_s=0.05)
    first = await pid_of(managed)
    probe.error = OSError("a server behind it is away")
    await eventually(lambda: not managed.entry()["ready"])
    await eventually(lambda: alive.calls >= 20)  # 10 ms apart: longer than the patience
    assert "a server behind it is away" in managed.health
    probe.error = None
    assert await pid_of(managed) == first


async def test_one_failed_probe_does_not_make_it_unready(keep):
    answers = [None, OSError("a hiccup"), None]
    seen = []

    def probe():
        answer = answers.pop(0) if answers else None
        seen.append(answer)
        if answer:
            raise answer

    managed = keep(probe=probe)
    await managed.ready.wait()
    await eventually(lambda: len(seen) > 1)
    assert managed.entry()["ready"]
    await eventually(lambda: len(seen) > 3)
    assert managed.restarts == 0


async def test_stopping_kills_a_process_that_ignores_the_signal(keep):
    managed = keep(DEAF, stop_s=0.5)
    pid = await pid_of(managed)
    await managed.stop()
    assert is_gone(pid)


async def test_killing_reaches_children_with_groups_of_their_own(keep):
    managed = keep(FAMILY)
    leader = psutil.Process(await pid_of(managed))
    await eventually(leader.children)
    children = leader.children()
    supervisor.kill_tree(leader.pid)
    await eventually(lambda: all(is_gone(child.pid) for child in children))


async def test_a_process_that_is_stopped_during_preparation_never_starts(keep, tmp_path):
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    go_on = threading.Event()

    def prepare():
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(10)

    managed = keep(f"open({str(tmp_path / 'started')!r}, 'w')", prepare=prepare)
    await begun.wait()
    await managed.stop()
    go_on.set()
    await asyncio.wait_for(keep.tasks[0], 10)
    assert not (tmp_path / "started").exists()
