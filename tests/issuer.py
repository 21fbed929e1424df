"""An issuer of tokens in memory, behind a transport of httpx. A real one is in tests/integration/test_tokens.py."""

import asyncio
import json
import time

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER, AUDIENCE = "https://login.example.org", "https://search.example.org"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
"""Generated once, because it takes long."""
NEW = {
    "RS256": lambda: RSA_KEY,
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


class Issuer:
    """Signs tokens and serves its keys. ``asked`` lists the addresses that were fetched; ``down`` fails them.

    ``jwks`` and ``discovery`` can be changed. While ``held`` is not set, answers wait for it.
    """

    def __init__(self):
        self.private, self.jwks = {}, []
        self.discovery = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
        self.asked, self.down, self.held = [], False, asyncio.Event()
        self.held.set()
        for algorithm in NEW:
            self.add(algorithm, algorithm)
        self.transport = httpx.MockTransport(self._answer)

    def add(self, key_id, algorithm, **members):
        """Begin to use another key."""
        self.private[key_id] = NEW[algorithm]()
        self.jwks.append(self.public(key_id, algorithm) | {"kid": key_id} | members)

    def public(self, key_id, algorithm):
        to_jwk = jwt.get_algorithm_by_name(algorithm).to_jwk
        return json.loads(to_jwk(self.private[key_id].public_key()))

    def claims(self, **changes):
        """The claims of a valid token; None leaves one out, and a function gives its value now."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "scope": "openid search", "exp": now + 60, "iat": now}
        claims |= {name: value() if callable(value) else value for name, value in changes.items()}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, algorithm="ES256", key_id=None, header=None, **changes):
        key_id = key_id or algorithm
        headers = {"kid": key_id} | (header or {})
        return jwt.encode(self.claims(**changes), self.private[key_id], algorithm, headers=headers)

    async def _answer(self, request):
        self.asked.append(str(request.url))
        await self.held.wait()
        if self.down:
            raise httpx.ConnectError("refused")
        if request.url.path == "/.well-known/openid-configuration":
            return httpx.Response(200, json=self.discovery)
        return httpx.Response(200, json={"keys": self.jwks})
