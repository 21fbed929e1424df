"""The outcome of a run of `visualsearch index`: each file has exactly one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePath


@dataclass(slots=True)
class IndexingCounts:
    """Progress of the run. ``total`` grows while the source is still being listed."""

    total: int = 0
    indexed: int = 0
    skipped: int = 0
    rejected: int = 0
    no_pictures: int = 0

    @property
    def done(self) -> int:
        """Number of files that have their outcome."""
        return self.indexed + self.skipped + self.rejected + self.no_pictures


@dataclass(slots=True)
class NoPictures:
    """Files that are no pictures, by their suffix, each with the first such file as an example."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Count a file by its name."""
        suffix = PurePath(name).suffix.lower()
        self.counts[suffix] += 1
        self.examples.setdefault(suffix, PurePath(name).name)


@dataclass(slots=True)
class Summary:
    """Result of the run: counts, the rejected pictures with reasons, and the duration in seconds.

    In a dry run, ``indexed`` counts the pictures that would be sent to the indexer.
    """

    indexed: int = 0
    replaced: int = 0
    """Of the indexed ones, those that were indexed before with other content."""
    skipped: int = 0
    rejected: list[tuple[str, str]] = field(default_factory=list)
    no_pictures: NoPictures = field(default_factory=NoPictures)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    """Files whose name no key can have, and their key."""
    seen: set[int] = field(default_factory=set)
    """Hashes of the uris of all files but those that are no pictures, in this process alone."""
    seconds: float = 0.0
