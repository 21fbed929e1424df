"""Copies all tables out of Postgres and into it, by COPY.

It asks the server for the tables, so that tables of later versions are included. The schema is not part of a dump,
because the migrations create it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql

from visualsearch.domain.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

COUNTS = "owner_usage"
NOT_COPIED = {"alembic_version", "api_keys", "api_key_changes", COUNTS}
"""Tables that are neither dumped nor emptied. A dump with keys would bring back those that were revoked since. Triggers
count anew in the last one, which is emptied with the images."""
APPENDED = {"audit_log": "number"}
"""Tables that are dumped but never emptied, and the column that numbers their rows. A restore adds rows of
ids that are not there."""
COLUMNS = """SELECT relname, array_agg(attname::text ORDER BY attnum)
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    AND attnum > 0 AND NOT attisdropped AND attgenerated = '' GROUP BY relname"""
REFERENCES = """SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
    WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND conrelid <> confrelid"""
CONTINUE = """SELECT setval(format('public.%%I', sequencename)::regclass, greatest(%s, last_value))
    FROM pg_sequences WHERE schemaname = 'public' AND sequencename = %s"""
SEQUENCES = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL"


class PostgresTableCopy:
    """Reads and writes whole tables. Every method raises ``Unavailable`` when Postgres does not answer."""

    def __init__(self, dsn: str, password: str) -> None:
        self._options = {"conninfo": dsn} | ({"password": password} if password else {})

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """Open a snapshot of all tables at one moment, unaffected by concurrent writes."""
        async with self._connection() as connection:
            await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
            await connection.set_read_only(True)
            async with connection.transaction():
                yield Snapshot(connection)

    @asynccontextmanager
    async def restoring(self) -> AsyncIterator[Loader]:
        """Replace all tables in one transaction."""
        async with self._connection() as connection, connection.transaction():
            yield Loader(connection)

    async def note(self) -> str:
        """Return the note of ``Loader.leave_note``, or an empty string."""
        async with self._connection() as connection:
            rows = await _fetch(connection, "SELECT obj_description('public.images'::regclass)")
        return str(rows[0][0] or "")

    async def clear_note(self) -> None:
        """Remove the note."""
        async with self._connection() as connection:
            await connection.execute("COMMENT ON TABLE images IS NULL")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection]:
        try:
            # Without prepared statements, which collide in the sessions of a connection pooler.
            connecting = psycopg.AsyncConnection.connect(**self._options, connect_timeout=5, prepare_threshold=None)  # type: ignore[arg-type]
            async with await connecting as connection:
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise Unavailable("Postgres", str(error)[:200]) from None


class Snapshot:
    """The tables at one moment."""

    def __init__(self, connection: psycopg.AsyncConnection) -> None:
        self._connection = connection

    async def revision(self) -> str:
        """Return the schema's revision."""
        return str((await _fetch(self._connection, "SELECT version_num FROM alembic_version"))[0][0])

    async def tables(self) -> dict[str, list[str]]:
        """Return the columns of every table; each table comes after those that it references."""
        return await _tables(self._connection)

    async def sequences(self) -> dict[str, int]:
        """Return the last value of each sequence."""
        return dict(await _fetch(self._connection, SEQUENCES))

    async def rows(self, table: str, columns: Sequence[str]) -> AsyncIterator[bytes]:
        """Stream these columns of a table in COPY's text format, one row a line."""
        statement = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(_names(columns), sql.Identifier(table))
        async with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            async for data in copy:
                yield bytes(data)


class Loader:
    """Writes tables within one transaction."""

    def __init__(self, connection: psycopg.AsyncConnection) -> None:
        self._connection = connection

    async def clear(self, tables: Mapping[str, Sequence[str]]) -> None:
        """Empty every table but those of ``APPENDED``.

        Raises ``ConfigurationError`` if the schema lacks any of these columns.
        """
        there = await _tables(self._connection)
        wrong = [name for name, columns in tables.items() if not set(columns) <= set(there.get(name, ()))]
        if wrong:
            raise ConfigurationError(
                f"The schema lacks columns that the backup contains, of {', '.join(wrong)}: restore with the version "
                "of visual-search that made the backup, then upgrade."
            )
        names = _names([*(name for name in there if name not in APPENDED), COUNTS])
        await self._connection.execute(sql.SQL("TRUNCATE {} CASCADE").format(names))

    async def load(self, table: str, columns: Sequence[str], rows: AsyncIterator[bytes]) -> None:
        """Write a table's rows in the format of ``Snapshot.rows``."""
        if table in APPENDED:
            await self._append(table, columns, rows)
        else:
            await self._copy(table, columns, rows)

    async def _copy(self, table: str, columns: Sequence[str], rows: AsyncIterator[bytes]) -> None:
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), _names(columns))
        async with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            async for data in rows:
                await copy.write(data)

    async def _append(self, table: str, columns: Sequence[str], rows: AsyncIterator[bytes]) -> None:
        """Add rows under new numbers, in their order."""
        known, added, number = sql.Identifier(table), sql.Identifier(f"added_{table}"), APPENDED[table]
        create = sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP").format(added, known)
        await self._connection.execute(create)
        await self._copy(f"added_{table}", columns, rows)
        kept = _names([name for name in columns if name != number])
        await self._connection.execute(
            sql.SQL(
                "INSERT INTO {known} ({kept}) SELECT {kept} FROM {added} "
                "WHERE id NOT IN (SELECT id FROM {known}) ORDER BY {number}"
            ).format(known=known, kept=kept, added=added, number=sql.Identifier(number))
        )

    async def set_sequences(self, sequences: Mapping[str, int]) -> None:
        """Set each sequence to continue after this value, or after its own if that is greater."""
        for name, value in sequences.items():
            await self._connection.execute(CONTINUE, (value, name))

    async def leave_note(self, text: str) -> None:
        """Leave a note that ``PostgresTableCopy.note`` returns until ``clear_note``."""
        await self._connection.execute(sql.SQL("COMMENT ON TABLE images IS {}").format(sql.Literal(text)))


async def _tables(connection: psycopg.AsyncConnection) -> dict[str, list[str]]:
    columns = {name: names for name, names in await _fetch(connection, COLUMNS) if name not in NOT_COPIED}
    order: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(sorted(columns), ()))
    for name, refers_to in await _fetch(connection, REFERENCES):
        if name in columns and refers_to in columns:
            order.add(name, refers_to)
    return {name: columns[name] for name in order.static_order()}


async def _fetch(connection: psycopg.AsyncConnection, query: LiteralString) -> list[tuple[Any, ...]]:
    return await (await connection.execute(query)).fetchall()


def _names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
