"""A folder of files as a source of pictures."""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.sources.exclusions import Exclusions
from indexer.sources.file_keys import key_below, key_step
from indexer.sources.folder_walk import FolderWalk
from indexer.sources.omissions import Omissions
from indexer.sources.picture_sources import Item, NoPicture, PictureSource, check_is_picture, key_prefix
from visualsearch.domain.errors import ImageTooLarge, InvalidInput
from visualsearch.domain.images import MAX_UPLOAD_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

PAGE = 1000
HEAD_BYTES = 4096
"""So many first bytes of a file are read to tell whether it is a picture."""


class Folder(PictureSource):
    """A folder of files, or one file. Keys begin with ``prefix``, by default the folder's name; the path follows.

    ``patterns`` exclude files, or with ``!`` include them, beside the defaults. A file that is named itself is never
    excluded.
    """

    in_place = False

    def __init__(self, path: Path, prefix: str = "", patterns: Sequence[str] = ()) -> None:
        self._file = None if path.is_dir() else path.parent.resolve() / path.name
        self.root = (path if self._file is None else path.parent).resolve()
        self.is_whole = self._file is None
        self.prefix = prefix or default_prefix(self.root)
        self.omissions = Omissions()
        self._source = self.prefix.removesuffix("/").rpartition("/")[2]
        self._patterns = patterns
        self._begin: Sequence[Path] = (self.root,)

    def exists(self) -> bool:
        """Return whether the folder is still there."""
        return self.root.is_dir()

    def named(self, prefix: str) -> Folder:
        """Return this folder with another prefix."""
        return Folder(self._file or self.root, prefix, self._patterns)

    def only(self, paths: Sequence[Path]) -> Folder:
        """Return the part of this folder that lies at or below these paths."""
        part = Folder(self.root, self.prefix, self._patterns)
        part._begin = [one for one in sorted(paths) if not set(one.parents).intersection(paths)]
        return part

    def key(self, path: Path) -> str:
        """Return the key of a path in this folder."""
        return key_below(self.prefix, path.relative_to(self.root)).removesuffix("/")

    async def pages(self) -> AsyncIterator[list[Item]]:
        """Yield every file in pages. At the end, ``omissions`` says what was left out."""
        exclusions = Exclusions(self.root, self._patterns)
        walk = FolderWalk(self.root, exclusions)
        files = self._files(walk, exclusions)
        while page := await asyncio.to_thread(lambda: [self._item(file) for file in islice(files, PAGE)]):
            yield page
        self.omissions = walk.omissions

    def _files(self, walk: FolderWalk, exclusions: Exclusions) -> Iterator[Path]:
        if self._file is not None:
            yield self._file
            return
        for path in self._begin:
            is_folder = path.is_dir()
            if pattern := path != self.root and exclusions.pattern_of_any(path, is_folder=is_folder):
                walk.exclude(path, pattern, is_folder=is_folder)
            elif is_folder:
                yield from walk.files(path)
            elif path.is_symlink() or path.exists():
                yield path

    def _item(self, file: Path) -> Item:
        try:
            size = file.stat().st_size
        except OSError:  # read() will raise the reason
            size = 0
        key, below = self.key(file), file.relative_to(self.root).as_posix()
        return Item(str(file), key, size, self._source, renamed=key != self.prefix + below)

    async def read(self, item: Item) -> bytes:
        """Read a file, unless it is no picture or larger than an upload may be."""
        try:
            return await asyncio.to_thread(_read, Path(item.name))
        except OSError as error:
            raise InvalidInput(f"The file cannot be read: {error.strerror}.") from None
        except NoPicture as error:
            if self._file is None:
                raise
            raise InvalidInput(str(error)) from None  # a file that the user named: report why it is not indexed


def default_prefix(folder: Path) -> str:
    """Return the prefix of keys for a folder: its name, unless that is one of our own in the bucket."""
    return key_prefix(key_step(folder.name) if folder.name else "root")


def _read(file: Path) -> bytes:
    if not file.is_file() and file.exists():
        raise InvalidInput("It is no regular file.")
    with file.open("rb") as opened:
        head = opened.read(HEAD_BYTES)
        check_is_picture(file.name, head)
        size = file.stat().st_size
        if size > MAX_UPLOAD_BYTES:
            raise ImageTooLarge(f"The file has {size} bytes; {MAX_UPLOAD_BYTES} are the limit.")
        return head + opened.read(MAX_UPLOAD_BYTES)
