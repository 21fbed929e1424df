"""Indexing events, their dead letters, and how far indexing has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from visualsearch.domain.indexing import DeadLetter, Delivery, Event, StreamState


class EventStream(Protocol):
    """The stream of indexing events."""

    async def ensure_group(self) -> None:
        """Create the stream and its consumer group; no-op if they exist."""
        ...

    async def publish(self, events: Sequence[Event]) -> None:
        """Append events."""
        ...

    async def read(self, consumer: str, count: int, block_s: float, stale_after_s: float) -> list[Delivery]:
        """Read up to ``count`` events: first those that another consumer has held for ``stale_after_s``, then new ones.

        Waits up to ``block_s`` for new ones.
        """
        ...

    async def begin_attempt(self, entry_ids: Sequence[str]) -> dict[str, int]:
        """Count an attempt at each redelivered entry; return its number of earlier unfinished attempts."""
        ...

    async def end_attempt(self, entry_ids: Sequence[str]) -> None:
        """Mark attempts at redelivered entries as finished, whatever their result."""
        ...

    async def release(self, consumer: str, entry_ids: Sequence[str]) -> None:
        """Make entries available to other consumers at once, without counting a delivery."""
        ...

    async def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Acquire or renew the lease of a task that only one process may run; return False if another holds it."""
        ...

    async def acknowledge(self, entry_ids: Sequence[str]) -> None:
        """Acknowledge entries."""
        ...

    async def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """Move an entry to the dead-letter stream and acknowledge it, in one step."""
        ...

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Return dead letters, newest first."""
        ...

    async def requeue(self, entry_ids: Sequence[str]) -> int:
        """Put dead letters back on the stream (all if no id is given); return how many."""
        ...

    async def state(self) -> StreamState:
        """Return the backlog of indexing."""
        ...

    async def trim(self) -> int:
        """Delete entries that every consumer has acknowledged; return how many."""
        ...

    async def check(self) -> None:
        """Write once to a stream; raise ``Unavailable`` if it fails."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class DeadLetterArchive(Protocol):
    """Dead letters in a database, where a person can query them."""

    async def dead_letter(self, letter: DeadLetter) -> None:
        """Store a dead letter where people can query it."""
        ...


class IndexingProgress(Protocol):
    """How far change logs were followed, and what the last reconciliation found."""

    async def position(self, log: str) -> int | None:
        """Return the position in a change log, in nanoseconds since 1970; None if there is none."""
        ...

    async def set_position(self, log: str, at_ns: int) -> None:
        """Record the position in a change log."""
        ...

    async def record_differences(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Record the counts of a reconciliation by (release, kind), replacing those of the last one."""
        ...

    async def differences(self) -> dict[tuple[str, str], int]:
        """Return the counts of the last reconciliation by (release, kind)."""
        ...
