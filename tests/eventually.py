"""Waiting for what happens in the background: the one polling loop of the tests."""

import asyncio
import time

EVERY_S = 0.01


async def eventually(condition, within_s=20.0):
    """Poll until ``condition()`` is true and return its value; fail with its last value after ``within_s`` seconds."""
    end = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {within_s:g} s: {found!r}"
        await asyncio.sleep(EVERY_S)
    return found


def eventually_sync(condition, within_s=30.0, every_s=0.1):
    """Poll as ``eventually`` does, without an event loop; for real servers and processes."""
    end = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {within_s:g} s: {found!r}"
        time.sleep(every_s)
    return found
