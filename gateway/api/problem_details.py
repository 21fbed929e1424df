"""Maps errors to problem documents (RFC 9457). Only this module knows the HTTP status of each error."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount

from gateway.process.limited_connection import pause_connection
from visualsearch.domain import errors
from visualsearch.imaging.formats.table import NAMES
from visualsearch.observability.log_format import request_id
from visualsearch.observability.metrics import count_error

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

RETRY_AFTER_S = 1
MAX_NAMED = 10
"""Errors of one request that its answer names."""
MAX_NAME = 100
"""Characters of the name of a field in an answer; a client may have made it up."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
STATIC_METHODS = ("GET", "HEAD")
"""Methods of mounted static files, whose route matches every method."""

STATUSES: dict[type[errors.VisualSearchError], int] = {
    errors.UnsupportedImage: 415,
    errors.ImageTooLarge: 413,
    errors.RequestTooLarge: 413,
    errors.QuotaExceeded: 403,
    errors.InvalidInput: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.RateLimited: 429,
    errors.Overloaded: 503,
    errors.Unavailable: 503,
    errors.FingerprintMismatch: 503,
    errors.Unsupported: 501,
    errors.VisualSearchError: 500,
}
HINTS = {
    404: "There is nothing at this address; /docs lists the calls.",
    405: "This address does not take that method; /docs lists the calls.",
    500: "The gateway made a mistake; its log tells more under this request's id.",
}

MEANINGS = {
    401: "A valid API key is needed.",
    403: "The API key may not do this, its owner stores as much as it may, or the request names a host or comes from a "
    "site that is not trusted.",
    404: "Nothing has that id.",
    409: "It does not fit how things stand now; the detail says what does.",
    413: "The request is over 20 MB (JSON: 256 KB, a notification of a store: 512 KB), or the picture has more "
    "pixels than its format may have.",
    415: f"By its content the file is no {NAMES} picture, or one of an unusual coding; the detail names it.",
    422: "The picture is broken or smaller than 16 pixels, or a field does not fit.",
    429: "The caller asks more often than it may; Retry-After says when to ask again.",
    501: "This installation lacks what the call needs; the detail says what.",
    503: "A server behind the gateway is away or has too much to do; Retry-After says when to ask again.",
}


class ProblemResponse(JSONResponse):
    """A response with a problem document."""

    media_type = "application/problem+json"

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None, **more: object) -> None:
        body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
        body |= {"detail": detail, "request_id": request_id.get(), **more}
        extra = {"Retry-After": str(RETRY_AFTER_S)} if status in {429, 503} else {}
        super().__init__(body, status, extra | (headers or {}))


def status_of(error: errors.VisualSearchError) -> int:
    """Return the HTTP status of an error, which is that of its nearest class in ``STATUSES``."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI descriptions of these statuses."""
    content = {ProblemResponse.media_type: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": MEANINGS[status], "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    """Make an app return every error as a problem document."""
    app.add_exception_handler(errors.VisualSearchError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def _allowed_methods(request: Request) -> str:
    """Return the methods of all routes at the request's address; the framework's own answer names the first route's."""
    # Mounted files answer below a root path of their own.
    root = request.scope.get("app_root_path", request.scope["root_path"])
    address = {"type": "http", "path": request.scope["path"], "root_path": root, "headers": []}
    routes, allowed = request.app.router.routes, []
    for method in METHODS:
        matching = [route for route in routes if route.matches(address | {"method": method})[0] is Match.FULL]
        if any(not isinstance(route, Mount) or method in STATIC_METHODS for route in matching):
            allowed.append(method)
    return ", ".join(allowed)


async def _known(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, errors.VisualSearchError)
    status = status_of(error)
    headers = {}
    if isinstance(error, errors.RateLimited):
        wait_s = max(1, round(error.retry_after_s))
        headers["Retry-After"] = str(wait_s)
        pause_connection(request.scope, wait_s)
    if isinstance(error, errors.Overloaded):
        pause_connection(request.scope, RETRY_AFTER_S)
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    count_error(error)
    return ProblemResponse(status, str(error), headers)


async def _invalid(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    sentences = [_sentence(one) for one in found[:MAX_NAMED]]
    if len(found) > MAX_NAMED:
        sentences.append(f"and {len(found) - MAX_NAMED} more")
    # An image id in the path that is malformed or out of range is answered as one that does not exist.
    in_path = all(one["loc"][0] == "path" and one["loc"][-1] == "image_id" for one in found)
    status = 404 if in_path else 422
    lead = "There is no such image" if in_path else "The request does not fit"
    return ProblemResponse(status, f"{lead}: {'; '.join(sentences)}. See /docs for what this call takes.")


def _sentence(one: dict[str, Any]) -> str:
    where, *rest = (str(part) for part in one["loc"])
    name = ".".join(rest) or where
    return f"{name[:MAX_NAME]}: {one['msg']}"


async def _http(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.BAD_REQUEST:  # a form or JSON that cannot be parsed
        what = str(error.detail).rstrip(".")
        return ProblemResponse(422, f"The request cannot be read: {what}. See /docs for what this call takes.")
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed_methods(request)
    return ProblemResponse(error.status_code, HINTS.get(error.status_code, str(error.detail)), headers)
