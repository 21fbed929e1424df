"""The gateway's process: `python -m gateway.main`."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from gateway import operations, problems, routes
from gateway.access import Access
from gateway.corpus import Corpus
from gateway.grpc.server import serve
from gateway.middleware import BodyLimit, RequestId
from gateway.recorder import Recorder
from gateway.search import ImageSearch
from gateway.service import Gateway
from visualsearch.releases import Releases
from visualsearch.settings import Settings
from visualsearch.telemetry import configure_logging
from visualsearch.wiring import Stores, open_stores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

SHUTDOWN_S = 5
DESCRIPTION = "Image-to-image search: give a picture, or a box inside one, and get the most similar pictures."


def create_app(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None) -> FastAPI:
    """Build the app; ``app.state.gateway`` must be set before the first request (the lifespan does)."""
    app = FastAPI(title="visual-search", version="1", description=DESCRIPTION, lifespan=lifespan)
    problems.install(app)
    app.include_router(routes.router)
    app.include_router(operations.router)
    app.mount("/static", StaticFiles(directory=routes.WEB), name="static")
    app.add_middleware(BodyLimit)
    app.add_middleware(RequestId)
    return app


def build(settings: Settings, stores: Stores, pool: ThreadPoolExecutor) -> Gateway:
    """Put the parts together."""
    releases = Releases(stores.catalog)
    deadline_s = settings.deadline_ms / 1000
    search = ImageSearch(
        stores.encoder,
        stores.vectors,
        stores.catalog,
        stores.blobs,
        releases,
        pool,
        deadline_s=deadline_s,
        max_waiting=settings.max_waiting,
    )
    corpus = Corpus(search, stores.vectors, stores.catalog, stores.events, stores.blobs, deadline_s)
    sources = frozenset(name.strip() for name in settings.blocked_sources.split(",") if name.strip())
    return Gateway(
        stores.encoder,
        stores.vectors,
        stores.catalog,
        stores.events,
        stores.blobs,
        releases,
        search,
        corpus,
        Access(settings.api_keys, settings.rate_limit, settings.rate_limit_loopback),
        Recorder(stores.spool),
        sources,
        settings.min_result_side,
        settings.store_queries,
        settings.webhook_token.get_secret_value(),
        settings.user_id_key.get_secret_value(),
    )


def with_servers(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return the lifespan that connects to the servers, and serves gRPC beside HTTP."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ThreadPoolExecutor(settings.decode_threads or os.cpu_count(), "decode") as pool:
            async with open_stores(settings) as stores:
                gateway = app.state.gateway = build(settings, stores, pool)
                address = f"{settings.gateway_host}:{settings.gateway_grpc_port}"
                async with serve(gateway, address, SHUTDOWN_S):
                    yield
                await gateway.drain()

    return lifespan


def main() -> None:
    """Read the settings and serve."""
    settings = Settings.load()
    configure_logging(settings.log_level, settings.log_format)
    uvicorn.run(
        create_app(with_servers(settings)),
        host=settings.gateway_host,
        port=settings.gateway_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


if __name__ == "__main__":
    main()
