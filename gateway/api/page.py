"""The search page, and the page that describes the REST API."""

from __future__ import annotations

from pathlib import Path as FilePath

import fastapi_offline
from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from gateway.api.dependencies import GuardedRoute

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
async def page() -> Response:
    """Return the search page."""
    return FileResponse(WEB / "index.html", headers=HEADERS)


@router.get("/docs", include_in_schema=False)
async def docs() -> Response:
    """Return the page that describes the REST API."""
    return FileResponse(WEB / "docs.html", headers=HEADERS)
