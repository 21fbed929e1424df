"""Fixtures that several contract tests of one server share."""

import psycopg
import pytest
import redis.asyncio as aioredis

from tests.postgres import migrated_database


@pytest.fixture(scope="module")
def database(stack):
    """A migrated database of the module's own: (dsn, password)."""
    with migrated_database(stack) as database:
        yield database


@pytest.fixture
def postgres_server(database):
    """A connection to that database, its interactions, images and experiments emptied."""
    dsn, password = database
    with psycopg.connect(dsn, password=password, autocommit=True) as server:
        server.execute("TRUNCATE interactions, queries, spooled, images, experiments CASCADE")
        yield server


@pytest.fixture(scope="session")
def address(stack):
    """A database of the tests' own, which no indexer reads: (url, password)."""
    return f"{stack.valkey_url.rsplit('/', 1)[0]}/7", stack.valkey_password.get_secret_value()


@pytest.fixture
async def server(address):
    """The bare server, emptied."""
    url, password = address
    client = aioredis.Redis.from_url(url, password=password or None, decode_responses=True)
    await client.flushdb()
    yield client
    await client.flushdb()
    await client.aclose()
