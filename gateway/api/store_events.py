"""Webhook for event notifications of object stores."""

from __future__ import annotations

import hmac

import orjson
from fastapi import APIRouter, Request

from gateway.api import schemas
from gateway.api.dependencies import GuardedRoute, address_of, gateway_of
from gateway.api.problem_details import failures
from gateway.api.s3_notifications import read_notification, without_missing
from visualsearch.domain.access import Scope
from visualsearch.domain.errors import InvalidInput, RateLimited, Unauthenticated
from visualsearch.observability.metrics import NOTICES

router = APIRouter(route_class=GuardedRoute)


WEBHOOK = "webhook"
"""Who an object store is that shows the token. An owner is called otherwise, since its name begins with ``owner``."""


async def _authenticate(request: Request) -> str:
    """Accept the webhook's token, or a key with the scope ingest within its rate limit; return who it is.

    Raises what ``admit`` does.
    """
    gateway = gateway_of(request)
    # MinIO sends its token as configured, with or without "Bearer".
    given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if gateway.webhook_token and hmac.compare_digest(given.encode(), gateway.webhook_token.encode()):
        return WEBHOOK
    caller = await gateway.access.admit(request.headers, Scope.INGEST, address_of(request))
    if caller.sees_everything:
        raise Unauthenticated(
            "A store must show the token: send 'Authorization: Bearer TOKEN' with VISUALSEARCH_WEBHOOK_TOKEN's value."
        )
    return f"owner {caller.owner}"


@router.post(
    "/events/s3",
    status_code=202,
    summary="Receive an object store's notifications",
    responses=failures(401, 403, 413, 422, 429, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schemas.S3Notice.model_json_schema()}},
        }
    },
)
async def store_events(request: Request) -> schemas.NotificationResponse:
    """Accept event notifications in the format of AWS S3 and MinIO. Keys are URL-decoded, and repeats do no harm.

    Records that cannot be used are refused one by one, with the reason, and so are those of objects that do not exist.
    There is no need to send them again. A request may have 100 records.
    """
    who = await _authenticate(request)
    gateway = gateway_of(request)
    if wait_s := await gateway.notices.take(who, 0):
        raise RateLimited(f"More records come than are accepted: send this again in {wait_s:.1f} s.", wait_s)
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"The body is no JSON: {error}.") from None
    notification = read_notification(body, gateway.object_store)
    await gateway.notices.take(who, len(notification.events) + len(notification.refused))
    notification = await without_missing(notification, gateway.object_store)
    await gateway.events.publish([event for _, event in notification.events])
    NOTICES.labels("accepted").inc(len(notification.events))
    NOTICES.labels("refused").inc(len(notification.refused))
    refused = [schemas.RefusedRecord(record=number, reason=reason) for number, reason in notification.refused]
    return schemas.NotificationResponse(accepted=len(notification.events), refused=refused)
