"""Forward connections from listening sockets to addresses of another network: `python -m compose.relay`.

With certificates, it ends TLS in front of servers that cannot: some are built without it, and the others would have to
be restarted for a renewed certificate. It loads a renewed one while it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compose.certificates import Certificates
from visualsearch.tls import keep_current

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CHUNK = 2**18
"""Bytes that are read at once."""
HANDSHAKE_S = 10.0
"""Timeout of agreeing on TLS."""
GRPC, HTTP, S3, POSTGRES, VALKEY = "grpc", "http", "s3", "postgres", "valkey"
OFFERED = {GRPC: ["h2"], HTTP: ["http/1.1"], S3: ["http/1.1"], POSTGRES: ["postgresql"], VALKEY: []}
"""The protocols that each kind of server agrees on (ALPN)."""
WITHOUT_CLIENT_CERTIFICATE = {S3}
"""S3's clients sign each request with their secret key, and ours cannot show a certificate."""
SSL_REQUEST, GSS_REQUEST = (struct.pack("!II", 8, code) for code in (80877103, 80877104))
"""First messages of Postgres' protocol by which a client asks for encryption."""
TLS_REQUIRED = b"SFATAL\0VFATAL\0C28000\0Mthis server requires TLS: connect with sslmode=verify-full\0\0"


class Route(NamedTuple):
    """A listening socket and the address that it leads to. With a ``protocol``, clients must use TLS."""

    listener: socket.socket
    host: str
    port: int
    protocol: str = ""


async def forward(routes: Sequence[Route], certificates: Certificates | None = None) -> None:
    """Forward every connection of each route, until cancelled."""
    contexts = _contexts(certificates) if certificates else {}
    serving = []
    for listener, host, port, protocol in routes:
        handler, context = _handler(host, port), contexts.get(protocol)
        if context and protocol == POSTGRES:
            serving.append(_serve_postgres(listener, handler, context))
            continue
        timeout_s = HANDSHAKE_S if context else None
        server = await asyncio.start_server(handler, sock=listener, ssl=context, ssl_handshake_timeout=timeout_s)
        serving.append(server.serve_forever())
    if certificates:
        serving.append(keep_current(contexts.values(), certificates.server("servers")))
    await asyncio.gather(*serving)


def _contexts(certificates: Certificates) -> Mapping[str, ssl.SSLContext]:
    shown, contexts = certificates.server("servers"), {}
    for protocol, offered in OFFERED.items():
        authority = None if protocol in WITHOUT_CLIENT_CERTIFICATE else certificates.ca
        context = contexts[protocol] = replace(shown, client_ca=authority).context()
        if offered:
            context.set_alpn_protocols(offered)
    return contexts


def _handler(host: str, port: int) -> Handler:
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
        finally:
            for one in (writer, far_writer):
                one.close()  # after what it has yet to send, which a slow reader may take long for

    return handle


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end of the stream, then end the other side's stream too.

    Half-open connections go on. TLS has none here: there, the end of a stream is the end of the connection.
    """
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()


async def _serve_postgres(listener: socket.socket, handler: Handler, context: ssl.SSLContext) -> None:
    """Accept connections of Postgres' protocol, which begin in plain text and then change to TLS."""
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    calls = set[asyncio.Task[None]]()
    try:
        while True:
            connection, _ = await loop.sock_accept(listener)
            call = asyncio.create_task(_answer_postgres(connection, handler, context))
            calls.add(call)
            call.add_done_callback(calls.discard)
    finally:
        listener.close()
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def _answer_postgres(connection: socket.socket, handler: Handler, context: ssl.SSLContext) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=CHUNK, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            if not await _asks_for_tls(connection):
                connection.close()
                return
        # Only the request was read. What a client sends before the handshake is part of it, so that nobody can put
        # plain text in front of what is encrypted.
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, connection, ssl=context, ssl_handshake_timeout=HANDSHAKE_S
        )
    except OSError:  # the client left, or its certificate is not accepted
        connection.close()
        return
    try:
        await handler(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
    finally:
        transport.close()


async def _asks_for_tls(connection: socket.socket) -> bool:
    """Agree to TLS if the client asks for it; tell a client that does not that it must."""
    loop = asyncio.get_running_loop()
    while True:
        message = b""
        while len(message) < len(SSL_REQUEST):
            part = await loop.sock_recv(connection, len(SSL_REQUEST) - len(message))
            if not part:
                return False
            message += part
        if message == SSL_REQUEST:
            await loop.sock_sendall(connection, b"S")
            return True
        if message != GSS_REQUEST:
            await loop.sock_sendall(connection, b"E" + struct.pack("!I", len(TLS_REQUIRED) + 4) + TLS_REQUIRED)
            return False
        await loop.sock_sendall(connection, b"N")


def main() -> None:
    """Forward what the arguments name, until stopped by a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificates", type=Path, help="the folder of the certificates, for routes with a protocol")
    parser.add_argument(
        "route", nargs="+", help="FD:HOST:PORT[:PROTOCOL], an inherited listening socket and where it leads"
    )
    options = parser.parse_args()
    routes = []
    for route in options.route:
        number, host, port, *protocol = route.split(":")
        routes.append(Route(socket.socket(fileno=int(number)), host, int(port), *protocol))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(forward(routes, Certificates(options.certificates) if options.certificates else None))


if __name__ == "__main__":
    main()
