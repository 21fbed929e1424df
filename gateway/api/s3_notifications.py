"""Reads what object stores report: S3's event notifications, which MinIO and Ceph send too, and EventBridge's events.

The formats are described in the AWS S3 user guide, "Event message structure" and "EventBridge event message structure".
A report is only a hint. The indexer looks at the object itself, so it does not matter how often and in which order
reports come.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.indexing import EventKind
from visualsearch.domain.object_keys import corpus_key

if TYPE_CHECKING:
    from visualsearch.ports import ObjectStore

MAX_RECORDS = 100
"""AWS and MinIO send one record at a time."""
KINDS = {
    "ObjectCreated": EventKind.CREATED,
    "ObjectRemoved": EventKind.DELETED,
    "ObjectRestore:Completed": EventKind.CREATED,
    "LifecycleExpiration": EventKind.DELETED,
    # MinIO: a delete marker that nothing is left behind
    "LifecycleDelMarkerExpiration": EventKind.DELETED,
    # Ceph: expired objects, and changes in another zone
    "ObjectLifecycle:Expiration": EventKind.DELETED,
    "ObjectSynced:Create": EventKind.CREATED,
    "ObjectSynced:Delete": EventKind.DELETED,
}
"""What an event means, by the beginning of its name."""
EVENTBRIDGE_KINDS = {
    "Object Created": EventKind.CREATED,
    "Object Deleted": EventKind.DELETED,
    "Object Restore Completed": EventKind.CREATED,
}


@dataclass(frozen=True, slots=True)
class Report:
    """A change that a store reports. ``keys`` are the ways in which the object's key can be read, the likeliest first.

    ``record`` is the index in the notification.
    """

    record: int
    kind: EventKind
    keys: tuple[str, ...]
    etag: str


@dataclass(frozen=True, slots=True)
class Notification:
    """A parsed notification: reported changes, and the refused records, each with its index and the reason."""

    reports: list[Report] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.reports) + len(self.refused)


def read_notification(body: object, object_store: ObjectStore) -> Notification:
    """Parse a store's JSON. Raises ``InvalidInput`` if it has no form of S3; bad records are refused one by one.

    A store repeats a failed call endlessly, so a record that can never be used must not fail the call.
    """
    if isinstance(body, dict) and body.get("Event") == "s3:TestEvent":
        return Notification()  # AWS tests the endpoint
    is_eventbridge = isinstance(body, dict) and "detail-type" in body
    records = [body] if is_eventbridge else body.get("Records") if isinstance(body, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InvalidInput(
            'The body is no S3 notice: {"Records": [{"eventName": …, "s3": {…}}]} is expected, or EventBridge\'s form.'
        )
    if len(records) > MAX_RECORDS:
        raise InvalidInput(f"The notice has {len(records)} records; {MAX_RECORDS} are the limit. Send several.")
    read = _from_eventbridge if is_eventbridge else _from_record
    notification = Notification()
    for number, record in enumerate(records):
        try:
            notification.reports.append(read(number, record, object_store.bucket))
        except InvalidInput as error:
            notification.refused.append((number, str(error)))
    return notification


def _from_record(number: int, record: dict[str, Any], ours: str) -> Report:
    name = _text(record.get("eventName")).removeprefix("s3:")
    kind = next((kind for start, kind in KINDS.items() if f"{name}:".startswith(f"{start}:")), None)
    if kind is None:
        raise InvalidInput(f"Events of the kind {name[:80]!r} are not used: ObjectCreated and ObjectRemoved are.")
    thing = _object(record.get("s3"), ours, "s3")
    # Keys are form-encoded: a space is a plus. Ceph sends them as they are.
    keys = _keys(kind, unquote_plus(thing["key"]), thing["key"])
    return Report(number, kind, keys, _etag(thing.get("eTag") or thing.get("versionId")))


def _from_eventbridge(number: int, event: dict[str, Any], ours: str) -> Report:
    name = _text(event.get("detail-type"))
    kind = EVENTBRIDGE_KINDS.get(name) if event.get("source") == "aws.s3" else None
    if kind is None:
        raise InvalidInput(
            f"Events of the kind {name[:80]!r} are not used: S3's 'Object Created' and '... Deleted' are."
        )
    thing = _object(event.get("detail"), ours, "detail")
    return Report(number, kind, _keys(kind, thing["key"]), _etag(thing.get("etag")))


def _object(place: object, ours: str, name: str) -> dict[str, Any]:
    """Return what a record says of its object, which must lie in our bucket and have a key."""
    bucket, thing = (place.get("bucket"), place.get("object")) if isinstance(place, dict) else (None, None)
    if not isinstance(bucket, dict) or not isinstance(thing, dict) or not isinstance(thing.get("key"), str):
        raise InvalidInput(
            f"The record names no bucket or no key: {name}.bucket.name and {name}.object.key are expected."
        )
    if bucket.get("name") != ours:
        raise InvalidInput(f"The bucket {_text(bucket.get('name'))[:80]!r} is not ours: {ours!r} is.")
    return thing


def _keys(kind: EventKind, likeliest: str, *others: str) -> tuple[str, ...]:
    """Return the keys that a record can mean. Raises ``InvalidInput`` if the likeliest may be no picture's."""
    # A deletion only removes images whose objects are gone, uploads too.
    uploads = kind is EventKind.DELETED
    keys = [corpus_key(likeliest, uploads=uploads)]
    for other in others:
        try:
            keys.append(corpus_key(other, uploads=uploads))
        except InvalidInput:
            continue
    return tuple(dict.fromkeys(keys))


def _text(given: object) -> str:
    """Return a value if it is a text: others may be nested so deeply that they cannot be shown."""
    return given if isinstance(given, str) else ""


def _etag(given: object) -> str:
    return given.strip('"')[:200] if isinstance(given, str) else ""
