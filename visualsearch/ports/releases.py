"""What changing from one release to another needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from visualsearch.domain.release_state import ReleaseRecord, Transition


class ReleaseTransaction(Protocol):
    """The releases while nobody else can move one. What is written becomes true all together, or not at all."""

    async def records(self) -> list[ReleaseRecord]:
        """Return every release, the newest first."""
        ...

    async def switches(self) -> list[Transition]:
        """Return what became live, oldest first."""
        ...

    async def put(self, standing: ReleaseRecord) -> None:
        """Write a release as it stands from now on."""
        ...

    async def record(self, transition: Transition) -> None:
        """Add to the history."""
        ...


class ReleaseRepository(Protocol):
    """Where the releases stand, and what was done to them."""

    def switching(self) -> AbstractAsyncContextManager[ReleaseTransaction]:
        """Move releases while the block runs, alone; an error in it undoes all of it.

        Raises ``Conflict`` when somebody else is at it for too long.
        """
        ...

    async def records(self) -> list[ReleaseRecord]:
        """Return every release, the newest first."""
        ...

    async def clicks(self, seconds: float) -> dict[str, tuple[int, int]]:
        """Return by release how many searches of the last seconds were written down, and how many had a click."""
        ...

    async def history(self, release: str | None, limit: int) -> list[Transition]:
        """Return what was done to a release, or to any, the newest first."""
        ...


class ReleaseCounters(Protocol):
    """What all processes have counted by release."""

    async def add(self, counted: Mapping[str, Mapping[str, int]]) -> None:
        """Add what was counted just now, by release and counter."""
        ...

    async def since(self, seconds: float) -> dict[str, Counter[str]]:
        """Return the sums of the last seconds, by release; an hour at most."""
        ...

    async def add_total(self, series: str, counters: Mapping[str, int]) -> None:
        """Add to sums that are kept."""
        ...

    async def total(self, series: str) -> Counter[str]:
        """Return the sums that were added up under a name."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class ModelControl(Protocol):
    """What the model server has loaded."""

    async def served(self) -> set[int]:
        """Return the versions of the encoder that answer."""
        ...

    async def serve(self, versions: set[int]) -> None:
        """Load these versions and unload all others; what was loaded answers on meanwhile, and after a failure.

        Raises ``ConfigurationError`` with the server's reason when a version cannot be loaded.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
