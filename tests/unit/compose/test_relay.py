"""Connections through the relay arrive whole, and end as they would without it."""

import asyncio
import contextlib
import socket

import pytest

from compose.relay import Route, forward
from tests.unit.compose.relays import relays


@pytest.fixture
async def relayed():
    """Serve a handler behind a relay; returns the relay's port."""
    async with relays() as relayed:
        yield relayed


@pytest.mark.parametrize("size", [10_000, 6_000_000, 10_240_000])
async def test_a_slow_reader_gets_everything_although_both_sides_have_ended(relayed, size):
    sent = bytes(range(250)) * (size // 250)

    async def serve(_reader, writer):
        writer.write(sent)
        await writer.drain()
        writer.close()

    reader, writer = await asyncio.open_connection("127.0.0.1", await relayed(serve), limit=1024)
    writer.write_eof()
    await asyncio.sleep(0.3)  # the server is done long before the first byte is read
    received = b""
    while part := await reader.read(65_536):
        received += part
    writer.close()
    assert received == sent


async def test_an_answer_arrives_after_the_client_has_said_that_it_sends_no_more(relayed):
    async def serve(reader, writer):
        writer.write((await reader.read()).upper())
        writer.close()

    reader, writer = await asyncio.open_connection("127.0.0.1", await relayed(serve))
    writer.write(b"question")
    writer.write_eof()
    assert await reader.read() == b"QUESTION"
    writer.close()


async def test_without_a_server_the_connection_ends_at_once():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listener = socket.create_server(("127.0.0.1", 0))
    relay = asyncio.create_task(forward([Route(listener, "127.0.0.1", port)]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    relay.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await relay
