"""ASGI middleware that protects callers who use a browser: trusted hosts and origins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.api.problem_details import Problem, status_of
from visualsearch.domain.errors import Forbidden
from visualsearch.observability.metrics import count_error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.host_policy import HostPolicy


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
                await Problem(status_of(error), refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)
