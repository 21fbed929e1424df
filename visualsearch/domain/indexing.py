"""Indexing events, their outcomes, and the objects that they concern. Standard library and numpy only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from visualsearch.domain.images import Visibility


class EventKind(StrEnum):
    """Kind of change of an object."""

    CREATED = "created"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Event:
    """A change of the object behind a uri. ``image_id`` is set if the image is registered already."""

    kind: EventKind
    uri: str
    image_id: int | None = None
    etag: str = ""
    """Version or entity tag of the object; part of the event's identity."""
    traceparent: str = field(default="", compare=False)
    """Trace of the event, as a W3C traceparent; empty if there is none."""


@dataclass(frozen=True, slots=True)
class Change:
    """A write or removal that the object store reports. ``at_ns`` is the store's clock, in nanoseconds since 1970."""

    kind: EventKind
    key: str
    etag: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event as the stream delivered it. ``deliveries`` counts from 1."""

    entry_id: str
    event: Event
    deliveries: int


@dataclass(frozen=True, slots=True)
class Indexed:
    """The event's image is searchable, or removed if the event was a deletion."""

    image_id: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """The event's image can never be indexed. The reason is written for people."""

    reason: str
    image_id: int | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Something other than the image failed. The event stays pending and will be delivered again."""

    reason: str


Outcome = Indexed | Rejected | Retry


@dataclass(frozen=True, slots=True)
class StreamState:
    """Backlog of the indexer. ``lag`` is None if the server cannot tell; ages are in seconds."""

    lag: int | None
    pending: int
    dead_letters: int
    oldest_pending_s: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that will not be retried, with the reason."""

    entry_id: str
    event: Event
    reason: str
    deliveries: int
    died_at: datetime


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object in the store. ``size`` is in bytes."""

    key: str
    size: int
    etag: str
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class ObjectMetadata:
    """Who may see the picture of an object. It is stored with the object, so that it is known without the catalog."""

    owner: str
    visibility: Visibility
    source: str = ""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's bytes, its entity tag, and its metadata; None if it was stored without."""

    data: bytes
    etag: str
    metadata: ObjectMetadata | None = None


def simple_etag(data: bytes) -> str:
    """Return the entity tag that S3 gives an object uploaded in one part: its MD5 in hex."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
