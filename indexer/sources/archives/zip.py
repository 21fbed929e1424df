"""Zip files."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from typing import TYPE_CHECKING

from typing_extensions import override

from indexer.sources.archives.member import ENCRYPTED, LINK, NO_FILE, Expansion, Member, OpenArchive
from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAMAGED = (zipfile.BadZipFile, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)
IS_ENCRYPTED = 0x1
"""Flag of an entry."""


class ZipReader(OpenArchive):
    """Reads a zip file. Its directory is in memory: about a kilobyte a member."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except DAMAGED as error:
            raise InvalidInput(f"It is no zip file, or damaged: {error}.") from None
        self._expansion = Expansion(path)
        self._current: zipfile.ZipInfo | None = None

    @override
    def members(self) -> Iterator[Member]:
        for entry in self._zip.infolist():
            if not entry.is_dir():
                self._expansion.add(entry.file_size)
                self._current = entry
                # Programs of Windows write backslashes between folders.
                yield Member.of(entry.filename.replace("\\", "/"), entry.file_size, _refusal(entry))

    @override
    def read(self) -> bytes:
        assert self._current is not None
        try:
            return self._zip.read(self._current)  # never more than the entry's size, whatever it expands to
        except NotImplementedError:
            raise InvalidInput("It is compressed in a way that is not known here: pack it anew.") from None
        except DAMAGED as error:
            raise InvalidInput(f"The archive is damaged here: {error}.") from None

    @override
    def close(self) -> None:
        self._zip.close()


def _refusal(entry: zipfile.ZipInfo) -> str:
    if entry.flag_bits & IS_ENCRYPTED:
        return ENCRYPTED
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return LINK
    return "" if kind in {0, stat.S_IFREG} else NO_FILE
