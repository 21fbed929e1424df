"""ASGI middleware that protects callers who use a browser: trusted hosts and origins, security headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.api.problem_details import ProblemResponse, status_of
from visualsearch.domain.errors import Forbidden
from visualsearch.observability.metrics import count_error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from gateway.host_policy import HostPolicy

CONTENT_POLICY = b"content-security-policy"
NOTHING = b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""Policy of every answer that is not a page of ours: were a browser to show it, it could load and run nothing.

Browsers style the document that they show a picture in.
"""
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class SecurityHeaders:
    """Adds the headers that restrict what a browser does with an answer to every answer, errors too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message["headers"])
                if all(name.lower() != CONTENT_POLICY for name, _ in given):
                    given.append((CONTENT_POLICY, NOTHING))
                message["headers"] = given + HEADERS
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class HostGuard:
    """Refuses a request whose Host or Origin the gateway does not trust, before its body is read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        if scope["type"] == "http":
            policy: HostPolicy = scope["app"].state.gateway.host_policy
            if refusal := policy.refusal(scope["method"], scope["path"], scope["headers"]):
                error = Forbidden(refusal)
                count_error(error)
                await ProblemResponse(status_of(error), refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)
