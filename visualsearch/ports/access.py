"""Protocols of what tells who a caller is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from visualsearch.domain.access import ActiveKeys, ApiKey, Identity, KeyText
    from visualsearch.domain.topics import TopicMessage


class ApiKeyRepository(Protocol):
    """API keys. Only their digests are stored."""

    async def add(self, key: ApiKey) -> None:
        """Store a new key. Raises ``Conflict`` if its id is taken."""
        ...

    async def everything(self) -> list[ApiKey]:
        """Return all keys, expired and revoked ones too, the newest first."""
        ...

    async def revoke(self, key_id: str) -> ApiKey:
        """End a key now and return it; no-op if it is revoked already. Raises ``NotFound``."""
        ...

    async def rotate(
        self, key_id: str, successor: KeyText, expires_at: datetime | None, overlap: timedelta
    ) -> tuple[ApiKey, ApiKey]:
        """Make a successor with the same owner, scopes and note, and let the old key end after ``overlap``.

        The successor lives until ``expires_at``; with None, as long as the old key was meant to live. Returns the old
        and the new key. Raises ``NotFound``, and ``Conflict`` if the old key is not valid any more.
        """
        ...

    async def active(self, known: int | None) -> ActiveKeys | None:
        """Return all valid keys, or None if nothing has changed since version ``known``.

        A key that expires is no change: who holds the keys compares their time.
        """
        ...

    async def mark_used(self, key_ids: Iterable[str]) -> None:
        """Record that keys were used now, unless that was recorded within the last minute."""
        ...


class TokenVerifier(Protocol):
    """Verifies the tokens of one issuer."""

    async def verify(self, token: str) -> Identity:
        """Return whom a JSON Web Token is for.

        Raises ``Unauthenticated`` if it is not valid, and ``Unavailable`` if that cannot be found out now.
        """
        ...

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the issuer's keys fresh until stopped, so that no call waits for them."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class TopicVerifier(Protocol):
    """Tells whether messages come from a topic that is subscribed to."""

    async def open(self, body: Mapping[str, object]) -> TopicMessage:
        """Return the message in an envelope, and confirm a subscription if it asks for that.

        Raises ``Unauthenticated`` if it does not come from one of the topics, and ``RateLimited`` and ``Unavailable``
        if that cannot be found out now.
        """
        ...
