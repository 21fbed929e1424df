"""Connections of the commands to the servers.

Here alone the command imports adapters, and only when a command needs them: their client libraries take a second to
load, and `visualsearch status` must not wait for them. The import contracts see these imports like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import socket
import sys
from typing import TYPE_CHECKING, TypeVar

from visualsearch.domain.search import Priority
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from visualsearch.adapters.postgres.table_copy import PostgresTableCopy
    from visualsearch.composition import Stores
    from visualsearch.indexing_stores import IndexingStores
    from visualsearch.ports import ApiKeyRepository, AuditLog, ObjectStore

COMMAND_TIMEOUT_S = 30.0
"""A command can wait longer for a server than a request can."""

T = TypeVar("T")


def with_stores(work: Callable[[Stores], Awaitable[T]], *, search_servers: bool = True) -> T:
    """Run work on the stores that the settings name.

    Triton and Milvus of a local stack have a network of their own. The command starts again inside it, so it must not
    have changed anything before. Without ``search_servers``, it stays outside and can reach neither.
    """
    settings = Settings.load()
    if search_servers:
        _enter_stack_network(settings)
    from visualsearch.composition import open_stores

    async def run() -> T:
        async with open_stores(settings, COMMAND_TIMEOUT_S, Priority.INDEXING) as stores:
            return await work(stores)

    return asyncio.run(run())


def with_indexing_stores(work: Callable[[IndexingStores], Awaitable[T]]) -> T:
    """Run work on the stores that indexing needs. None of them has a network of its own."""
    from visualsearch.indexing_stores import open_indexing_stores

    async def run() -> T:
        async with open_indexing_stores(Settings.load(), COMMAND_TIMEOUT_S) as stores:
            return await work(stores)

    return asyncio.run(run())


def _enter_stack_network(settings: Settings) -> None:
    with contextlib.suppress(ImportError):  # the container image lacks compose: its servers are reachable anyway
        from compose.runner import join_network

        join_network(settings.home, settings.milvus_uri, [sys.executable, "-m", "cli.main", *sys.argv[1:]])


def operator() -> str:
    """Return who runs this command, for the records: the user and this machine."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a user without a name
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def with_access(work: Callable[[ApiKeyRepository, AuditLog], Awaitable[T]]) -> T:
    """Run work on the API keys and the audit log in Postgres, without the clients of the other servers."""
    from visualsearch.adapters.postgres.api_key_repository import PostgresApiKeys
    from visualsearch.adapters.postgres.audit_log import PostgresAuditLog
    from visualsearch.adapters.postgres.database import Database

    settings = Settings.load()

    async def run() -> T:
        database = Database(
            settings.postgres_dsn, settings.postgres_password.get_secret_value(), COMMAND_TIMEOUT_S, connections=1
        )
        try:
            return await work(PostgresApiKeys(database), PostgresAuditLog(database))
        finally:
            await database.close()

    return asyncio.run(run())


def open_bucket(name: str) -> ObjectStore:
    """Connect to another bucket of the object store."""
    from visualsearch.indexing_stores import bucket

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
