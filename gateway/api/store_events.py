"""Webhook for event notifications of object stores."""

from __future__ import annotations

from fastapi import APIRouter, Request

from gateway.api import schemas
from gateway.api.dependencies import GuardedRoute, gateway_of
from gateway.api.notification_senders import receive
from gateway.api.problem_details import failures
from gateway.api.reported_objects import find_objects
from gateway.api.s3_notifications import MAX_RECORDS, read_notification
from visualsearch.observability.metrics import NOTICES

router = APIRouter(route_class=GuardedRoute)


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
    """Accept event notifications in the formats of AWS S3, MinIO, Ceph and EventBridge, also in messages of Amazon SNS.

    Repeats and a wrong order do no harm, because the objects themselves are looked at. Records that cannot be used are
    refused one by one, with the reason, and so are those of objects that do not exist. There is no need to send them
    again. A request may have 100 records. A message of SNS needs no token: its signature is verified, its topic must be
    one of VISUALSEARCH_SNS_TOPICS, and its subscription is confirmed.
    """
    gateway = gateway_of(request)
    async with receive(request) as (sender, body):
        await gateway.notices.take(sender, _records(body))
        notification = read_notification(body, gateway.object_store)
        events, refused = await find_objects(notification, gateway.object_store)
        await gateway.events.publish(events)
    accepted = len(notification) - len(refused)
    NOTICES.labels("accepted").inc(accepted)
    NOTICES.labels("refused").inc(len(refused))
    reasons = [schemas.RefusedRecord(record=number, reason=reason) for number, reason in refused]
    return schemas.NotificationResponse(accepted=accepted, refused=reasons)


def _records(body: object) -> int:
    """Return for how many records a notification counts, although it may be refused."""
    records = body.get("Records") if isinstance(body, dict) else None
    return min(len(records), MAX_RECORDS) if isinstance(records, list) else 1
