"""Where the picture of a query is kept: a part of an object that holds several. Standard library only."""

from __future__ import annotations

from typing import NamedTuple

PREFIX = "queries/"
PACK_BYTES = 4 * 2**20
"""An object takes no more pictures once it has so many bytes; whoever wants one of them reads it whole."""


class Part(NamedTuple):
    """Bytes ``begin`` to ``end`` of an object; to its last where ``end`` is None."""

    key: str
    begin: int = 0
    end: int | None = None

    def __str__(self) -> str:
        """Write down what ``part_named`` reads."""
        return f"{self.key}#{self.begin}-{self.end}"

    def of(self, pack: bytes) -> bytes:
        """Cut it out of its object."""
        return pack[self.begin : self.end]


def part_named(text: str) -> Part:
    """Read which part of which object is meant; a key alone means all of it."""
    key, _, span = text.partition("#")
    begin, _, end = span.partition("-")
    return Part(key, int(begin), int(end)) if span else Part(key)
