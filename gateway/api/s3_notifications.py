"""Converts S3 event notifications, which MinIO, Ceph and others send too, to indexing events.

The format is described in the AWS S3 user guide, "Event message structure".
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from visualsearch.domain.errors import InvalidInput, NotFound
from visualsearch.domain.indexing import Event, EventKind
from visualsearch.domain.object_keys import corpus_key

if TYPE_CHECKING:
    from visualsearch.ports import ObjectStore

MAX_RECORDS = 100
"""AWS and MinIO send one record at a time."""
LOOKUPS = 8
"""Objects that one notice looks up at once."""
KINDS = {"ObjectCreated": EventKind.CREATED, "ObjectRemoved": EventKind.DELETED}


@dataclass(frozen=True, slots=True)
class Notification:
    """A parsed notification: events for the stream, and the refused records, each with the index of its record."""

    events: list[tuple[int, Event]] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)


def read_notification(body: object, object_store: ObjectStore) -> Notification:
    """Parse a store's JSON. Raises ``InvalidInput`` if it does not have S3's form; bad records are refused one by one.

    A store repeats a failed call endlessly, so a record that can never be used must not fail the call.
    """
    if isinstance(body, dict) and body.get("Event") == "s3:TestEvent":
        return Notification()  # AWS tests the endpoint
    records = body.get("Records") if isinstance(body, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InvalidInput('The body is no S3 notice: {"Records": [{"eventName": …, "s3": {…}}]} is expected.')
    if len(records) > MAX_RECORDS:
        raise InvalidInput(f"The notice has {len(records)} records; {MAX_RECORDS} are the limit. Send several.")
    notification = Notification()
    for number, record in enumerate(records):
        try:
            notification.events.append((number, _event(record, object_store)))
        except InvalidInput as error:
            notification.refused.append((number, str(error)))
    return notification


async def without_missing(notification: Notification, object_store: ObjectStore) -> Notification:
    """Refuse what says that an object was created which does not exist. Raises ``Unavailable``.

    An indexer would make a dead letter of it, so anybody who may send notices could make any number.
    """
    looking = asyncio.Semaphore(LOOKUPS)

    async def exists(event: Event) -> bool:
        if event.kind is EventKind.DELETED:
            return True
        async with looking:
            try:
                await object_store.etag(object_store.key(event.uri))
            except NotFound:
                return False
        return True

    found = await asyncio.gather(*(exists(event) for _, event in notification.events))
    there = [one for one, is_there in zip(notification.events, found, strict=True) if is_there]
    missing = [
        (number, "The bucket has no such object (any more).")
        for (number, _), is_there in zip(notification.events, found, strict=True)
        if not is_there
    ]
    return Notification(there, sorted(notification.refused + missing))


def _event(record: dict[str, Any], object_store: ObjectStore) -> Event:
    name = str(record.get("eventName", ""))
    kind = KINDS.get(name.removeprefix("s3:").split(":")[0])
    if kind is None:
        raise InvalidInput(f"Events of the kind {name[:80]!r} are not used: ObjectCreated and ObjectRemoved are.")
    s3 = record.get("s3")
    bucket, thing = (s3.get("bucket"), s3.get("object")) if isinstance(s3, dict) else (None, None)
    if not isinstance(bucket, dict) or not isinstance(thing, dict) or not isinstance(thing.get("key"), str):
        raise InvalidInput("The record names no bucket or no key: s3.bucket.name and s3.object.key are expected.")
    if bucket.get("name") != object_store.bucket:
        raise InvalidInput(f"The bucket {str(bucket.get('name'))[:80]!r} is not ours: {object_store.bucket!r} is.")
    # Keys are form-encoded: a space is a plus. A deletion only removes images whose objects are gone, uploads too.
    key = corpus_key(unquote_plus(thing["key"]), uploads=kind is EventKind.DELETED)
    etag = str(thing.get("eTag") or thing.get("versionId") or "").strip('"')[:200]
    return Event(kind, object_store.uri(key), etag=etag)
