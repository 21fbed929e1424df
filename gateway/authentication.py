"""One decision per request: who the caller is, whether it may make the call, and whether it calls too often."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from gateway.process.rate_limits import LocalRateLimit
from visualsearch.domain.errors import Forbidden, RateLimited, Unauthenticated

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from gateway.caller import Caller
    from gateway.credentials import Authenticator
    from gateway.process.rate_limits import RateLimit
    from visualsearch.domain.access import Scope

FAILURES_A_SECOND = 20.0
"""Calls without a valid key that one address may make of one process."""


class AccessControl:
    """Checks credentials, scopes and rate limits.

    ``rates`` counts each caller's requests; None means no limit.
    """

    def __init__(self, authenticator: Authenticator, rates: RateLimit | None, limit_loopback: bool) -> None:
        self._authenticator = authenticator
        self._rates = rates
        self._limit_loopback = limit_loopback
        self._failures = LocalRateLimit(FAILURES_A_SECOND)

    async def admit(self, headers: Mapping[str, str], needs: Scope, address: str) -> Caller:
        """Return the caller of a request that may go on.

        Raises ``Unauthenticated``, ``Forbidden`` and ``RateLimited``, and ``Unavailable`` if credentials cannot be
        checked now. An address that offers many wrong keys is slowed down, but not the right keys that come from it.
        """
        try:
            caller = await self._authenticator.authenticate(headers)
        except Unauthenticated:
            await self.count_failure(address)
            raise
        if not caller.may(needs):
            raise Forbidden(f"These credentials do not permit that: the call needs the scope {needs}.")
        await self.limit(caller, address)
        return caller

    async def count_failure(self, address: str) -> None:
        """Count a call without valid credentials; raises ``RateLimited`` if an address makes too many."""
        if wait_s := await self._failures.take(address):
            raise RateLimited(f"Too many wrong keys: try again in {wait_s:.1f} s.", wait_s) from None

    async def limit(self, caller: Caller, address: str) -> None:
        """Count one request against the limit of the key's owner, or of the address; raises ``RateLimited``."""
        if self._rates is None or (_is_loopback(address) and not self._limit_loopback):
            return
        wait_s = await self._rates.take(f"owner {caller.owner}" if caller.owner else address)
        if wait_s:
            raise RateLimited(f"You exceed your request rate: try again in {wait_s:.1f} s.", wait_s)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep what is known of credentials fresh until stopped."""
        await self._authenticator.run(stop)

    async def close(self) -> None:
        """Finish deferred writes."""
        await self._authenticator.close()


def _is_loopback(who: str) -> bool:
    try:
        return ipaddress.ip_address(who).is_loopback
    except ValueError:
        return False
