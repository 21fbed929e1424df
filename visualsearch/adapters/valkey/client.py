"""What every adapter of Valkey (or Redis) does alike: connect, bound each call in time, make a consumer group."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import redis.asyncio as aioredis
from redis.exceptions import RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from visualsearch.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class GroupGone(Unavailable):
    """The server has lost a consumer group, as after a flush; whoever does not make it anew cannot go on."""


class ValkeyClient:
    """A connection. Every call under ``_deadline`` ends within ``timeout_s`` seconds or raises ``Unavailable``."""

    def __init__(self, url: str, password: str, timeout_s: float) -> None:
        # Annotated as unions of all that every version of the protocol answers, which no caller could use.
        self._redis: Any = aioredis.Redis.from_url(
            url,
            password=password or None,
            decode_responses=True,
            # Bytes that are no text must not keep the entries beside them from being read.
            encoding_errors="replace",
            socket_connect_timeout=timeout_s,
            # A hosted Redis' own messages. Listening to them, redis 8 hands out connections that the server has closed,
            # and after a restart the next call of each fails.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        self._timeout_s = timeout_s

    async def close(self) -> None:
        """Let go of connections."""
        await self._redis.aclose()

    async def _make_group(self, stream: str, group: str) -> None:
        """Create a stream and its consumer group; no-op where they exist."""
        async with self._deadline():
            try:
                await self._redis.xgroup_create(stream, group, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    @asynccontextmanager
    async def _deadline(self, more_s: float = 0.0) -> AsyncIterator[None]:
        """Bound a call in time, and turn the vendor's errors into ours; raises ``GroupGone`` too."""
        try:
            async with asyncio.timeout(self._timeout_s + more_s):
                yield
        except ResponseError as error:
            if "NOGROUP" in str(error) or "no such key" in str(error):
                raise GroupGone("Valkey", str(error)) from None
            raise Unavailable("Valkey", str(error)) from None
        except (RedisError, TimeoutError, OSError) as error:
            raise Unavailable("Valkey", str(error)) from None
