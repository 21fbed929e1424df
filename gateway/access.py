"""Who may call what, and how often."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from collections import OrderedDict
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from visualsearch.errors import ConfigurationError, Forbidden, RateLimited, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping

CALLERS = 10_000
"""So many callers' rates are remembered; the one that has been away longest is forgotten first."""


class Role(IntEnum):
    """What a key opens; each role includes the ones before it."""

    READ = 1
    WRITE = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who calls. ``owner`` is empty for a caller without a key, who owns nothing."""

    owner: str
    role: Role


OPERATOR = Caller("", Role.ADMIN)
"""Anybody, where no keys are configured: the gateway is bound to this machine then."""


class Access:
    """Checks keys and rates. ``keys`` is ``owner:role:sha256-of-key`` separated by commas; empty lets anybody in.

    ``rate`` is in requests a second for each caller, in bursts of up to a second's worth; 0 is no limit. Raises
    ``ConfigurationError`` for keys of another form.
    """

    def __init__(self, keys: str, rate: float, limit_loopback: bool) -> None:
        self._callers = dict(_parse(entry) for entry in keys.split(",") if entry.strip())
        self._rate = rate
        self._limit_loopback = limit_loopback
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def guarded(self) -> bool:
        """Say whether keys are in use."""
        return bool(self._callers)

    def caller(self, headers: Mapping[str, str], needs: Role) -> Caller:
        """Say who calls; raises ``Unauthenticated`` and ``Forbidden``."""
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
            raise Forbidden(f"This API key may not do that: it needs the role {needs.name.lower()}.")
        return known[0]

    def limit(self, caller: Caller, address: str) -> None:
        """Take one request out of the allowance of a key's owner, or of an address; raises ``RateLimited``."""
        if not self._rate or (_is_loopback(address) and not self._limit_loopback):
            return
        who = f"owner {caller.owner}" if caller.owner else address
        now, burst = time.monotonic(), max(1.0, self._rate)
        allowance, last = self._buckets.pop(who, (burst, now))
        allowance = min(burst, allowance + (now - last) * self._rate)
        refused = allowance < 1
        self._buckets[who] = (allowance if refused else allowance - 1, now)
        if len(self._buckets) > CALLERS:
            self._buckets.popitem(last=False)
        if refused:
            wait_s = (1 - allowance) / self._rate
            raise RateLimited(f"At most {self._rate:g} requests a second are answered. Slow down.", wait_s)


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
