"""Tar files, also compressed by gzip, bzip2 or xz."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from typing import TYPE_CHECKING

from typing_extensions import override

from indexer.sources.archives.member import LINK, NO_FILE, Expansion, Member, OpenArchive
from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAMAGED = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)
"""What tarfile and the decompressors raise."""


class TarReader(OpenArchive):
    """Reads a tar file. Of its headers it holds the current one alone."""

    def __init__(self, path: Path) -> None:
        try:
            self._tar = tarfile.open(path, "r:*")  # noqa: SIM115
        except DAMAGED as error:
            raise InvalidInput(f"It is no tar file, or damaged: {error}.") from None
        self._expansion = Expansion(path)
        self._current: tarfile.TarInfo | None = None

    @override
    def members(self) -> Iterator[Member]:
        while (entry := self._next()) is not None:
            if not entry.isdir():
                self._current = entry
                yield Member.of(entry.name, entry.size, _refusal(entry))

    def _next(self) -> tarfile.TarInfo | None:
        try:
            entry = self._tar.next()
        except DAMAGED as error:
            raise InvalidInput(f"The archive is cut off or damaged here: {error}.") from None
        # tarfile keeps every header, which would fill the memory.
        self._tar.members.clear()  # type: ignore[attr-defined]
        if entry is not None:
            self._expansion.add(entry.size)
        return entry

    @override
    def read(self) -> bytes:
        assert self._current is not None
        try:
            stream = self._tar.extractfile(self._current)
            data = stream.read() if stream else b""
        except DAMAGED as error:
            raise InvalidInput(f"The archive is cut off or damaged here: {error}.") from None
        if len(data) != self._current.size:
            raise InvalidInput("The archive is cut off here.")
        return data

    @override
    def close(self) -> None:
        self._tar.close()


def _refusal(entry: tarfile.TarInfo) -> str:
    if entry.issym() or entry.islnk():
        return LINK
    return "" if entry.isreg() else NO_FILE
