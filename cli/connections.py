"""Connections of the commands to the servers.

Here alone the command imports adapters, and only when a command needs them: their client libraries take a second to
load, and `visualsearch status` must not wait for them. The import contracts see these imports like any other.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from visualsearch.domain.search import Priority
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from visualsearch.adapters.postgres.table_copy import PostgresTableCopy
    from visualsearch.composition import Stores
    from visualsearch.ports import ObjectStore

COMMAND_TIMEOUT_S = 30.0
"""A command can wait longer for a server than a request can."""

T = TypeVar("T")


def with_stores(work: Callable[[Stores], Awaitable[T]]) -> T:
    """Run work on the stores that the settings name."""
    from visualsearch.composition import open_stores

    async def run() -> T:
        async with open_stores(Settings.load(), COMMAND_TIMEOUT_S, Priority.INDEXING) as stores:
            return await work(stores)

    return asyncio.run(run())


def open_bucket(name: str) -> ObjectStore:
    """Connect to another bucket of the object store."""
    from visualsearch.composition import bucket

    return bucket(Settings.load(), name, COMMAND_TIMEOUT_S)


def open_table_copy() -> PostgresTableCopy:
    """Connect to Postgres to copy whole tables."""
    from visualsearch.composition import dump

    return dump(Settings.load())


def migrate_schema() -> None:
    """Bring the schema of Postgres up to date."""
    from visualsearch.adapters.postgres.migrations import migrate

    settings = Settings.load()
    migrate(settings.postgres_dsn, settings.postgres_password.get_secret_value())
