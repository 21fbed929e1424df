"""What several contract tests of one server share."""

import pytest
import redis.asyncio as aioredis


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
