"""Overload: each search is answered or refused at once, and the service recovers afterwards."""

import asyncio
import sys
import threading
from collections import Counter

import httpx
import pytest

from gateway.api.app import create_app
from gateway.main import build
from gateway.process.worker_group import WorkerGroup
from tests.integration.test_failures import wait_until_ready
from tests.integration.test_rest import indexed, jpeg, search
from visualsearch.composition import open_stores
from visualsearch.imaging.picture_pool import PicturePool

pytestmark = pytest.mark.stack

CALLERS = 150
WAITS = {"open", "socket.getaddrinfo", "subprocess.Popen", "os.system"}
"""Python's audit events of what may take long, and must not happen on the event loop's thread."""


async def burst(stack) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=CALLERS)
    async with httpx.AsyncClient(base_url=stack.url, timeout=60, limits=limits) as client:
        asked = (client.post("/search", files={"image": jpeg(91)}, data={"k": "50"}) for _ in range(CALLERS))
        return await asyncio.gather(*asked)


async def test_a_burst_is_answered_or_refused_and_nothing_else(api, stack):
    indexed(api, jpeg(91))
    answers = await burst(stack)
    assert set(Counter(answer.status_code for answer in answers)) == {200, 503}
    for refused in (answer for answer in answers if answer.status_code == 503):
        assert int(refused.headers["retry-after"]) >= 1
        assert len(refused.json()["detail"]) > 20
    wait_until_ready(api)
    assert search(api, jpeg(91), k=1).json()["results"][0]["score"] > 0.99


async def test_a_search_waits_for_nothing_on_the_event_loop(api, stack, tmp_path):
    """In this process, on the real servers: the gateway's own parts and every adapter under an audit hook."""
    indexed(api, jpeg(91))
    loop_thread, waits, listening = threading.get_ident(), [], False

    def hook(event, arguments):
        if listening and event in WAITS and threading.get_ident() == loop_thread:
            waits.append((event, *map(str, arguments)))

    sys.addaudithook(hook)
    with PicturePool(1) as pool:
        async with open_stores(stack) as stores:
            app = create_app()
            app.state.gateway = build(stack, stores, pool, WorkerGroup(tmp_path, 1))
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:

                async def ask():
                    answer = await client.post("/search", files={"image": jpeg(91)})
                    assert answer.status_code == 200, answer.text

                await ask()  # connects, and reads the model's card
                listening = True
                await asyncio.gather(*(ask() for _ in range(5)))
                listening = False
            await app.state.gateway.drain()
    # Modules that are imported late are read from the two prefixes, and once.
    assert not [wait for wait in waits if not wait[1].startswith((sys.prefix, sys.base_prefix))]
