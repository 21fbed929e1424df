"""Authentication by API key, authorization by role, and rate limits."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from typing import TYPE_CHECKING

from gateway.caller import OPERATOR, Caller, Role
from gateway.process.rate_limits import LocalRateLimit
from visualsearch.domain.errors import ConfigurationError, Forbidden, RateLimited, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.process.rate_limits import RateLimit


FAILURES_A_SECOND = 20.0
"""Calls without a valid key that one address may make of one process."""


class AccessControl:
    """Checks API keys and rate limits.

    ``keys`` is a comma-separated list of ``owner:role:sha256-of-key``; if it is empty, no key is needed. ``rates``
    counts each caller's requests; None means no limit. Raises ``ConfigurationError`` for malformed keys.
    """

    def __init__(self, keys: str, rates: RateLimit | None, limit_loopback: bool) -> None:
        self._callers = dict(_parse(entry) for entry in keys.split(",") if entry.strip())
        self._rates = rates
        self._limit_loopback = limit_loopback
        self._failures = LocalRateLimit(FAILURES_A_SECOND)

    @property
    def guarded(self) -> bool:
        """Whether keys are configured."""
        return bool(self._callers)

    def caller(self, headers: Mapping[str, str], needs: Role) -> Caller:
        """Return the caller. Raises ``Unauthenticated``; ``Forbidden`` if its role is below ``needs``."""
        if not self._callers:
            return OPERATOR
        scheme, _, token = headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if not key:
            raise Unauthenticated("This call needs an API key: send the header 'Authorization: Bearer KEY'.")
        digest = hashlib.sha256(key.encode()).hexdigest()
        known = [caller for known, caller in self._callers.items() if hmac.compare_digest(known, digest)]
        if not known:
            raise Unauthenticated("This API key is not known. Ask the operator for one.")
        if known[0].role < needs:
            raise Forbidden(f"This API key does not permit that: the call needs the role {needs.name.lower()}.")
        return known[0]

    async def admit(self, headers: Mapping[str, str], needs: Role, address: str) -> Caller:
        """Return the caller of a request that may go on.

        Raises ``Unauthenticated``, ``Forbidden`` and ``RateLimited``; an address that offers many wrong keys is slowed
        down, but not the right keys that come from it.
        """
        try:
            caller = self.caller(headers, needs)
        except Unauthenticated:
            if wait_s := await self._failures.take(address):
                raise RateLimited(f"Too many wrong keys: try again in {wait_s:.1f} s.", wait_s) from None
            raise
        await self.limit(caller, address)
        return caller

    async def limit(self, caller: Caller, address: str) -> None:
        """Count one request against the limit of the key's owner, or of the address; raises ``RateLimited``."""
        if self._rates is None or (_is_loopback(address) and not self._limit_loopback):
            return
        wait_s = await self._rates.take(f"owner {caller.owner}" if caller.owner else address)
        if wait_s:
            raise RateLimited(f"You exceed your request rate: try again in {wait_s:.1f} s.", wait_s)


def _parse(entry: str) -> tuple[str, Caller]:
    parts = entry.strip().split(":")
    try:
        owner, role, digest = parts
        caller = Caller(owner, Role[role.upper()])
    except (ValueError, KeyError):
        raise ConfigurationError(
            "VISUALSEARCH_API_KEYS must be owner:role:sha256-of-key, separated by commas; roles are read, write, admin."
        ) from None
    if len(digest) != hashlib.sha256().digest_size * 2 or not owner:
        raise ConfigurationError(f"The key of {owner or 'nobody'} must be given as its SHA-256 in hex (64 characters).")
    return digest.lower(), caller


def _is_loopback(who: str) -> bool:
    try:
        return ipaddress.ip_address(who).is_loopback
    except ValueError:
        return False
