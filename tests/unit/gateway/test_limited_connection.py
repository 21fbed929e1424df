"""Connections of senders that are slow or send too much are closed with a reason."""

import asyncio
import contextlib
import time
from functools import partial

import pytest
import uvicorn

from gateway.limits import connections
from gateway.limits.connections import Connections
from gateway.process import limited_connection
from gateway.process.limited_connection import (
    CHARGED,
    HEAD_BYTES,
    UNCHARGED_A_SECOND,
    LimitedConnection,
    pause_connection,
)

MOST = 4
GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n"


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/charged":
        scope[CHARGED] = True
    if scope["path"] == "/refused":
        pause_connection(scope, 0.3)
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def connect(monkeypatch):
    """Connect to a server with short limits."""
    monkeypatch.setattr(limited_connection, "HEAD_S", 0.2)
    monkeypatch.setattr(limited_connection, "BODY_CHECK_S", 0.2)
    monkeypatch.setattr(limited_connection, "BODY_BYTES", 1000)
    monkeypatch.setattr(limited_connection, "PROBE_PAUSE_S", 0.3)
    http = partial(LimitedConnection, connections=Connections(MOST, MOST - 1))
    config = uvicorn.Config(application, port=0, http=http, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    writers = []

    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        return reader, writer

    yield one
    for writer in writers:
        writer.close()
    await server.shutdown()


async def all_of(reader):
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), 5)
    return b""


async def test_an_ordinary_request_is_answered_and_the_next_on_the_same_connection_too(connect):
    reader, writer = await connect()
    for _ in range(2):
        writer.write(GET + b"\r\n")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")


async def test_a_large_body_that_comes_quickly_is_accepted(connect):
    reader, writer = await connect()
    writer.write(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3000000\r\n\r\n" + bytes(3_000_000))
    assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")


async def test_an_idle_connection_is_closed_without_a_response(connect):
    reader, _ = await connect()
    assert await all_of(reader) == b""


async def test_headers_that_never_end_in_time_are_refused(connect):
    reader, writer = await connect()
    writer.write(GET)
    answer = await all_of(reader)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"application/problem+json" in answer


async def test_headers_without_end_are_refused(connect):
    reader, writer = await connect()
    line = b"x-padding: " + b"p" * 1000 + b"\r\n"
    writer.write(GET + line * (HEAD_BYTES // len(line) + 1))
    answer = await all_of(reader)
    assert answer.startswith(b"HTTP/1.1 431")
    assert b"at most 64 KB" in answer


async def test_a_body_that_trickles_is_refused(connect):
    reader, writer = await connect()
    writer.write(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n")
    for _ in range(3):
        writer.write(b"x")
        await asyncio.sleep(0.02)
    assert (await all_of(reader)).startswith(b"HTTP/1.1 408")


async def timed(reader, writer, path, **headers):
    """Ask for a path; return the seconds until the answer."""
    begin = time.perf_counter()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n".encode())
    await reader.readuntil(b"ok")
    return time.perf_counter() - begin


@pytest.mark.parametrize("path", ["/refused", "/ready", "/metrics"])
async def test_after_a_refusal_or_a_probe_the_connection_waits_before_its_next_request(connect, path):
    one, other = await connect(), await connect()
    await timed(*one, path)
    assert await timed(*other, "/") < 0.2, "another connection does not wait"
    assert await timed(*one, "/") > 0.1
    assert await timed(*one, "/") < 0.2, "once"


async def test_a_connection_that_carries_the_requests_of_others_does_not_wait(connect):
    reader, writer = await connect()
    await timed(reader, writer, "/refused", **{"x-forwarded-for": "192.0.2.1"})
    assert await timed(reader, writer, "/", **{"x-forwarded-for": "192.0.2.2"}) < 0.2


async def test_requests_that_were_sent_ahead_are_not_answered_after_a_refusal(connect):
    reader, writer = await connect()
    writer.write(GET.replace(b"/ ", b"/refused ") + b"\r\n" + GET + b"\r\n" + GET + b"\r\n")
    assert (await all_of(reader)).count(b"HTTP/1.1 200") == 1


async def test_one_address_gets_so_many_connections_and_no_more(connect):
    held = [await connect() for _ in range(MOST - 1)]
    for reader, writer in held:
        await timed(reader, writer, "/")
    reader, _ = await connect()
    answer = await all_of(reader)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in answer
    assert b"connections here, which is the limit" in answer
    held[0][1].close()
    await asyncio.sleep(0.05)
    assert await timed(*(await connect()), "/") < 1


@pytest.mark.parametrize(("path", "slowed"), [("/", True), ("/charged", False)])
async def test_requests_that_nobody_is_charged_for_are_slowed_down_after_a_burst(connect, path, slowed):
    connection = await connect()
    count = int(UNCHARGED_A_SECOND)
    for _ in range(count):
        await timed(*connection, path)
    begin = time.perf_counter()
    for _ in range(count):
        await timed(*connection, path)
    assert (time.perf_counter() - begin > 0.5) is slowed


@pytest.mark.parametrize(("path", "waits"), [("/charged", False), ("/refused", True)])
async def test_who_leaves_after_a_refusal_and_comes_again_at_once_waits_too(connect, monkeypatch, path, waits):
    monkeypatch.setattr(connections, "WASTED_A_SECOND", 1.0)
    monkeypatch.setattr(connections, "LATER_S", 0.15)  # below the time for headers
    for _ in range(2):
        reader, writer = await connect()
        await timed(reader, writer, path)
        writer.close()
        await asyncio.sleep(0.35)  # a connection that is not read is not seen to close
    assert (await timed(*(await connect()), "/charged") > 0.1) is waits
