"""Walks a folder of files: in a stable order, into linked folders, past what is excluded or cannot be read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.sources.omissions import Omissions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from indexer.sources.exclusions import Exclusions


class FolderWalk:
    """One walk through a folder, or from some paths inside it. ``root`` is the folder's real path.

    A linked folder is entered like any other unless it contains the root, lies inside it, or was entered already.
    """

    def __init__(self, root: Path, exclusions: Exclusions) -> None:
        self.omissions = Omissions()
        self._root = root
        self._exclusions = exclusions
        self._linked: set[tuple[int, int]] = set()

    def files(self, begin: Path) -> Iterator[Path]:
        """Yield every file below a folder, each folder's own files first, in the order of their names.

        Files are all that are no folders: sockets, pipes and links to nowhere too.
        """
        waiting = [begin]
        while waiting:
            below = []
            folder = waiting.pop()
            for entry in self._entries(folder):
                path, is_folder = folder / entry.name, _is_folder(entry)
                if pattern := self._exclusions.pattern(folder, entry.name, is_folder=is_folder):
                    self.exclude(path, pattern, is_folder=is_folder)
                elif not is_folder:
                    yield path
                elif self._may_enter(path):
                    below.append(path)
            waiting += reversed(below)

    def exclude(self, path: Path, pattern: str, *, is_folder: bool) -> None:
        """Count an excluded file, or the files in an excluded folder."""
        number = 1
        if is_folder:
            number = 0 if path.is_symlink() else sum(len(names) for _, _, names in os.walk(path))
        self.omissions.excluded[pattern] += number

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._omit_unread(folder, error)
            return []

    def _omit_unread(self, folder: Path, error: OSError) -> None:
        self.omissions.folders.append((str(folder), f"It cannot be read: {error.strerror}."))
        self.omissions.unread.append(folder)

    def _may_enter(self, path: Path) -> bool:
        real = path.resolve()
        if real == path:
            return True
        try:
            reason = self._why_not(real)
        except OSError as error:
            self._omit_unread(path, error)
            return False
        if reason:
            self.omissions.folders.append((str(path), reason))
        return not reason

    def _why_not(self, real: Path) -> str:
        """Return why a folder that was reached by a link is not entered; empty if it is, from now on."""
        if self._root.is_relative_to(real):
            return "It is a link to a folder that contains this one."
        if real.is_relative_to(self._root):
            return f"It is a link to {real.relative_to(self._root)}, which is in this folder itself."
        state = real.stat()
        identity = state.st_dev, state.st_ino
        if identity in self._linked:
            return "It was entered already, by another link."
        self._linked.add(identity)
        return ""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in circles; reading it as a file tells why
        return False
