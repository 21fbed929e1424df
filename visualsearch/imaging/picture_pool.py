"""Runs work on pictures: cheap ones in threads, expensive ones in a process that is killed when it takes too long."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import resource
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from pebble import ProcessExpired, ProcessPool

from visualsearch.domain.errors import BrokenImage, Overloaded, VisualSearchError
from visualsearch.imaging.decoding_cost import CHEAP, QUICK, TooExpensiveHere
from visualsearch.imaging.opening import cheaply

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

TIMEOUT_S = 10.0
"""Longest time for one expensive picture, the wait for others included where the number of those is limited."""
CPU_S = 7
"""CPU time of one expensive picture, twice what the highest cost that is accepted takes. Unlike the time on the clock,
it does not depend on what else the machine does, so it tells a bad picture from a busy machine."""
MEMORY_BYTES = 3 * 2**30
"""Address space of the process. A picture takes up to 1.6 GB (``DECODING_BYTES``), and the libraries reserve some
without use."""
MMAP_THRESHOLD = -3
"""glibc's M_MMAP_THRESHOLD."""
MMAP_BYTES = 2**20
"""Blocks from this size on go back to the system when they are freed. Otherwise glibc keeps up to a whole picture."""
STANDARD_ERROR = 2
WAITING = 8
"""Expensive pictures that may wait at once for callers' answers. They are decoded one after the other, so memory holds
one of them."""
DAMAGED = "Its decoder {}. The file is damaged or made to do that; save the picture anew and try again."


NICE = 5
"""How much lower the priority of large pictures is where callers wait for answers: a third of a search's weight."""


class PicturePool:
    """Runs a function of a picture's bytes in one of some threads, or in a process if the picture is expensive.

    Cheap pictures, which is nearly all, stay as fast as without a process: sending one there and back takes 2 ms and
    more. The process starts with the first expensive picture. Without ``max_waiting`` any number of expensive pictures
    wait, as they must where nobody can be asked to come again.

    With ``max_waiting`` callers wait for answers. Then pictures that are not quick to decode have a thread of their
    own, and it and the process have a lower priority, so that small pictures do not wait for large ones.
    """

    def __init__(
        self, threads: int | None = None, max_waiting: int | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._max_waiting, self._timeout_s = max_waiting, timeout_s
        self._threads = ThreadPoolExecutor(threads, "decode")
        self._slow_thread = ThreadPoolExecutor(1, "decode-large", _give_way) if max_waiting is not None else None
        self._process: ProcessPool | None = None
        self.expensive = 0

    async def run(self, work: Callable[..., T], *values: object, weigh: Callable[[int], None] | None = None) -> T:
        """Return ``work(*values)``, where ``work`` is a function of ``preprocessing``.

        ``weigh`` is called in the thread with each picture's ``decoding_cost``, before it is decoded.
        Raises what it raises; ``BrokenImage`` if the picture takes too much CPU time or ends its process;
        ``Overloaded`` if too many expensive pictures wait, or the machine is too busy to decode this one in time.
        """
        loop = asyncio.get_running_loop()
        most = None if self._slow_thread is None else QUICK
        try:
            return await loop.run_in_executor(self._threads, partial(cheaply, work, *values, most=most, weigh=weigh))
        except TooExpensiveHere as error:
            if self._slow_thread is None or error.cost > CHEAP:
                return await self.run_apart(work, *values)
        return await loop.run_in_executor(self._slow_thread, partial(cheaply, work, *values))

    async def run_apart(self, work: Callable[..., T], *values: object) -> T:
        """Run work in the process, whatever the picture costs; raises what ``run`` raises."""
        if self._max_waiting is not None and self.expensive >= self._max_waiting:
            raise Overloaded("Too many large pictures wait to be decoded. Try again shortly, or send a smaller one.")
        if self._process is None:
            # Not forked: a copy of this process would bring its memory, and threads that hold locks.
            context = multiprocessing.get_context("spawn")
            initializer = _be_frugal if self._slow_thread is None else _be_frugal_and_give_way
            self._process = ProcessPool(max_workers=1, context=context, initializer=initializer)
        self.expensive += 1
        try:
            future = self._process.schedule(_within_cpu_time, args=(CPU_S, work, *values), timeout=self._timeout_s)
            async with asyncio.timeout(self._timeout_s if self._max_waiting is not None else None):
                result: T = await asyncio.wrap_future(future)
            return result
        except TimeoutError:
            raise Overloaded("The machine is too busy to decode a picture of this size. Try again later.") from None
        except MemoryError:
            raise BrokenImage(DAMAGED.format("needed too much memory")) from None
        except ProcessExpired as expired:
            how = "took too long" if expired.exitcode == -signal.SIGXCPU else "died of it"
            raise BrokenImage(DAMAGED.format(how)) from None
        finally:
            self.expensive -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Finish what the threads do, and end the process."""
        self._threads.shutdown()
        if self._slow_thread is not None:
            self._slow_thread.shutdown()
        if self._process is not None:
            self._process.stop()  # type: ignore[no-untyped-call]
            self._process.join()


def _give_way() -> None:
    """Lower the priority of this thread. Linux has one for each thread, whatever POSIX says."""
    thread = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICE)


def _be_frugal_and_give_way() -> None:
    _give_way()
    _be_frugal()


def _be_frugal() -> None:
    """Limit the memory of this process, and make it give back what it does not need."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):  # glibc alone has it
        mallopt(MMAP_THRESHOLD, MMAP_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    # libtiff writes there what it finds wrong with a file.
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), STANDARD_ERROR)


def _within_cpu_time(cpu_s: int, work: Callable[..., T], *values: object) -> T:
    """Run work; the kernel ends the process by SIGXCPU if that takes more than ``cpu_s`` seconds of CPU."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime) + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
    try:
        return work(*values)
    except VisualSearchError as error:
        # Its frames would keep the picture in memory until the next one comes.
        error.__context__ = None
        raise error.with_traceback(None) from None
