"""The public keys of an issuer of tokens: its JSON Web Key Set."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from visualsearch.domain.errors import Unauthenticated, Unavailable
from visualsearch.periodic_job import PeriodicJob
from visualsearch.refreshed import Refreshed

if TYPE_CHECKING:
    from collections.abc import Callable

ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
"""The one algorithm of each kind of key. What a token says of itself chooses none, so a public key never becomes the
secret of an HMAC, and ``none`` is no signature."""
PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""The members of each kind of key that are used."""
MIN_RSA_BITS = 2048

REFRESH_S, MAX_AGE_S = 300.0, 600.0
"""Age at which keys are fetched in the background, and from which calls wait for that. A key that the issuer withdraws
stops within ``MAX_AGE_S``."""
KEEP_S = 86_400.0
"""How long keys are valid while the issuer does not answer."""
CHECK_S = 60.0
"""Interval at which the age of the keys is checked, with or without requests."""
RETRY_S = 10.0
"""Time between two fetches, however many unknown keys are named and whether the issuer answers or not."""
WAIT_S = 1.5
"""How long a call waits for the issuer. It is below the 2 s within which a caller must learn that a server is down."""
FETCH_S = 5.0
"""Timeout of a fetch, which goes on when nobody waits for it any more."""
MAX_BYTES, MAX_KEYS = 2**20, 200

DISCOVERY = "/.well-known/openid-configuration"
SERVER = "The issuer of tokens"


class IssuerKeys:
    """Holds the keys of ``issuer``; without ``jwks_url`` their address comes from its discovery document.

    While ``run`` runs, no call waits for the issuer because its keys are old. ``transport`` replaces the network in
    tests.
    """

    def __init__(
        self,
        issuer: str,
        jwks_url: str,
        clock: Callable[[], float] = time.monotonic,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._transport = transport
        self._keys: Refreshed[dict[str, jwt.PyJWK]] = Refreshed(
            self._fetch, refresh_s=REFRESH_S, max_age_s=MAX_AGE_S, retry_s=RETRY_S, clock=clock
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the keys fresh until stopped."""
        await PeriodicJob(name="refreshing the issuer's keys", work=self._keys.current, every_s=CHECK_S).run(stop)

    async def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        """Return the key with an id; without an id, the only key of an algorithm.

        Raises ``Unauthenticated`` if the issuer has no such key, ``Unavailable`` if it does not answer.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                if self._match(await self._keys.current(), key_id, algorithm) is None:
                    await self._keys.refetch()
        key = self._match(self._keys.value, key_id, algorithm)
        if key is not None:
            return key
        if self._keys.busy or self._keys.failure is not None:
            raise Unavailable(SERVER, "the key of this token cannot be fetched")
        raise Unauthenticated("The token is signed with a key that its issuer does not publish: get a new token.")

    async def close(self) -> None:
        """Stop fetching."""
        await self._keys.close()

    def _match(self, keys: dict[str, jwt.PyJWK] | None, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        if not keys or self._keys.age_s >= KEEP_S:
            return None
        if key_id is not None:
            return keys.get(key_id)
        usable = [key for key in keys.values() if key.algorithm_name == algorithm]
        return usable[0] if len(usable) == 1 else None

    async def _fetch(self, _known: dict[str, jwt.PyJWK] | None) -> dict[str, jwt.PyJWK]:
        try:
            async with asyncio.timeout(FETCH_S):
                # In a thread, because reading the certificates of the authorities takes some 30 ms.
                trusted = await asyncio.to_thread(httpx.create_ssl_context)
                async with httpx.AsyncClient(transport=self._transport, verify=trusted) as client:
                    found = await _get(client, self._jwks_url or await self._discover(client))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
            raise Unavailable(SERVER, str(error) or type(error).__name__) from None
        return _usable(found.get("keys"))

    async def _discover(self, client: httpx.AsyncClient) -> str:
        document = await _get(client, self._issuer.rstrip("/") + DISCOVERY)
        if document.get("issuer") != self._issuer:
            raise ValueError(f"its discovery document names another issuer, {str(document.get('issuer'))[:200]!r}")
        address = httpx.URL(str(document.get("jwks_uri", "")))
        # A document that came by TLS must not lead to keys that do not.
        if address.scheme != "https" and not self._issuer.startswith("http:"):
            raise ValueError("its discovery document names no https address of keys")
        return str(address)


async def _get(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """Return a JSON object. Redirects are not followed. Raises ``httpx.HTTPError`` and ``ValueError``."""
    async with client.stream("GET", url, headers={"accept": "application/json"}) as response:
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"{url} answered {response.status_code}")
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > MAX_BYTES:
                raise ValueError(f"{url} answered more than {MAX_BYTES} bytes")
    document = orjson.loads(body)
    if not isinstance(document, dict):
        raise ValueError(f"{url} answered no JSON object")
    return document


def _usable(keys: object) -> dict[str, jwt.PyJWK]:
    """Return the keys that may sign tokens, by id; a key without an id has the id ``""``."""
    found: dict[str, jwt.PyJWK] = {}
    for one in keys[:MAX_KEYS] if isinstance(keys, list) else []:
        if isinstance(one, dict) and (key := _key(one)) is not None:
            found[str(one.get("kid", ""))] = key
    return found


def _key(given: dict[str, Any]) -> jwt.PyJWK | None:
    kind, curve = str(given.get("kty")), given.get("crv")
    algorithm = ALGORITHMS.get((kind, curve)) if isinstance(curve, str | None) else None
    if algorithm is None or given.get("alg", algorithm) != algorithm or given.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK({"kty": kind} | {name: given[name] for name in PUBLIC[kind]}, algorithm)
    except (jwt.PyJWTError, KeyError, TypeError, ValueError):
        return None
    weak = isinstance(key.key, RSAPublicKey) and key.key.key_size < MIN_RSA_BITS
    return None if weak else key
