"""The certificates that SNS signs messages with."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

import httpx
from cachetools import TTLCache
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from visualsearch.adapters.sns.https import MAX_BYTES, SERVER, get
from visualsearch.domain.errors import RateLimited, Unauthenticated, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from visualsearch.domain.topics import Topic

KEEP_S = 86_400.0
"""How long a certificate is used before it is fetched again."""
KEPT = 64
"""Certificates that are kept: a region has one or two at a time."""
RETRY_S = 1.0
"""Shortest time between two fetches, so that invented addresses cause no more than that."""
MIN_BITS = 2048


class Certificates:
    """Fetches certificates and keeps their keys. ``transport`` replaces the network in tests."""

    def __init__(
        self, transport: httpx.AsyncBaseTransport | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._keys: TTLCache[str, RSAPublicKey] = TTLCache(KEPT, KEEP_S, clock)
        self._fetching = asyncio.Lock()
        self._fetched_at = float("-inf")

    async def key(self, url: str, topic: Topic) -> RSAPublicKey:
        """Return the public key of the certificate at an address, which must be one of SNS in the topic's region.

        Raises ``Unauthenticated`` for any other address, ``RateLimited`` if another one was fetched just now, and
        ``Unavailable``.
        """
        if re.fullmatch(rf"https://{re.escape(topic.host)}/[\w-]{{1,200}}\.pem", url, re.ASCII) is None:
            raise Unauthenticated(f"The certificate of a message of SNS lies at https://{topic.host}/NAME.pem.")
        async with self._fetching:
            if url not in self._keys:
                self._keys[url] = await self._fetch(url)
            return self._keys[url]

    async def _fetch(self, url: str) -> RSAPublicKey:
        if (wait_s := self._fetched_at + RETRY_S - self._clock()) > 0:
            raise RateLimited("Another certificate was fetched just now: send the message again.", wait_s)
        self._fetched_at = self._clock()
        pem = await get(url, self._transport)
        try:
            certificate = x509.load_pem_x509_certificate(pem)
        except ValueError:
            raise Unavailable(SERVER, f"{url} is no certificate of at most {MAX_BYTES} bytes") from None
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey) or key.key_size < MIN_BITS:
            raise Unauthenticated("The certificate of this message has no RSA key of 2,048 bits.")
        return key
