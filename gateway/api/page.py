"""The search page, and the page that describes the REST API."""

from __future__ import annotations

from pathlib import Path as FilePath

import fastapi_offline
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from gateway.api.dependencies import GuardedRoute
from gateway.api.root_path import public_address

router = APIRouter(route_class=GuardedRoute)
WEB = FilePath(__file__).parents[1] / "web"
DOCS_FILES = FilePath(fastapi_offline.__file__).parent / "static"
"""Swagger UI, served from here, so that /docs needs no CDN and no third-party script sees a key."""
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; object-src 'none'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""The pages load nothing from other origins. The cropping library and Swagger UI set inline styles."""
HEADERS = {"Content-Security-Policy": PAGE_POLICY, "Cross-Origin-Opener-Policy": "same-origin"}


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """Return the search page."""
    return _page(request, "index.html")


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """Return the page that describes the REST API."""
    return _page(request, "docs.html")


def _page(request: Request, name: str) -> Response:
    """Return a page whose links hold wherever the app is served, with or without a slash at the end."""
    text = (WEB / name).read_text(encoding="utf-8")
    static = public_address(request.app, "/static/")
    return HTMLResponse(text.replace('="/static/', f'="{static}'), headers=HEADERS)
