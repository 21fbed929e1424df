"""Forward connections from listening sockets to addresses of another network: `python -m compose.relay`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

CHUNK = 2**18
"""Bytes that are read at once."""


async def forward(routes: Sequence[tuple[socket.socket, str, int]]) -> None:
    """Forward every connection of each listening socket to its host and port, until cancelled."""
    servers = [await asyncio.start_server(_handler(host, port), sock=listener) for listener, host, port in routes]
    await asyncio.gather(*(server.serve_forever() for server in servers))


def _handler(host: str, port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:  # the server is down: the client sees a closed connection, as it would without a relay
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        except OSError:  # one side is gone, and nothing can be sent to it
            for one in (writer, far_writer):
                one.transport.abort()
        else:
            for one in (writer, far_writer):
                one.close()  # after what it has yet to send, which a slow reader may take long for

    return handle


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end of the stream, then end the other side's stream too. Half-open connections go on."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def main() -> None:
    """Forward what the arguments name, until stopped by a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("route", nargs="+", help="FD:HOST:PORT, an inherited listening socket and where it leads")
    routes = []
    for route in parser.parse_args().route:
        number, host, port = route.split(":")
        routes.append((socket.socket(fileno=int(number)), host, int(port)))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(forward(routes))


if __name__ == "__main__":
    main()
