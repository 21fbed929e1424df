"""Lets pages of other origins call the API (CORS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.middleware.cors import CORSMiddleware
from typing_extensions import override

from gateway.api.problem_details import METHODS, ProblemResponse

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.datastructures import Headers
    from starlette.responses import Response
    from starlette.types import ASGIApp

ASKED_HEADERS = ("Authorization", "X-API-Key", "If-None-Match", "X-Request-Id", "traceparent")
SHOWN_HEADERS = ("ETag", "Location", "Retry-After", "X-Request-Id")


class CrossOriginAccess(CORSMiddleware):
    """Permits these origins. No answer permits cookies: a page sends its key in a header."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=ASKED_HEADERS,
            expose_headers=SHOWN_HEADERS,
        )

    @override
    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        kept = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        return ProblemResponse(
            403,
            "Pages of this origin may not make that call: the operator names the origins in "
            "VISUALSEARCH_CORS_ORIGINS, and the headers and methods are those of the API.",
            kept,
        )
