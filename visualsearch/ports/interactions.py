"""What is kept of what people do, and the experiments that judge by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visualsearch.domain.experiments import Experiment
    from visualsearch.domain.interactions import Interaction, QueuedInteraction, StoredQuery, WriteResult


class InteractionQueue(Protocol):
    """Interactions that wait until the catalog has them."""

    async def append(self, told: Sequence[Interaction]) -> None:
        """Append in order, all or an error; after an error the same may be appended again, for ids count once.

        Raises ``Overloaded`` when as much waits as may.
        """
        ...

    async def read(self, consumer: str, count: int, block_s: float, stale_after_s: float) -> list[QueuedInteraction]:
        """Hand out up to ``count`` entries: first those that anybody has held for ``stale_after_s``, then new ones.

        Waits up to ``block_s`` for new ones.
        """
        ...

    async def done(self, entry_ids: Sequence[str]) -> None:
        """Say that entries are written; the spool forgets them."""
        ...

    async def dead_letter(self, entry: QueuedInteraction, reason: str) -> None:
        """Put an entry that can never be written aside, with the reason."""
        ...

    async def length(self) -> int:
        """Count the entries that wait."""
        ...

    async def remove_idle_consumers(self) -> None:
        """Drop readers that are gone."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class InteractionRepository(Protocol):
    """Interactions and queries, written once each and kept for a time."""

    async def write(self, told: Sequence[Interaction]) -> WriteResult:
        """Write what is not written yet, searches before clicks; an entry is written whole or not at all.

        A click that was accepted unchecked is dropped where its query or image never was. Raises ``InvalidInput``
        where a value cannot be stored.
        """
        ...

    async def query(self, query_image_id: int) -> StoredQuery | None:
        """Return what is kept of a query that was asked with a picture; None where nothing is (yet, or any more)."""
        ...

    async def keep(self, days: int) -> list[str]:
        """Make room for the days to come, and drop the days (in UTC) that ended more than ``days`` days ago.

        Returns the names of what was dropped.
        """
        ...


class ExperimentRepository(Protocol):
    """The definitions of experiments."""

    async def create(self, experiment: Experiment) -> None:
        """Write a draft; raises ``InvalidInput`` where the name is taken."""
        ...

    async def get(self, name: str) -> Experiment:
        """Return one; raises ``NotFound``."""
        ...

    async def everything(self) -> list[Experiment]:
        """All there are, the newest first."""
        ...

    async def running(self) -> list[Experiment]:
        """Those that run."""
        ...

    async def start(self, name: str, first_bucket: int, end_bucket: int) -> bool:
        """Let a draft run on these buckets of its layer; False where it is no draft, or they are taken by now."""
        ...

    async def stop(self, name: str) -> bool:
        """End an experiment; False where it does not run."""
        ...
