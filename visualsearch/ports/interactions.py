"""Protocols of interactions and experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.domain.experiments import Experiment
    from visualsearch.domain.interactions import Interaction, QueuedInteraction, StoredQuery, WriteResult


class InteractionQueue(Protocol):
    """Interactions that are waiting to be written to the interaction repository."""

    async def append(self, interactions: Sequence[Interaction]) -> None:
        """Append in order, all or none. After an error, the same entries may be appended again, because ids count once.

        Raises ``Overloaded`` if the queue is full.
        """
        ...

    async def read(self, consumer: str, count: int, block_s: float, stale_after_s: float) -> list[QueuedInteraction]:
        """Read up to ``count`` entries: first those that any consumer has held for ``stale_after_s``, then new ones.

        Waits up to ``block_s`` for new ones.
        """
        ...

    async def done(self, entry_ids: Sequence[str]) -> None:
        """Remove entries that are written."""
        ...

    async def dead_letter(self, entry: QueuedInteraction, reason: str) -> None:
        """Move an entry that can never be written to the dead letters, with the reason."""
        ...

    async def length(self) -> int:
        """Return the number of waiting entries."""
        ...

    async def remove_idle_consumers(self) -> None:
        """Remove consumers that no longer exist."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class InteractionRepository(Protocol):
    """Interactions and queries. Each is written once and kept for a limited time."""

    async def write(self, interactions: Sequence[Interaction]) -> WriteResult:
        """Write entries that are not written yet, searches before clicks; each entry is written wholly or not at all.

        An unchecked click is dropped if its query or image never existed. Raises ``InvalidInput`` if a value cannot be
        stored.
        """
        ...

    async def query(self, query_image_id: int) -> StoredQuery | None:
        """Return a query that had an uploaded picture; None if it is not stored yet, or no longer."""
        ...

    async def keep(self, days: int) -> list[str]:
        """Create partitions for the coming days, and drop the days (in UTC) that ended more than ``days`` days ago.

        Returns the names of the dropped partitions.
        """
        ...


class ExperimentRepository(Protocol):
    """The definitions of experiments."""

    async def create(self, experiment: Experiment) -> None:
        """Create a draft; raises ``InvalidInput`` if the name is taken."""
        ...

    async def get(self, name: str) -> Experiment:
        """Return an experiment; raises ``NotFound``."""
        ...

    async def everything(self) -> list[Experiment]:
        """Return all experiments, newest first."""
        ...

    async def running(self) -> list[Experiment]:
        """Return the running experiments."""
        ...

    async def start(self, name: str, first_bucket: int, end_bucket: int) -> bool:
        """Start a draft on these buckets of its layer; return False if it is no draft or the buckets are taken."""
        ...

    async def stop(self, name: str) -> bool:
        """Stop an experiment; return False if it is not running."""
        ...
