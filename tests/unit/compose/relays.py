"""Relays in front of servers of the tests."""

import asyncio
import contextlib
import socket

from compose.relay import Route, forward


@contextlib.asynccontextmanager
async def relays(*certificates):
    """Yield a function that puts a relay in front of a handler, and returns the relay's port, until the block ends."""
    async with contextlib.AsyncExitStack() as ends:

        async def one(handler, *protocol):
            server = await asyncio.start_server(handler, "127.0.0.1", 0)
            ends.callback(server.close)
            listener = socket.create_server(("127.0.0.1", 0))
            routes = [Route(listener, *server.sockets[0].getsockname(), *protocol)]
            task = asyncio.create_task(forward(routes, *certificates))
            ends.push_async_callback(_cancelled, task)
            return listener.getsockname()[1]

        yield one


async def _cancelled(task):
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
