"""The folders that were indexed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from visualsearch.domain.indexed_folders import IndexedFolder


class IndexedFolderRepository(Protocol):
    """Names and places of the folders that were indexed."""

    async def all(self) -> list[IndexedFolder]:
        """Return every folder, the one that was indexed last first."""
        ...

    async def record(self, folder: IndexedFolder, moved_from: str = "") -> bool:
        """Record that a folder is indexed now. A folder that was whole stays so.

        Returns False, and changes nothing, if a folder has its name that is neither here nor at ``moved_from``.
        """
        ...
