"""Clicks on results over REST."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from gateway.api import schemas
from gateway.api.dependencies import Reader, gateway_of
from gateway.api.problem_details import failures
from visualsearch.domain.interactions import Click
from visualsearch.observability.metrics import CLICKS

router = APIRouter()


@router.post(
    "/click",
    status_code=204,
    summary="Tell that a result was clicked",
    responses=failures(401, 403, 404, 422, 429, 503),
)
async def click(request: Request, caller: Reader, click: schemas.Click) -> Response:
    """Take down a click on a result: it is spooled when the answer comes, and written within about a second.

    While the catalog is away a click is accepted unchecked, and dropped later if nobody was ever shown that.
    """
    gateway = gateway_of(request)
    checked = await gateway.is_real(click.query_image_id, click.displayed_image_id, caller)
    user = gateway.pseudonym(click.user_id)
    told = Click(click.query_image_id, click.displayed_image_id, click.rank, user, checked)
    await gateway.interaction_recorder.clicked(told)
    CLICKS.inc()
    return Response(status_code=204)
