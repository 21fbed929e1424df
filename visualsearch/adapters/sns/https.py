"""Calls of SNS by HTTPS. Callers build the addresses of hosts of SNS alone."""

from __future__ import annotations

import asyncio

import httpx

from visualsearch.domain.errors import Unavailable

SERVER = "Amazon SNS"
TIMEOUT_S = 1.5
"""It is below the 2 s within which a caller must learn that a server is down."""
MAX_BYTES = 2**16


async def get(url: str, transport: httpx.AsyncBaseTransport | None) -> bytes:
    """Return what an address answers; redirects are not followed. Raises ``Unavailable``."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            # In a thread, because reading the certificates of the authorities takes some 30 ms.
            trusted = await asyncio.to_thread(httpx.create_ssl_context)
            async with (
                httpx.AsyncClient(transport=transport, verify=trusted) as client,
                client.stream("GET", url) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise Unavailable(SERVER, f"{url.partition('?')[0]} gave {response.status_code}")
                return await _limited(response)
    except (httpx.HTTPError, TimeoutError) as error:
        raise Unavailable(SERVER, str(error) or type(error).__name__) from None


async def _limited(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > MAX_BYTES:
            raise Unavailable(SERVER, f"an answer has more than {MAX_BYTES} bytes")
    return bytes(body)
