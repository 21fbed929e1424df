"""The FastAPI application: its routers, middleware, documentation and static files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.routing import Mount, Route

from gateway.api import (
    bulk_deletion,
    clicks,
    dead_letters,
    duplicate_exclusions,
    experiments,
    explain,
    health,
    image_changes,
    images,
    openapi_document,
    page,
    problem_details,
    releases,
    search,
    store_events,
)
from gateway.api.browser_security import HostGuard, SecurityHeaders
from gateway.api.cross_origin import CrossOriginAccess
from gateway.api.metrics_endpoint import scrape
from gateway.api.middleware import BodyLimit, RequestId
from gateway.api.root_path import RootPath, check_root_path
from gateway.shared_work import PacedWork

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from contextlib import AbstractAsyncContextManager

ROUTED = (
    search,
    images,
    image_changes,
    bulk_deletion,
    clicks,
    health,
    page,
    store_events,
    dead_letters,
    experiments,
    duplicate_exclusions,
    explain,
    releases,
)
"""Modules whose routes the app serves."""
SCRAPE_S = 0.25
"""Shortest time between two collections of the metrics."""
DESCRIPTION = "Image-to-image search: give a picture, or a box inside one, and get the most similar pictures."


def create_app(
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
    *,
    root_path: str = "",
    origins: Collection[str] = (),
) -> FastAPI:
    """Build the app. ``app.state.gateway`` must be set before the first request; the lifespan does that.

    The app is served below ``root_path``. Pages of ``origins`` may call it. Raises ``ConfigurationError`` for a root
    path that cannot be told from the app's own addresses.
    """
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        # A redirect to the address with or without a slash would go to whatever host the request names.
        redirect_slashes=False,
        title="visual-search",
        version="1",
        description=DESCRIPTION,
        servers=[{"url": root_path}] if root_path else None,
        lifespan=lifespan,
    )
    app.state.root_path = root_path
    app.state.scrapes = PacedWork(lambda: scrape(app.state.gateway), SCRAPE_S)
    problem_details.install(app)
    openapi_document.install(app)
    for module in ROUTED:
        app.include_router(module.router)
    app.mount("/static/docs", StaticFiles(directory=page.DOCS_FILES))
    app.mount("/static", StaticFiles(directory=page.WEB), name="static")
    app.add_middleware(BodyLimit)
    app.add_middleware(HostGuard)
    if origins:
        app.add_middleware(CrossOriginAccess, origins=origins)
    app.add_middleware(RequestId)
    app.add_middleware(SecurityHeaders)
    if root_path:
        check_root_path(root_path, _addresses(app))
        app.add_middleware(RootPath, root_path=root_path)
    return app


def _addresses(app: FastAPI) -> Iterator[str]:
    """Yield the paths of every route."""
    for route in [*app.routes, *(route for module in ROUTED for route in module.router.routes)]:
        if isinstance(route, Route | Mount):
            yield route.path
