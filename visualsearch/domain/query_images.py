"""Location of a query's picture: a byte range of an object that holds several. Standard library only."""

from __future__ import annotations

from typing import NamedTuple

PREFIX = "queries/"
PACK_BYTES = 4 * 2**20
"""Size in bytes at which an object takes no more pictures. Reading one picture reads the whole object."""


class Part(NamedTuple):
    """Bytes ``begin`` to ``end`` (exclusive) of an object; to its end if ``end`` is None."""

    key: str
    begin: int = 0
    end: int | None = None

    def __str__(self) -> str:
        """Serialize the part as ``part_named`` reads it."""
        return f"{self.key}#{self.begin}-{self.end}"

    def of(self, pack: bytes) -> bytes:
        """Cut the part out of its object's bytes."""
        return pack[self.begin : self.end]


def part_named(text: str) -> Part:
    """Parse the output of ``str(part)``; a key alone means the whole object."""
    key, _, span = text.partition("#")
    begin, _, end = span.partition("-")
    return Part(key, int(begin), int(end)) if span else Part(key)
