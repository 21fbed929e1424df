"""A few pictures of a folder or another source, by which it is recognized."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from indexer.sources.picture_sources import Item, PictureSource

SIZE = 32
"""Pictures that are read at least, if there are so many."""


class PictureSample:
    """Pictures that are spread over the first page of a source. They are read once, when they are needed.

    ``prefix`` is the one of the source's keys.
    """

    def __init__(self, source: PictureSource, prefix: str) -> None:
        self._source = source
        self._prefix = prefix
        self._hashes: dict[str, bytes] | None = None

    async def hashes(self) -> dict[str, bytes]:
        """Return the SHA-256 of the pictures by their key below the prefix."""
        if self._hashes is None:
            page: list[Item] = await anext(self._source.pages(), [])
            found = [await self._hash(item) for item in page[:: max(1, len(page) // SIZE)]]
            self._hashes = dict(one for one in found if one is not None)
        return self._hashes

    async def _hash(self, item: Item) -> tuple[str, bytes] | None:
        try:
            data = await self._source.read(item)
        except InvalidInput:
            return None
        digest = await asyncio.to_thread(hashlib.sha256, data)
        return item.key.removeprefix(self._prefix), digest.digest()
