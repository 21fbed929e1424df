"""The search page."""

from __future__ import annotations

from pathlib import Path as FilePath

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

router = APIRouter()
WEB = FilePath(__file__).parents[1] / "web"
PAGE_POLICY = "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'"
"""The page loads nothing from other origins. The cropping library sets inline styles on its elements."""


@router.get("/", include_in_schema=False)
async def page() -> Response:
    """Return the search page."""
    return FileResponse(WEB / "index.html", headers={"Content-Security-Policy": PAGE_POLICY})
