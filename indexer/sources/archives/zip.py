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
BOUNDED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""Compression of which zipfile expands no more than it is asked for. Of the others it expands all that it reads."""


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
            with self._zip.open(self._current) as stream:
                # Without a size, zipfile expands up to a gigabyte at once before it cuts that off.
                data = stream.read(self._current.file_size)
        except DAMAGED as error:
            raise InvalidInput(f"The archive is damaged here: {error}.") from None
        if len(data) != self._current.file_size:
            raise InvalidInput("The archive is damaged here: the file is shorter than it says.")
        return data

    @override
    def close(self) -> None:
        self._zip.close()


def _refusal(entry: zipfile.ZipInfo) -> str:
    if entry.flag_bits & IS_ENCRYPTED:
        return ENCRYPTED
    if entry.compress_type not in BOUNDED:
        return "Its compression cannot be bounded in memory: pack it anew with deflate."
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return LINK
    return "" if kind in {0, stat.S_IFREG} else NO_FILE
