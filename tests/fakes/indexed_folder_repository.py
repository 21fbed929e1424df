"""The folders that were indexed, in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visualsearch.domain.indexed_folders import IndexedFolder


class FakeIndexedFolders:
    """Folders by name, the one that was indexed last at the end."""

    def __init__(self) -> None:
        self.folders: dict[str, IndexedFolder] = {}

    async def all(self) -> list[IndexedFolder]:
        return list(reversed(self.folders.values()))

    async def record(self, folder: IndexedFolder, moved_from: str = "") -> bool:
        old = self.folders.get(folder.name)
        if old and old.location not in {folder.location, moved_from}:
            return False
        self.folders.pop(folder.name, None)
        self.folders[folder.name] = replace(folder, whole=folder.whole or bool(old and old.whole))
        return True
