"""What is in an archive, and how it is read: member by member, in the archive's own order."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXPANSION = 100
"""How many times larger than its file the content of an archive may be. Pictures are compressed already."""
EXPANDED_BYTES = 2**30
"""Content of this size is accepted whatever the archive's size is."""

ENCRYPTED = "It is encrypted: unpack the archive with its password, and index the folder."
LINK = "It is a link: only files are taken out of archives."
NO_FILE = "It is no regular file."
OUTSIDE = "Its name leads out of the archive."


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive that is no folder. ``size`` is in bytes; ``refusal`` says why it is not read."""

    name: str
    size: int
    refusal: str = ""

    @classmethod
    def of(cls, name: str, size: int, refusal: str = "") -> Self:
        """Return a member, refused if its name leads out of the archive."""
        name = name.removeprefix("./")
        leads_out = name.startswith("/") or ".." in name.split("/")
        return cls(name if leads_out else posixpath.normpath(name), size, refusal or (OUTSIDE if leads_out else ""))


class OpenArchive(Protocol):
    """An archive that is being read, from its first member to its last."""

    def members(self) -> Iterator[Member]:
        """Yield the members in order. Raises ``InvalidInput`` where the archive cannot be read any further."""
        ...

    def read(self) -> bytes:
        """Return the content of the member that was yielded last. Raises ``InvalidInput`` if it is damaged."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class Expansion:
    """Adds up what an archive expands to, and stops at one that was made to expand without end."""

    def __init__(self, archive: Path) -> None:
        self._limit = max(EXPANDED_BYTES, EXPANSION * archive.stat().st_size)
        self._total = 0

    def add(self, size: int) -> None:
        """Count a member before it is read or passed over. Raises ``InvalidInput``."""
        self._total += size
        if self._total > self._limit:
            raise InvalidInput(
                f"It expands to more than {EXPANSION} times its size, so it holds something else than pictures."
            )
