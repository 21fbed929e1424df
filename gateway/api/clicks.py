"""REST route of clicks on results."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from gateway.api import schemas
from gateway.api.dependencies import GuardedRoute, SearchCaller, gateway_of
from gateway.api.problem_details import failures
from visualsearch.domain.interactions import Click
from visualsearch.observability.metrics import CLICKS

router = APIRouter(route_class=GuardedRoute)


@router.post(
    "/click",
    status_code=204,
    summary="Record a click on a result",
    responses=failures(401, 403, 404, 422, 429, 503),
)
async def click(request: Request, caller: SearchCaller, click: schemas.Click) -> Response:
    """Record a click on a result. It is queued when the response is sent, and stored within about a second.

    While Postgres is down, a click is accepted unchecked. It is dropped later if its search or image never existed,
    or if the search was not made with the caller's key.
    """
    gateway = gateway_of(request)
    checked = await gateway.is_real(click.query_image_id, click.displayed_image_id, caller)
    user = gateway.pseudonym(click.user_id)
    recorded = Click(click.query_image_id, click.displayed_image_id, click.rank, user, checked, owner=caller.owner)
    await gateway.interaction_recorder.clicked(recorded)
    CLICKS.inc()
    return Response(status_code=204)
