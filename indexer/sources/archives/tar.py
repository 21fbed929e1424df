"""Tar files, also compressed by gzip, bzip2 or xz."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from typing import IO, TYPE_CHECKING, cast

from typing_extensions import override

from indexer.sources.archives.member import LINK, NO_FILE, Expansion, Member, OpenArchive
from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DAMAGED = (
    tarfile.TarError,
    EOFError,
    IndexError,
    OSError,
    RecursionError,
    ValueError,
    zlib.error,
    lzma.LZMAError,
)
"""What tarfile and the decompressors raise."""
MAX_HEADER_BYTES = 128 * 2**10
"""Limit of what is read before a member: its header, long names, extended attributes and maps of sparse files. tarfile
holds them whole, and takes a time that grows with the square of their size."""
DECOMPRESSORS: dict[bytes, Callable[[Path], io.BufferedIOBase]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x5d\x00\x00": lzma.open,
}
"""What expands a file, by its first bytes."""


class _BoundedStream(io.RawIOBase):
    """A stream that raises ``InvalidInput`` instead of reading more than ``left`` bytes; None if there is no limit."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        super().__init__()
        self._stream = stream
        self.left: int | None = MAX_HEADER_BYTES

    @override
    def read(self, size: int = -1, /) -> bytes:
        if self.left is not None:
            if not 0 <= size <= self.left:
                raise InvalidInput(
                    f"The archive has more than {MAX_HEADER_BYTES} bytes of headers here: pack it anew without "
                    "extended attributes, with shorter names, and not as sparse files."
                )
            self.left -= size
        return self._stream.read(size)

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._stream.seek(offset, whence)

    @override
    def tell(self) -> int:
        return self._stream.tell()

    @override
    def close(self) -> None:
        self._stream.close()
        super().close()


class TarReader(OpenArchive):
    """Reads a tar file. Of its headers it holds the current one alone."""

    def __init__(self, path: Path) -> None:
        try:
            self._stream = _BoundedStream(_expanded(path))
        except OSError as error:
            raise InvalidInput(f"The file cannot be read: {error.strerror}.") from None
        try:
            self._tar = tarfile.TarFile(fileobj=cast("IO[bytes]", self._stream))
        except DAMAGED as error:
            self._stream.close()
            raise InvalidInput(f"It is no tar file, or damaged: {error}.") from None
        except InvalidInput:
            self._stream.close()
            raise
        self._expansion = Expansion(path)
        self._current: tarfile.TarInfo | None = None

    @override
    def members(self) -> Iterator[Member]:
        while (entry := self._next()) is not None:
            if not entry.isdir():
                self._current = entry
                yield Member.of(entry.name, entry.size, _refusal(entry))

    def _next(self) -> tarfile.TarInfo | None:
        self._stream.left = MAX_HEADER_BYTES
        try:
            entry = self._tar.next()
        except DAMAGED as error:
            raise InvalidInput(f"The archive is cut off or damaged here: {error}.") from None
        if entry is not None and entry.size < 0:  # it would lead back to an earlier member
            raise InvalidInput("The archive is damaged here: a member has a negative size.")
        # tarfile keeps every header, and all that headers say of the members that follow, which would fill the memory.
        self._tar.members.clear()  # type: ignore[attr-defined]
        self._tar.pax_headers.clear()  # type: ignore[attr-defined]
        if entry is not None:
            self._expansion.add(entry.size)
        return entry

    @override
    def read(self) -> bytes:
        assert self._current is not None
        self._stream.left = None
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
        self._stream.close()


def _expanded(path: Path) -> io.BufferedIOBase:
    with path.open("rb") as file:
        head = file.read(max(map(len, DECOMPRESSORS)))
    for magic, expand in DECOMPRESSORS.items():
        if head.startswith(magic):
            return expand(path)
    return path.open("rb")


def _refusal(entry: tarfile.TarInfo) -> str:
    if entry.issym() or entry.islnk():
        return LINK
    return "" if entry.isreg() else NO_FILE
