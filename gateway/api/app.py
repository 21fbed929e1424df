"""The FastAPI application: its routers, middleware, documentation and static files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from gateway.api import (
    clicks,
    dead_letters,
    duplicate_exclusions,
    experiments,
    explain,
    health,
    images,
    openapi_document,
    page,
    problem_details,
    releases,
    search,
    store_events,
)
from gateway.api.browser_security import HostGuard, SecurityHeaders
from gateway.api.metrics_endpoint import scrape
from gateway.api.middleware import BodyLimit, RequestId
from gateway.shared_work import PacedWork

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

SCRAPE_S = 0.25
"""Shortest time between two collections of the metrics."""
DESCRIPTION = "Image-to-image search: give a picture, or a box inside one, and get the most similar pictures."


def create_app(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None) -> FastAPI:
    """Build the app. ``app.state.gateway`` must be set before the first request; the lifespan does that."""
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        # A redirect to the address with or without a slash would go to whatever host the request names.
        redirect_slashes=False,
        title="visual-search",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
    )
    app.state.scrapes = PacedWork(lambda: scrape(app.state.gateway), SCRAPE_S)
    problem_details.install(app)
    openapi_document.install(app)
    app.include_router(search.router)
    app.include_router(images.router)
    app.include_router(clicks.router)
    app.include_router(health.router)
    app.include_router(page.router)
    app.include_router(store_events.router)
    app.include_router(dead_letters.router)
    app.include_router(experiments.router)
    app.include_router(duplicate_exclusions.router)
    app.include_router(explain.router)
    app.include_router(releases.router)
    app.mount("/static/docs", StaticFiles(directory=page.DOCS_FILES))
    app.mount("/static", StaticFiles(directory=page.WEB), name="static")
    app.add_middleware(BodyLimit)
    app.add_middleware(HostGuard)
    app.add_middleware(RequestId)
    app.add_middleware(SecurityHeaders)
    return app
