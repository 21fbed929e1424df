"""AWS Signature Version 4, for requests that obstore cannot sign: those with a query, such as listings.

The steps are those of the Amazon S3 API reference, "Authenticating requests: using the Authorization header".
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

import httpx
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

ALGORITHM = "AWS4-HMAC-SHA256"
SIGNED_HEADERS = ("host", "x-amz-content-sha256", "x-amz-date")


class SignatureV4(httpx.Auth):
    """Signs requests to an object store with an access key."""

    requires_request_body = True

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        region: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._region = region
        self._now = now

    @override
    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        at = self._now().strftime("%Y%m%dT%H%M%SZ")
        scope = f"{at[:8]}/{self._region}/s3/aws4_request"
        body = hashlib.sha256(request.content).hexdigest()
        request.headers.update({"x-amz-date": at, "x-amz-content-sha256": body})
        digest = hashlib.sha256(_canonical(request).encode()).hexdigest()
        signature = self._sign(scope, f"{ALGORITHM}\n{at}\n{scope}\n{digest}")
        request.headers["authorization"] = (
            f"{ALGORITHM} Credential={self._access_key}/{scope},"
            f"SignedHeaders={';'.join(SIGNED_HEADERS)},Signature={signature}"
        )
        yield request

    def _sign(self, scope: str, text: str) -> str:
        key = f"AWS4{self._secret_key}".encode()
        for part in (*scope.split("/"), text):
            key = hmac.digest(key, part.encode(), "sha256")
        return key.hex()


def _canonical(request: httpx.Request) -> str:
    """Return the request in the form that is signed."""
    query = parse_qsl(request.url.query.decode(), keep_blank_values=True)
    pairs = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in query)
    headers = [f"{name}:{request.headers[name].strip()}" for name in SIGNED_HEADERS]
    parts = (
        request.method,
        quote(request.url.path),
        "&".join(f"{name}={value}" for name, value in pairs),
        *headers,
        "",
        ";".join(SIGNED_HEADERS),
        request.headers["x-amz-content-sha256"],
    )
    return "\n".join(parts)
