"""Interactions: the results that users saw and clicked. Standard library only.

The gateway queues them, and the indexer writes them to Postgres. Each has an id from the start, so that it counts
once however often it is queued or written.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime


def new_id() -> str:
    """Return a unique id."""
    return uuid.uuid4().hex


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Search:
    """A search that was answered. ``shown`` are the ids of the results by rank, from 1; ``user`` is a keyed hash."""

    query_image_id: int
    release: str
    shown: tuple[int, ...]
    user: int | None = None
    picture: bool = False
    """Whether the query was an uploaded picture; otherwise it was an image of the corpus."""
    box: str = ""
    blob_key: str = ""
    """Location of the query's picture; empty if it was not kept."""
    variants: dict[str, str] = field(default_factory=dict)
    """Variant of each experiment that answered."""
    owner: str = ""
    """Owner of the API key; empty if the gateway requires none."""
    id: str = field(default_factory=new_id)
    at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Click:
    """A click on a result.

    ``checked`` says whether the query was known to be the caller's, and the image to exist, when it was accepted.
    """

    query_image_id: int
    displayed_image_id: int
    rank: int
    user: int | None = None
    checked: bool = True
    owner: str = field(default="", kw_only=True)
    """Owner of the API key; empty if the gateway requires none."""
    id: str = field(default_factory=new_id)
    at: datetime = field(default_factory=now)


Interaction = Search | Click


@dataclass(frozen=True, slots=True)
class StoredQuery:
    """A query with an uploaded picture: its owner, its box, and the location of the picture."""

    owner: str
    box: str
    blob_key: str


@dataclass(frozen=True, slots=True)
class QueuedInteraction:
    """An entry of the interaction queue. ``interaction`` is None if ``text`` cannot be parsed."""

    entry_id: str
    text: str
    interaction: Interaction | None


@dataclass(frozen=True, slots=True)
class WriteResult:
    """Result of a write: the number of new entries, and of clicks among them on something that never existed."""

    new: int = 0
    unfounded: int = 0

    def __add__(self, other: WriteResult) -> WriteResult:
        return WriteResult(self.new + other.new, self.unfounded + other.unfounded)


def hashed_user(key: str, user_id: int | None) -> int | None:
    """Return a user's pseudonym: the first 63 bits of HMAC-SHA256 of the id, so that it fits a BIGINT.

    The same key and user always give the same pseudonym. Without the key, nobody can reverse it or try all ids. Returns
    None without a user. Also returns None without a key, because an unkeyed hash could be reversed.
    """
    if user_id is None or not key:
        return None
    digest = hmac.digest(key.encode(), str(user_id).encode(), hashlib.sha256)
    return int.from_bytes(digest[:8], "big") >> 1
