"""What people were shown and what they clicked, as it travels from the gateway to the catalog. Standard library only.

Every noun has an id of its own from its beginning on, so that however often it is spooled or written, it counts once.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any


def new_id() -> str:
    """Return an id that nothing else has."""
    return uuid.uuid4().hex


def now() -> datetime:
    """Return the time of now, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Search:
    """A search that was answered. ``shown`` are the images' ids by rank, from 1 on; ``user`` is a keyed hash."""

    query_image_id: int
    release: str
    shown: tuple[int, ...]
    user: int | None = None
    picture: bool = False
    """Whether somebody sent a picture; else the query was an image of the corpus."""
    box: str = ""
    blob_key: str = ""
    """Where the query's picture is kept; empty where it is not."""
    variants: dict[str, str] = field(default_factory=dict)
    """Which variant of each experiment answered."""
    owner: str = ""
    """Whose key it was; empty where the gateway asks for none."""
    id: str = field(default_factory=new_id)
    at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Click:
    """A result that was clicked. ``checked`` says that query and image were known to be real when it was accepted."""

    query_image_id: int
    displayed_image_id: int
    rank: int
    user: int | None = None
    checked: bool = True
    id: str = field(default_factory=new_id)
    at: datetime = field(default_factory=now)


Interaction = Search | Click


@dataclass(frozen=True, slots=True)
class StoredQuery:
    """A query that was asked with a picture: whose it is, which box of it was meant, and where the picture is kept."""

    owner: str
    box: str
    blob_key: str


@dataclass(frozen=True, slots=True)
class QueuedInteraction:
    """An entry of the spool. ``told`` is None where nobody can read ``text``."""

    entry_id: str
    text: str
    told: Interaction | None


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a write came to: entries that were new, and clicks among them on what never was."""

    new: int = 0
    unfounded: int = 0

    def __add__(self, other: WriteResult) -> WriteResult:
        return WriteResult(self.new + other.new, self.unfounded + other.unfounded)


def hashed_user(key: str, user_id: int | None) -> int | None:
    """Return a user's pseudonym: the first 63 bits of HMAC-SHA256 of the id, so that it fits a BIGINT.

    The same key and user give the same pseudonym; without the key nobody can tell whose it is, or try all ids out.
    None without a user, and without a key: better no user than one whom anybody can find out.
    """
    if user_id is None or not key:
        return None
    digest = hmac.digest(key.encode(), str(user_id).encode(), hashlib.sha256)
    return int.from_bytes(digest[:8], "big") >> 1


def to_text(told: Interaction) -> str:
    """Write down as JSON what ``from_text`` reads."""
    return json.dumps({"kind": type(told).__name__.lower(), **asdict(told), "at": told.at.isoformat()})


def from_text(text: str) -> Interaction | None:
    """Read what ``to_text`` wrote; None where it is of another form."""
    try:
        values: dict[str, Any] = json.loads(text)
        kind = values.pop("kind")
        values["at"] = datetime.fromisoformat(values["at"])
        uuid.UUID(values["id"])
        if kind == "click":
            return Click(**values)
        return Search(**{**values, "shown": tuple(values["shown"])})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
