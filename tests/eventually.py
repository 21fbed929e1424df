"""The polling loop of the tests, which waits for background work."""

import asyncio
import inspect
import time

EVERY_S = 0.01


async def eventually(condition, within_s=20.0, every_s=EVERY_S, errors=()):
    """Poll until ``condition()`` is true and return its value.

    The condition may be a coroutine function. Exceptions of the types ``errors`` mean "not yet". After ``within_s``
    seconds, fail with the condition's last value or raise its last exception.
    """
    end = time.monotonic() + within_s
    while True:
        found = None
        try:
            found = condition()
            if inspect.isawaitable(found):
                found = await found
        except errors:
            if time.monotonic() > end:
                raise
        if found:
            return found
        assert time.monotonic() < end, f"not within {within_s:g} s: {found!r}"
        await asyncio.sleep(every_s)


def eventually_sync(condition, within_s=30.0, every_s=0.1, errors=()):
    """Poll as ``eventually`` does, without an event loop; for real servers and processes."""
    end = time.monotonic() + within_s
    while True:
        found = None
        try:
            found = condition()
        except errors:
            if time.monotonic() > end:
                raise
        if found:
            return found
        assert time.monotonic() < end, f"not within {within_s:g} s: {found!r}"
        time.sleep(every_s)
