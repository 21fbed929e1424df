"""Protocols for changing releases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from visualsearch.domain.release_state import ReleaseRecord, Releases, Transition
    from visualsearch.domain.releases import Build, Release, ReleaseState
    from visualsearch.domain.score_calibration import ScoreCalibration


class ReleaseTransaction(Protocol):
    """A transaction on the releases that holds the lock. All its writes are committed together, or none."""

    async def records(self) -> Releases:
        """Return every release, newest first."""
        ...

    async def switches(self) -> list[Transition]:
        """Return the transitions that made a release live, oldest first."""
        ...

    async def put(self, standing: ReleaseRecord) -> None:
        """Write the current record of a release."""
        ...

    async def record(self, transition: Transition) -> None:
        """Append to the history."""
        ...


class ReleaseRepository(Protocol):
    """States of the releases, and their history."""

    def switching(self) -> AbstractAsyncContextManager[ReleaseTransaction]:
        """Open a transaction that no other can overlap; an error in the block rolls it back.

        Raises ``Conflict`` if another transaction holds the lock for too long.
        """
        ...

    async def records(self) -> Releases:
        """Return every release, newest first."""
        ...

    async def add(self, release: Release, state: ReleaseState) -> None:
        """Write the first release; no-op if its name is taken, or another release is live already."""
        ...

    async def record_build(self, build: Build) -> None:
        """Write how far a release's collection is built."""
        ...

    async def record_calibration(self, release: str, calibration: ScoreCalibration) -> None:
        """Write the suggested lowest score of a release; no-op if the release is gone."""
        ...

    async def builds(self) -> list[Build]:
        """Return the progress of every release that is being built, by name."""
        ...

    async def clicks(self, seconds: float) -> dict[str, tuple[int, int]]:
        """Return (searches, searches with a click) of the last ``seconds``, by release."""
        ...

    async def history(self, release: str | None, limit: int) -> list[Transition]:
        """Return the history of a release, or of all, newest first."""
        ...


class ReleaseCounters(Protocol):
    """Counters by release, summed over all processes."""

    async def add(self, counted: Mapping[str, Mapping[str, int]]) -> None:
        """Add new counts, by release and counter."""
        ...

    async def since(self, seconds: float) -> dict[str, Counter[str]]:
        """Return the sums of the last ``seconds`` by release; at most an hour."""
        ...

    async def add_total(self, series: str, counters: Mapping[str, int]) -> None:
        """Add to sums that are kept for a long time."""
        ...

    async def total(self, series: str) -> Counter[str]:
        """Return the sums of a series."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class ModelControl(Protocol):
    """Control of the models that the model server has loaded."""

    async def served(self) -> set[int]:
        """Return the loaded versions of the encoder."""
        ...

    async def serve(self, versions: set[int]) -> None:
        """Load these versions and unload all others. Loaded versions keep answering meanwhile, and after a failure.

        Raises ``ConfigurationError`` with the server's reason if a version cannot be loaded.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
