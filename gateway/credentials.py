"""Whose credentials a request carries: a key of the environment or of Postgres, or a token."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import TYPE_CHECKING

from gateway.caller import OPERATOR, Caller
from visualsearch.domain.access import Scope, id_of
from visualsearch.domain.errors import ConfigurationError, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.stored_keys import StoredKeys
    from visualsearch.ports import TokenVerifier
    from visualsearch.settings import Settings

ROLES = {
    "read": frozenset({Scope.SEARCH}),
    "write": frozenset({Scope.SEARCH, Scope.INGEST}),
    "admin": frozenset(Scope),
}
"""The scopes of each role of ``VISUALSEARCH_API_KEYS``."""


PERIODS = 2
"""In a signed JSON Web Token, between header, payload and signature."""


class EnvironmentKeys:
    """The keys of ``VISUALSEARCH_API_KEYS``: a comma-separated list of ``owner:role:sha256-of-key``.

    Raises ``ConfigurationError`` if the list is malformed.
    """

    def __init__(self, keys: str) -> None:
        self._callers = dict(_parse(entry) for entry in keys.split(",") if entry.strip())

    def __bool__(self) -> bool:
        return bool(self._callers)

    def find(self, text: str) -> Caller | None:
        """Return whose key a text is; None if it is not known."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        return next((who for known, who in self._callers.items() if hmac.compare_digest(known, digest)), None)


class Authenticator:
    """Finds out who makes a request.

    If keys are not ``required``, they are from when the first one is stored. Before that every caller is the operator.
    Without ``tokens``, JSON Web Tokens are no credentials.
    """

    def __init__(
        self, environment: EnvironmentKeys, stored: StoredKeys, tokens: TokenVerifier | None, required: bool
    ) -> None:
        self._environment = environment
        self._stored = stored
        self._tokens = tokens
        self._required = required

    async def authenticate(self, headers: Mapping[str, str]) -> Caller:
        """Return the caller. Raises ``Unauthenticated``; ``Unavailable`` if that cannot be found out now."""
        if not self._required and not await self._stored.any_made():
            return OPERATOR
        text = _offered(headers)
        if not text:
            raise Unauthenticated("This call needs an API key: send the header 'Authorization: Bearer KEY'.")
        if caller := self._environment.find(text) or await self._elsewhere(text):
            return caller
        raise Unauthenticated("This API key is not known, or it has ended. Ask the operator for one.")

    async def _elsewhere(self, text: str) -> Caller | None:
        if id_of(text):
            return await self._stored.find(text)
        if self._tokens is not None and text.count(".") == PERIODS:
            identity = await self._tokens.verify(text)
            return Caller(identity.owner, identity.scopes)
        return None

    async def run(self, stop: asyncio.Event) -> None:
        """Keep what is known of credentials fresh until stopped."""
        jobs = [self._stored.run(stop)]
        if self._tokens is not None:
            jobs.append(self._tokens.run(stop))
        await asyncio.gather(*jobs)

    async def close(self) -> None:
        """Finish deferred writes."""
        await self._stored.close()


def requires_keys(settings: Settings) -> bool:
    """Return whether the settings alone require keys. Raises ``ConfigurationError`` for malformed keys."""
    return bool(EnvironmentKeys(settings.api_keys) or settings.jwt_issuer or settings.require_keys)


def _offered(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _parse(entry: str) -> tuple[str, Caller]:
    parts = entry.strip().split(":")
    try:
        owner, role, digest = parts
        caller = Caller(owner, ROLES[role.lower()])
    except (ValueError, KeyError):
        raise ConfigurationError(
            "VISUALSEARCH_API_KEYS must be owner:role:sha256-of-key, separated by commas; roles are read, write, admin."
        ) from None
    if len(digest) != hashlib.sha256().digest_size * 2 or not owner:
        raise ConfigurationError(f"The key of {owner or 'nobody'} must be given as its SHA-256 in hex (64 characters).")
    return digest.lower(), caller
