"""The copy of all tables, with the images in memory as its only table."""

from __future__ import annotations

import base64
import copy
import pickle
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.image_repository import FakeImages

TABLE, COLUMNS = "images", ["everything"]


class FakeTableCopy:
    """Copies an image repository. ``begin`` takes the snapshot that the next backup uses."""

    def __init__(self, image_repository: FakeImages) -> None:
        self._image_repository = image_repository
        self._state: dict[str, Any] = {}
        self._note = ""

    def begin(self) -> None:
        self._state = copy.deepcopy(vars(self._image_repository))

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[FakeTableCopy]:
        if not self._state:
            self.begin()
        yield self
        self._state = {}

    async def revision(self) -> str:
        return "1"

    async def tables(self) -> dict[str, list[str]]:
        return {TABLE: COLUMNS}

    async def sequences(self) -> dict[str, int]:
        return {}

    async def rows(self, table: str, columns: list[str]) -> AsyncIterator[bytes]:
        yield base64.b64encode(pickle.dumps(self._state)) + b"\n"

    @asynccontextmanager
    async def restoring(self) -> AsyncIterator[FakeTableCopy]:
        yield self

    async def clear(self, tables: dict[str, list[str]]) -> None:
        pass

    async def load(self, table: str, columns: list[str], rows: AsyncIterator[bytes]) -> None:
        text = b"".join([data async for data in rows])
        vars(self._image_repository).update(pickle.loads(base64.b64decode(text)))

    async def set_sequences(self, sequences: dict[str, int]) -> None:
        pass

    async def leave_note(self, text: str) -> None:
        self._note = text

    async def note(self) -> str:
        return self._note

    async def clear_note(self) -> None:
        self._note = ""
