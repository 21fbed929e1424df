"""Indexing events, their outcomes, and the objects they speak of. Standard library and numpy only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

RESERVED_PREFIXES = ("queries/", ".")
"""Objects whose keys begin so are no pictures of the corpus: kept queries, our probe, parts of unfinished uploads."""


class EventKind(StrEnum):
    """What happened to an object."""

    CREATED = "created"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to the object behind a uri. ``image_id`` is set where a row already promises the image."""

    kind: EventKind
    uri: str
    image_id: int | None = None
    etag: str = ""
    """Version or entity tag of the object; part of the event's identity."""
    traceparent: str = field(default="", compare=False)
    """The trace that the event belongs to (W3C); empty for none."""


@dataclass(frozen=True, slots=True)
class Change:
    """An object that the store says was written or removed. ``at_ns`` is the store's clock, nanoseconds since 1970."""

    kind: EventKind
    key: str
    etag: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event as the stream handed it out. ``deliveries`` counts from 1."""

    entry_id: str
    event: Event
    deliveries: int


@dataclass(frozen=True, slots=True)
class Indexed:
    """The event's image is searchable (or, for a deletion, gone)."""

    image_id: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """The event's image can never be indexed; the reason is for a person to read."""

    reason: str
    image_id: int | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Something outside the image failed; the event stays pending and will be delivered again."""

    reason: str


Outcome = Indexed | Rejected | Retry


@dataclass(frozen=True, slots=True)
class StreamState:
    """How far the indexer is behind. ``lag`` is None where the server cannot tell; ages are in seconds."""

    lag: int | None
    pending: int
    dead_letters: int
    oldest_pending_s: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was given up on, and why."""

    entry_id: str
    event: Event
    reason: str
    deliveries: int
    died_at: datetime


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object in the store. ``size`` in bytes."""

    key: str
    size: int
    etag: str
    last_modified: datetime


def simple_etag(data: bytes) -> str:
    """Return the entity tag that S3 gives an object put in one piece: its MD5 in hex."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
