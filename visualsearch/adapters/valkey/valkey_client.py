"""The base of the Valkey (or Redis) adapters: connection, timeouts and consumer groups."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import redis.asyncio as aioredis
from redis.exceptions import RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from visualsearch.domain.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from visualsearch.tls import ClientTLS


class GroupGone(Unavailable):
    """The server has lost a consumer group, for example after a flush. The caller must create it again."""


class EncryptedConnection(aioredis.Connection):
    """A connection by TLS. It reads the certificates whenever it connects, since they may have been renewed."""

    def __init__(self, *, tls: ClientTLS | None, **options: Any) -> None:  # noqa: ANN401 - the client's own options
        if tls is None:
            raise ConfigurationError("Valkey's address is rediss://, so VISUALSEARCH_TLS_CA_FILE must be set.")
        super().__init__(**options)
        self._tls = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._tls.context()}


class ValkeyClient:
    """A connection, by TLS if ``url`` begins with rediss://.

    Every call under ``_deadline`` ends within ``timeout_s`` seconds or raises ``Unavailable``.
    """

    def __init__(self, url: str, password: str, timeout_s: float, tls: ClientTLS | None = None) -> None:
        encrypted: dict[str, Any] = {}
        if url.startswith("rediss://"):
            encrypted = {"connection_class": EncryptedConnection, "tls": tls}
        # Typed as Any: the client's annotations are unions over all protocol versions, which callers cannot use.
        self._redis: Any = aioredis.Redis.from_url(
            url.replace("rediss://", "redis://", 1),  # the scheme would choose a connection class of its own
            password=password or None,
            decode_responses=True,
            # Invalid UTF-8 in one entry must not prevent reading the others.
            encoding_errors="replace",
            socket_connect_timeout=timeout_s,
            # Notifications of hosted Redis. With them enabled, redis-py 8 returns connections that the server has
            # closed, and the next call of each fails after a restart.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            **encrypted,
        )
        self._timeout_s = timeout_s

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _make_group(self, stream: str, group: str) -> None:
        """Create a stream and its consumer group; no-op if they exist."""
        async with self._deadline():
            try:
                await self._redis.xgroup_create(stream, group, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    @asynccontextmanager
    async def _deadline(self, more_s: float = 0.0) -> AsyncIterator[None]:
        """Bound a call in time; translate the client's errors. Raises ``GroupGone`` too."""
        try:
            async with asyncio.timeout(self._timeout_s + more_s):
                yield
        except ResponseError as error:
            if "NOGROUP" in str(error) or "no such key" in str(error):
                raise GroupGone("Valkey", str(error)) from None
            raise Unavailable("Valkey", str(error)) from None
        except (RedisError, TimeoutError, OSError) as error:
            raise Unavailable("Valkey", str(error)) from None
