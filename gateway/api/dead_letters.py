"""REST routes of dead letters: list them, and put them back on the stream."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request

from gateway.api import schemas
from gateway.api.auditing import audited
from gateway.api.dependencies import GuardedRoute, IngestCaller, SearchCaller, gateway_of
from gateway.api.problem_details import failures
from gateway.dead_letters import DeadLetters
from visualsearch.domain.audit import Action

router = APIRouter(route_class=GuardedRoute)


@router.get("/dead-letters", summary="List the dead letters", responses=failures(401, 403, 422, 429, 503))
async def dead_letters(
    request: Request, caller: SearchCaller, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[schemas.DeadLetter]:
    """List dead letters with their reasons, newest first: all for an administrator, else those of one's own images."""
    letters = await _dead_letters(request).newest(caller, limit)
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
    request: Request, caller: IngestCaller, wanted: Annotated[schemas.Retry, Body()]
) -> dict[str, Any]:
    """Put the given dead letters back on the stream, or all if none is given. Returns how many.

    Only an administrator can put back dead letters of images that are not its own; others' are skipped.
    """
    record = partial(audited, request, caller, Action.RETRY_DEAD_LETTERS)
    return {"retried": await _dead_letters(request).retry(caller, wanted.entries, record)}


def _dead_letters(request: Request) -> DeadLetters:
    gateway = gateway_of(request)
    return DeadLetters(gateway.events, gateway.image_repository)
