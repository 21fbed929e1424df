"""Notices of object stores, in the form that S3 gave them and MinIO, Ceph and others took over, as events of ours.

Source of the form: the AWS S3 user guide, "Event message structure".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.indexing import RESERVED_PREFIXES, Event, EventKind

if TYPE_CHECKING:
    from visualsearch.ports import ObjectStore

MAX_RECORDS = 1000
MAX_TEXT = 1024
"""S3's limit of a key, in bytes; a longer one cannot be an object's."""
KINDS = {"ObjectCreated": EventKind.CREATED, "ObjectRemoved": EventKind.DELETED}


@dataclass(frozen=True, slots=True)
class Notice:
    """What a call told: events for the stream, and what is no news of a picture, as (number of the record, reason)."""

    events: list[Event] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)


def read_notice(body: object, object_store: ObjectStore) -> Notice:
    """Read a store's JSON. Raises ``InvalidInput`` when it is not of S3's form; bad records are refused one by one.

    A store repeats a call that fails, again and again: what can never be used must not fail the call.
    """
    if isinstance(body, dict) and body.get("Event") == "s3:TestEvent":
        return Notice()  # AWS asks whether anybody listens
    records = body.get("Records") if isinstance(body, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InvalidInput('The body is no S3 notice: {"Records": [{"eventName": …, "s3": {…}}]} is expected.')
    if len(records) > MAX_RECORDS:
        raise InvalidInput(f"The notice has {len(records)} records; {MAX_RECORDS} are the limit.")
    notice = Notice()
    for number, record in enumerate(records):
        try:
            notice.events.append(_event(record, object_store))
        except InvalidInput as error:
            notice.refused.append((number, str(error)))
    return notice


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
    # Encoded as in a form: a space comes as a plus.
    key = unquote_plus(thing["key"])
    if len(key.encode(errors="replace")) > MAX_TEXT:
        raise InvalidInput(f"The key has more than {MAX_TEXT} bytes.")
    if key.startswith(RESERVED_PREFIXES):
        raise InvalidInput(f"The key {key[:80]!r} is reserved: pictures lie elsewhere.")
    etag = str(thing.get("eTag") or thing.get("versionId") or "").strip('"')[:200]
    return Event(kind, object_store.uri(key), etag=etag)
