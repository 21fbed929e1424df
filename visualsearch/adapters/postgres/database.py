"""The PostgreSQL connection pool, which every repository shares. The server may be behind another pooler."""

from __future__ import annotations

import asyncio
import select
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from visualsearch.domain.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

Row = dict[str, Any]
LONGEST_STATEMENT = "30s"
"""When the server ends a statement whose caller has gone without cancelling it."""


class Database:
    """A connection pool. Every call ends within ``timeout_s`` seconds or raises ``Unavailable``."""

    def __init__(self, dsn: str, password: str, timeout_s: float, connections: int = 8) -> None:
        self._timeout_s = timeout_s
        options: dict[str, Any] = {
            "autocommit": True,
            "row_factory": dict_row,
            "connect_timeout": 2,
            # Let the kernel detect a dead server within 2 s, instead of after hours.
            "tcp_user_timeout": 2000,
        }
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Row]] = AsyncConnectionPool(
            dsn,
            kwargs=options | ({"password": password} if password else {}),
            min_size=1,
            max_size=connections,
            open=False,
            timeout=timeout_s,
            reconnect_timeout=5,
            configure=_configure,
            check=_check,
        )
        self._opening = asyncio.Lock()
        self._opened = False
        self._calls: set[asyncio.Task[list[Row]]] = set()

    async def rows(self, query: str, *values: object) -> list[Row]:
        """Run one statement and return its rows; raises ``Unavailable`` and ``InvalidInput``."""

        async def work() -> list[Row]:
            await self._open()
            async with self._pool.connection() as connection:
                cursor = await connection.execute(query, values)
                return await cursor.fetchall() if cursor.description else []

        return await self._within_deadline(work())

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Row]]:
        """Provide a connection for a transaction, with the same deadline and errors as ``rows``."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._open()
                async with self._pool.connection() as connection:
                    yield connection
        except TimeoutError:
            raise Unavailable("Postgres", f"no answer within {self._timeout_s:g} s") from None
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
            raise Unavailable("Postgres", str(error)[:200]) from None

    async def check(self) -> None:
        """Run one statement; raise ``Unavailable`` if it fails."""
        await self.rows("SELECT 1")

    async def close(self) -> None:
        """Close every connection."""
        if self._opened:
            await self._pool.close(timeout=1)

    async def _open(self) -> None:
        async with self._opening:
            if not self._opened:
                await self._pool.open()
                self._opened = True

    async def _within_deadline(self, work: Coroutine[None, None, list[Row]]) -> list[Row]:
        """Wait for work until the deadline; translate the driver's errors.

        Late work is cancelled but not awaited: the driver first asks the server to stop, and takes ten seconds to give
        up if the server does not answer.
        """
        call = asyncio.create_task(work)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        # Retrieve the exception, so that asyncio does not log abandoned calls.
        call.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.wait([call], timeout=self._timeout_s)
            if call.done():
                return call.result()
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
            raise Unavailable("Postgres", str(error)[:200]) from None
        except psycopg.DataError as error:
            raise InvalidInput(f"Postgres cannot store a value: {str(error)[:200]}") from None
        finally:
            call.cancel()
        raise Unavailable("Postgres", f"no answer within {self._timeout_s:g} s")


async def _configure(connection: psycopg.AsyncConnection[Row]) -> None:
    """Set a new connection up, without leaving anything in a session that is not ours alone.

    A pooler such as PgBouncer may give each transaction another session. It hides the number of the server's process
    behind one of its own. Statements prepared in such a session collide with those of others, and settings would hold
    for others.
    """
    cursor = await connection.execute("SELECT pg_backend_pid() AS pid")
    row = await cursor.fetchone()
    if row and row["pid"] == connection.info.backend_pid:
        await connection.execute(f"SET statement_timeout = '{LONGEST_STATEMENT}'")
    else:
        connection.prepare_threshold = None


async def _check(connection: psycopg.AsyncConnection[Row]) -> None:
    """Check a connection on the server only if it has unread data, which usually means that it was closed.

    Checking each time would double the calls of a search.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        await AsyncConnectionPool.check_connection(connection)
