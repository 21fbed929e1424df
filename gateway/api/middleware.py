"""ASGI middleware: request ids, metrics, body limits, and a response to unexpected errors."""

from __future__ import annotations

import logging
import re
import time
import uuid
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from gateway.api.problem_details import HINTS, ProblemResponse
from visualsearch.domain.images import MAX_UPLOAD_BYTES
from visualsearch.observability import tracing
from visualsearch.observability.log_format import request_id
from visualsearch.observability.metrics import ERRORS, count_request

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

MAX_BODY_BYTES = MAX_UPLOAD_BYTES + 1024 * 1024
"""Size of the largest picture, plus the form around it."""
DRAIN_BYTES = 200 * 1024 * 1024
"""How much of a too large body is read and discarded, because a client that is cut off never sees the response."""
UNTRACED = {"/health", "/ready", "/metrics"}
"""Probes and scrapers call these every few seconds."""
SANE_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


class RequestId:
    """Assigns each request an id (the caller's if it is valid), counts it, and answers unexpected errors with 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        identity = given if SANE_ID.fullmatch(given) else uuid.uuid4().hex
        token = request_id.set(identity)
        begin, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", identity.encode())]
            await send(message)

        with _traced(scope, headers, identity):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:
                # Not in a handler of the framework: it would run outside this middleware, without the request id.
                log.exception("unexpected error")
                ERRORS.labels("Unexpected").inc()
                if not status:
                    await ProblemResponse(500, HINTS[500])(scope, receive, send_with_id)
            finally:
                # Use the route's template, not the path, so that ids do not become labels.
                route = getattr(scope.get("route"), "path", "none")
                tracing.annotate(f"{scope['method']} {route}", http__route=route, http__response__status_code=status)
                count_request(route, scope["method"], str(status), time.perf_counter() - begin)
                request_id.reset(token)


def _traced(scope: Scope, headers: dict[bytes, bytes], identity: str) -> AbstractContextManager[object]:
    if scope["path"] in UNTRACED:
        return nullcontext()
    parent = headers.get(b"traceparent", b"").decode("latin-1")
    return tracing.span(scope["method"], "server", parent, http__request__method=scope["method"], request_id=identity)


class BodyLimit:
    """Answers 413 to a body that is too large, with or without a Content-Length header."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
            await self._refuse(scope, receive, send)
            return
        seen, refused, started = 0, False, False

        async def limited() -> Message:
            nonlocal seen, refused
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MAX_BODY_BYTES and not refused and not started:
                refused = True
                await self._refuse(scope, receive, send)
            if refused:
                return {"type": "http.disconnect"}
            return message

        async def guarded(message: Message) -> None:
            nonlocal started
            started = True
            if not refused:
                await send(message)

        await self._app(scope, limited, guarded)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        drained, more = 0, True
        while more and drained < DRAIN_BYTES:
            message = await receive()
            drained += len(message.get("body", b""))
            more = message["type"] == "http.request" and message.get("more_body", False)
        limit = f"{MAX_UPLOAD_BYTES // 2**20} MB"
        answer = ProblemResponse(
            413, f"The request is too large: a picture may have {limit}. Send a smaller or stronger compressed one."
        )
        await answer(scope, receive, send)
