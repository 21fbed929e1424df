"""The connection to Milvus, with or without TLS."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pymilvus import AsyncMilvusClient

from visualsearch.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from visualsearch.tls import ClientTLS

CHANNEL = {
    # Otherwise a new channel shares the broken connection and waits for it.
    "grpc.use_local_subchannel_pool": 1,
    # Reconnect within a second, instead of gRPC's maximum of two minutes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
}


class Connection:
    """A client that connects at its first use. ``options`` are those of ``client_options``."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._client: AsyncMilvusClient | None = None
        self._connecting = asyncio.Lock()

    async def client(self) -> AsyncMilvusClient:
        """Return the client; concurrent first calls open one connection."""
        async with self._connecting:
            if self._client is None:
                self._client = await AsyncMilvusClient(**self._options).__aenter__()
            return self._client

    async def close(self) -> None:
        """Close the client, if there is one."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def client_options(uri: str, user: str, password: str, timeout_s: float, tls: ClientTLS | None) -> dict[str, Any]:
    """Return the arguments of pymilvus' clients; with https:// in ``uri``, they use the files of ``tls``.

    Raises ``ConfigurationError`` for https:// without files.
    """
    # Use a dedicated connection. A shared one that was idle is health-checked under a lock that a failed check
    # needs too, so that it deadlocks while Milvus is down (pymilvus 3.0.2). Keep the client after errors: pymilvus
    # reopens its channel by itself.
    options: dict[str, Any] = {"uri": uri, "timeout": timeout_s, "dedicated": True, "grpc_options": CHANNEL}
    if password:
        options |= {"user": user, "password": password}
    if uri.startswith("https://"):
        options |= {"secure": True, **_files(uri, tls)}
    return options


def _files(uri: str, tls: ClientTLS | None) -> dict[str, str]:
    if tls is None:
        raise ConfigurationError(f"Milvus' address is {uri}, so VISUALSEARCH_TLS_CA_FILE must be set.")
    if tls.certificate is None:
        return {"server_pem_path": str(tls.ca)}
    names = {"ca_pem_path": tls.ca, "client_pem_path": tls.certificate, "client_key_path": tls.key or tls.certificate}
    return {name: str(file) for name, file in names.items()}
