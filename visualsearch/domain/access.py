"""API keys, and what callers may do."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

ID_BYTES = 6
SECRET_BYTES = 32
"""256 random bits. Nobody can try them all, so a plain SHA-256 protects the stored key as well as a slow hash would:
those exist for passwords, which people choose. It also costs a request microseconds instead of a tenth of a second."""
KEY = re.compile(r"vs_([0-9a-f]{12})_[0-9a-f]{64}")
"""Looks like no other credential, so that scanners of repositories and logs can find a key that leaked."""
MAX_OWNER, MAX_NOTE = 128, 500
"""Characters. The owner is stored with each object, whose metadata S3 limits to 2 KB."""


class Scope(StrEnum):
    """A part of the API."""

    SEARCH = "search"
    """Read what the owner may see: searches, images, statistics, clicks."""
    INGEST = "ingest"
    """Upload, change and delete images, mark pairs, report events, retry dead letters."""
    ADMIN = "admin"
    """Everything, for all owners; includes the other scopes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is stored. ``digest`` is the SHA-256 of its text, 32 bytes."""

    id: str
    owner: str
    scopes: frozenset[Scope]
    digest: bytes = field(repr=False)
    note: str = ""
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None

    def state(self, now: datetime) -> str:
        """Return ``active``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


@dataclass(frozen=True, slots=True)
class KeyText:
    """A new key: its id, the text that its owner gets, and the digest that is stored."""

    id: str
    text: str = field(repr=False)
    digest: bytes = field(repr=False)

    @classmethod
    def make(cls) -> KeyText:
        """Draw a new key."""
        key_id = secrets.token_hex(ID_BYTES)
        text = f"vs_{key_id}_{secrets.token_hex(SECRET_BYTES)}"
        return cls(key_id, text, digest_of(text))


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token says its bearer is."""

    owner: str
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class ActiveKeys:
    """All keys that are valid, at one moment.

    ``version`` differs after every change. ``any_made`` says whether there ever was a key, valid or not.
    """

    version: int
    any_made: bool
    keys: tuple[ApiKey, ...]


def digest_of(text: str) -> bytes:
    """Return what is stored of a key: its SHA-256, 32 bytes."""
    return hashlib.sha256(text.encode()).digest()


def id_of(text: str) -> str:
    """Return the id of a key by its text; ``""`` if it has not the form of a key."""
    found = KEY.fullmatch(text)
    return found[1] if found else ""


def scopes_of(names: Iterable[str]) -> frozenset[Scope]:
    """Return the scopes with these names. Raises ``InvalidInput``."""
    try:
        return frozenset(map(Scope, names))
    except ValueError:
        raise InvalidInput(f"A scope is one of {', '.join(Scope)}.") from None


def check_owner(owner: str) -> None:
    """Raise ``InvalidInput`` unless a text can name an owner."""
    if not 0 < len(owner) <= MAX_OWNER or not owner.isprintable() or owner != owner.strip():
        raise InvalidInput(f"An owner's name has 1 to {MAX_OWNER} printable characters, and no space around them.")


def new_key(text: KeyText, owner: str, scopes: frozenset[Scope], expires_at: datetime | None, note: str) -> ApiKey:
    """Return the key to store. Raises ``InvalidInput``."""
    check_owner(owner)
    if not scopes:
        raise InvalidInput(f"A key needs a scope: {', '.join(Scope)}.")
    if len(note) > MAX_NOTE:
        raise InvalidInput(f"A note has at most {MAX_NOTE} characters.")
    now = datetime.now(UTC)
    if expires_at is not None and expires_at <= now:
        raise InvalidInput("A key must expire in the future.")
    return ApiKey(
        id=text.id, owner=owner, scopes=scopes, digest=text.digest, note=note, created_at=now, expires_at=expires_at
    )
