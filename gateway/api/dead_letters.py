"""REST routes of dead letters: list them, and put them back on the stream."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request

from gateway.api import schemas
from gateway.api.dependencies import AdminCaller, GuardedRoute, gateway_of
from gateway.api.problem_details import failures

router = APIRouter(route_class=GuardedRoute)


@router.get("/dead-letters", summary="List the dead letters", responses=failures(401, 403, 422, 429, 503))
async def dead_letters(
    request: Request, _caller: AdminCaller, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[schemas.DeadLetter]:
    """List dead letters with their reasons, newest first."""
    letters = await gateway_of(request).events.dead_letters(limit)
    return [
        schemas.DeadLetter(
            entry=letter.entry_id,
            kind=letter.event.kind,
            uri=letter.event.uri,
            reason=letter.reason,
            deliveries=letter.deliveries,
            died_at=letter.died_at,
        )
        for letter in letters
    ]


@router.post(
    "/dead-letters/retry",
    summary="Put dead letters back on the stream",
    responses=failures(401, 403, 422, 429, 503),
)
async def retry_dead_letters(
    request: Request, _caller: AdminCaller, wanted: Annotated[schemas.Retry, Body()]
) -> dict[str, Any]:
    """Put the given dead letters back on the stream, or all if none is given. Returns how many."""
    return {"retried": await gateway_of(request).events.requeue(wanted.entries)}
