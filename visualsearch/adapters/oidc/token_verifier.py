"""Verifies JSON Web Tokens of an OpenID Connect issuer (RFC 7519, RFC 9068)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
from typing_extensions import override

from visualsearch.adapters.oidc.issuer_keys import ALGORITHMS
from visualsearch.domain.access import Identity, Scope, check_owner
from visualsearch.domain.errors import InvalidInput, Unauthenticated
from visualsearch.ports import TokenVerifier

if TYPE_CHECKING:
    import asyncio

    from visualsearch.adapters.oidc.issuer_keys import IssuerKeys

ACCEPTED = sorted(ALGORITHMS.values())
MAX_TOKEN = 16_384
"""Characters. A token with more is not parsed."""
REQUIRED = ["exp", "iss", "aud"]
"""``nbf`` and ``iat`` are checked if they are there; most issuers leave ``nbf`` out of access tokens."""
REASONS: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "it has expired: get a new one",
    jwt.ImmatureSignatureError: "it is not valid yet: compare the clocks of issuer and gateway",
    jwt.InvalidAudienceError: "it is meant for another audience",
    jwt.InvalidIssuerError: "it has another issuer",
    jwt.MissingRequiredClaimError: f"it lacks a claim: {', '.join(REQUIRED)} are required",
    jwt.InvalidSignatureError: "its signature does not match",
}


class OidcTokenVerifier(TokenVerifier):
    """Verifies tokens that ``issuer`` made for ``audience`` and signed with one of ``keys``.

    ``owner_claim`` and ``scope_claim`` name the claims that become owner and scopes. Clocks may differ by ``leeway_s``.
    """

    def __init__(
        self, keys: IssuerKeys, issuer: str, audience: str, *, leeway_s: float, owner_claim: str, scope_claim: str
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._leeway_s = leeway_s
        self._owner_claim = owner_claim
        self._scope_claim = scope_claim

    @override
    async def verify(self, token: str) -> Identity:
        if len(token) > MAX_TOKEN:
            raise Unauthenticated(f"A token has at most {MAX_TOKEN} characters.")
        algorithm, key_id = _header(token)
        key = await self._keys.find(key_id, algorithm)
        if key.algorithm_name != algorithm:
            raise Unauthenticated("The token names another algorithm than its key is for.")
        return self._identity(self._claims(token, key, algorithm))

    @override
    async def run(self, stop: asyncio.Event) -> None:
        await self._keys.run(stop)

    @override
    async def close(self) -> None:
        await self._keys.close()

    def _claims(self, token: str, key: jwt.PyJWK, algorithm: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway_s,
                options={"require": REQUIRED},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            reason = next((text for kind, text in REASONS.items() if isinstance(error, kind)), "it is malformed")
            raise Unauthenticated(f"The token is not valid: {reason}.") from None

    def _identity(self, claims: dict[str, Any]) -> Identity:
        owner, scopes = claims.get(self._owner_claim), claims.get(self._scope_claim, "")
        names = scopes.split() if isinstance(scopes, str) else scopes if isinstance(scopes, list) else []
        try:
            check_owner(owner if isinstance(owner, str) else "")
        except InvalidInput as error:
            raise Unauthenticated(f"The token's claim {self._owner_claim} must name its owner. {error}") from None
        return Identity(str(owner), frozenset(scope for scope in Scope if scope.value in names))


def _header(token: str) -> tuple[str, str | None]:
    """Return algorithm and key id that a token names. Raises ``Unauthenticated``."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise Unauthenticated("The token is malformed: it must be a signed JSON Web Token.") from None
    algorithm, key_id = header.get("alg"), header.get("kid")
    if algorithm not in ACCEPTED:
        raise Unauthenticated(f"The token is not signed with an accepted algorithm: {', '.join(ACCEPTED)}.")
    if "crit" in header or not isinstance(key_id, str | None):
        raise Unauthenticated("The token has a header that is not understood.")
    return algorithm, key_id
