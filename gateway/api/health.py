"""REST routes of liveness, readiness, statistics and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.api import schemas
from gateway.api.dependencies import GuardedRoute, SearchCaller, gateway_of
from gateway.api.problem_details import ProblemResponse, failures

router = APIRouter(route_class=GuardedRoute)


@router.get("/health", summary="Check that the process is alive")
async def health() -> schemas.Health:
    """Return 200 without calling any server."""
    return schemas.Health()


@router.get(
    "/ready",
    summary="Check that every server behind the gateway works",
    response_model=schemas.Health,
    responses=failures(503),
)
async def ready(request: Request) -> Response:
    """Check every server: run a tiny inference, a query, a statement, a stream write and an object put."""
    trouble = await gateway_of(request).not_ready()
    if trouble:
        detail = "Not ready: " + "; ".join(f"{name}: {what}" for name, what in trouble.items())
        return ProblemResponse(503, detail, not_ready=sorted(trouble))
    return JSONResponse({"ok": True})


@router.get("/stats", summary="Get counts and the indexing lag", responses=failures(401, 403, 429, 503))
async def stats(request: Request, caller: SearchCaller) -> schemas.Stats:
    """Return images by status, the lag of the stream, rows per collection, and the live release.

    A part that cannot be counted now is null, and ``errors`` gives the reason. An administrator's key gets all; any
    other the number of images that it may see and the live release, and null for the rest. ``usage`` is what the key's
    owner stores, and how much it may.
    """
    statistics = gateway_of(request).statistics
    collect = statistics.collect if caller.is_admin else statistics.collect_visible_to
    return schemas.Stats.of(await collect(caller.owner), gateway_of(request).images.quota)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    return Response(await request.app.state.scrapes.result(), media_type=CONTENT_TYPE_LATEST)
