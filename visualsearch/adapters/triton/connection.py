"""The connection to Triton's gRPC API, with or without TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import tritonclient.grpc.aio as triton

from visualsearch.domain.errors import ConfigurationError
from visualsearch.tls import Renewed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.tls import ClientTLS

ENCRYPTED = "grpcs://"
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
"""Otherwise a new channel would go on with the connection of the one before, and its certificate."""


def connection(
    address: str, tls: ClientTLS | None, channel: Sequence[tuple[str, Any]] = ()
) -> Renewed[triton.InferenceServerClient]:
    """Return a client of ``address``: host:port, or grpcs://host:port for TLS with the files of ``tls``.

    Raises ``ConfigurationError`` for grpcs:// without files.
    """
    options = list(channel) or None
    if not address.startswith(ENCRYPTED):
        return Renewed(lambda: triton.InferenceServerClient(address, channel_args=options), _close, None)
    if tls is None:
        raise ConfigurationError(f"Triton's address is {address}, so VISUALSEARCH_TLS_CA_FILE must be set.")
    host = address.removeprefix(ENCRYPTED)
    return Renewed(
        lambda: triton.InferenceServerClient(
            host, creds=grpc.ssl_channel_credentials(*tls.pem()), channel_args=[*channel, *OWN_CONNECTION]
        ),
        _close,
        tls,
    )


async def _close(client: triton.InferenceServerClient) -> None:
    await client.close()
