"""Archives as a source of pictures for `visualsearch index`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from indexer.sources.archives.member import Member, OpenArchive
from indexer.sources.archives.tar import TarReader
from indexer.sources.archives.zip import ZipReader
from indexer.sources.exclusions import Exclusions
from indexer.sources.file_keys import key_below
from indexer.sources.omissions import Omissions
from indexer.sources.picture_sources import Item, PictureSource, check_is_picture
from visualsearch.domain.errors import ImageTooLarge, InvalidInput
from visualsearch.domain.images import MAX_UPLOAD_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from pathlib import Path

PAGE = 1000
SUFFIXES: dict[str, type[TarReader | ZipReader]] = {
    ".tar": TarReader,
    ".tar.gz": TarReader,
    ".tgz": TarReader,
    ".tar.bz2": TarReader,
    ".tbz2": TarReader,
    ".tar.xz": TarReader,
    ".txz": TarReader,
    ".zip": ZipReader,
    ".cbz": ZipReader,
}
"""What reads an archive, by the end of its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedItem(Item):
    """A member of an archive: the index of its archive, and its number in it."""

    archive: int
    number: int


class Archives(PictureSource):
    """Archives, one after the other. A key is the archive's prefix, and the member's path.

    ``patterns`` exclude members, or with ``!`` include them, beside the defaults. Nothing is unpacked: members are read
    one by one, and one at a time is in memory.
    """

    in_place = False

    def __init__(self, prefixes: Mapping[Path, str], patterns: Sequence[str] = ()) -> None:
        self._paths = list(prefixes)
        self._prefixes = list(prefixes.values())
        self._patterns = patterns
        self.omissions = Omissions()
        self._cursor: _Cursor | None = None
        self._reading = asyncio.Lock()

    async def pages(self) -> AsyncIterator[list[Item]]:
        """Yield every member in pages; where an archive cannot be read any further, an item that says why."""
        omissions = Omissions()
        items = self._items(omissions)
        while page := await asyncio.to_thread(lambda: list(islice(items, PAGE))):
            yield page
        self.omissions = omissions

    def _items(self, omissions: Omissions) -> Iterator[Item]:
        for archive, path in enumerate(self._paths):
            exclusions = _MemberExclusions(path, self._patterns)
            number = -1
            try:
                with _Cursor(archive, path) as cursor:
                    for number, member in enumerate(cursor.members):
                        if not member.refusal and (pattern := exclusions.pattern(member.name)):
                            omissions.excluded[pattern] += 1
                        else:
                            yield self._item(archive, number, member)
            except InvalidInput as error:
                yield self._item(archive, number + 1, Member("", 0, str(error)))

    def _item(self, archive: int, number: int, member: Member) -> Item:
        path, below = self._paths[archive], self._prefixes[archive]
        name = PurePosixPath(member.name or path.name)
        key = key_below(below, name)
        return ArchivedItem(
            name=f"{path}/{member.name}".removesuffix("/"),
            key=key,
            size=member.size,
            source=below.removesuffix("/").rpartition("/")[2],
            renamed=key != below + str(name),
            archive=archive,
            number=number,
            refusal=member.refusal,
        )

    async def read(self, item: Item) -> bytes:
        """Read a member. It is fastest for members in their order."""
        assert isinstance(item, ArchivedItem)
        item.check()
        if item.size > MAX_UPLOAD_BYTES:
            raise ImageTooLarge(f"The file has {item.size} bytes; {MAX_UPLOAD_BYTES} are the limit.")
        async with self._reading:
            data = await asyncio.to_thread(self._read, item)
        check_is_picture(item.name, data)
        return data

    def _read(self, item: ArchivedItem) -> bytes:
        cursor = self._cursor
        if cursor is None or not cursor.is_before(item):
            self.close()
            cursor = self._cursor = _Cursor(item.archive, self._paths[item.archive])
        return cursor.read(item.number)

    def close(self) -> None:
        """Close the archive that was read last."""
        if self._cursor is not None:
            self._cursor.__exit__()
            self._cursor = None


class _MemberExclusions:
    """The patterns for the members of one archive. The folder of the last member is remembered: most share it."""

    def __init__(self, archive: Path, patterns: Sequence[str]) -> None:
        self._archive = archive
        self._exclusions = Exclusions(archive, patterns)
        self._folder = archive
        self._of_folder: str | None = None

    def pattern(self, name: str) -> str | None:
        """Return the pattern that excludes a member or a folder that it is in; None if none does."""
        path = self._archive / name
        if path.parent != self._folder:
            self._folder = path.parent
            inside = self._folder != self._archive
            self._of_folder = self._exclusions.pattern_of_any(self._folder, is_folder=True) if inside else None
        return self._of_folder or self._exclusions.pattern(path.parent, path.name, is_folder=False)


class _Cursor:
    """A place in an archive."""

    def __init__(self, archive: int, path: Path) -> None:
        self._archive = archive
        self._number = -1
        self._open: OpenArchive = reader_of(path)(path)
        self.members = self._open.members()

    def __enter__(self) -> _Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def is_before(self, item: ArchivedItem) -> bool:
        """Return whether a member comes later in this archive."""
        return self._archive == item.archive and self._number < item.number

    def read(self, number: int) -> bytes:
        """Go on to a member and read it. Raises ``InvalidInput``."""
        while self._number < number:
            if next(self.members, None) is None:
                raise InvalidInput("The archive was changed meanwhile.")
            self._number += 1
        return self._open.read()


def reader_of(path: Path) -> type[TarReader | ZipReader]:
    """Return what reads an archive; raises ``InvalidInput`` if its name is of none."""
    name = path.name.lower()
    for suffix, reader in SUFFIXES.items():
        if name.endswith(suffix):
            return reader
    raise InvalidInput(f"{path} is no archive: its name must end in {', '.join(SUFFIXES)}.")


def is_archive(path: Path) -> bool:
    """Return whether a name is an archive's."""
    return path.name.lower().endswith(tuple(SUFFIXES))
