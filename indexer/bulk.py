"""Indexes a folder: every file into the object store and onto the stream, then waits until each is settled."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from visualsearch.domain import MAX_UPLOAD_BYTES, Event, EventKind, Image, NewImage, Status
from visualsearch.errors import ImageTooLarge, InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from visualsearch.ports import Blobs, Catalog, Events

CHUNK = 256
"""Files that are uploaded, promised and awaited together; bounds memory."""
UPLOADS = 16
LOOK_EVERY_S = 0.1
PATIENCE_S = 120.0
AHEAD = 4
"""Chunks that may wait for the indexer while the next is uploaded."""


@dataclass(slots=True)
class Counts:
    """How far the work is; counts of files. ``total`` grows while the folder is still read."""

    total: int = 0
    indexed: int = 0
    skipped: int = 0
    rejected: int = 0


@dataclass(slots=True)
class Summary:
    """What came of it: counts, each reject with its reason, and the time it took in seconds."""

    indexed: int = 0
    skipped: int = 0
    rejected: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0


class Bulk:
    """One run over one folder."""

    def __init__(
        self, folder: Path, blobs: Blobs, catalog: Catalog, events: Events, on_progress: Callable[[Counts], None]
    ) -> None:
        self._folder = folder
        self._root = folder if folder.is_dir() else folder.parent
        self._source = self._root.resolve().name
        self._blobs = blobs
        self._catalog = catalog
        self._events = events
        self._on_progress = on_progress
        self._uploads = asyncio.Semaphore(UPLOADS)
        self._counts = Counts()
        self._summary = Summary()
        self._last_change = 0.0

    async def run(self) -> Summary:
        """Index every file. Raises ``Unavailable`` when the indexer settles nothing for two minutes."""
        begin = time.monotonic()
        self._counts.total = sum(1 for _ in self._files())
        awaiting: set[asyncio.Task[None]] = set()
        chunk: list[Path] = []
        for file in self._files():
            chunk.append(file)
            if len(chunk) == CHUNK:
                awaiting = await self._next(chunk, awaiting)
                chunk = []
        awaiting = await self._next(chunk, awaiting)
        await asyncio.gather(*awaiting)
        self._summary.seconds = time.monotonic() - begin
        return self._summary

    def _files(self) -> Iterator[Path]:
        """Files in a stable order, hidden ones and what lies in hidden folders left out."""
        if self._folder.is_file():
            yield self._folder
            return
        for parent, folders, names in os.walk(self._folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    yield Path(parent) / name

    async def _next(self, chunk: list[Path], awaiting: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
        """Upload a chunk and let it be awaited beside the next, but not ever more of them."""
        images = [image for image in await asyncio.gather(*map(self._upload, chunk)) if image is not None]
        events = [Event(EventKind.CREATED, image.uri, image.id) for image in images if image.status is Status.PENDING]
        if events:
            await self._events.publish(events)
            awaiting.add(asyncio.create_task(self._await({event.image_id or 0: event.uri for event in events})))
        if len(awaiting) > AHEAD:
            done, awaiting = await asyncio.wait(awaiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        return awaiting

    async def _upload(self, file: Path) -> Image | None:
        """Promise and store one file; None where there is nothing to wait for."""
        async with self._uploads:
            try:
                data = await asyncio.to_thread(_read, file)
                uri = self._blobs.uri(self._key(file))
            except OSError as error:
                self._reject(file, f"The file cannot be read: {error.strerror}.")
                return None
            except InvalidInput as error:
                self._reject(file, str(error))
                return None
            content_hash = hashlib.sha256(data).digest()
            known = await self._catalog.by_uri(uri)
            if known and known.content_hash == content_hash and known.status is Status.INDEXED:
                self._summary.skipped += 1
                self._counts.skipped += 1
                self._on_progress(self._counts)
                return None
            image = await self._catalog.promise(NewImage(uri, source=self._source, content_hash=content_hash))
            await self._blobs.put(self._blobs.key(uri), data)
            return image

    def _key(self, file: Path) -> str:
        return f"{self._source}/{file.relative_to(self._root).as_posix()}"

    def _reject(self, file: Path, reason: str) -> None:
        self._counts.rejected += 1
        # A name that is no text is told as near as can be.
        self._summary.rejected.append((os.fsencode(file).decode(errors="replace"), reason))
        self._on_progress(self._counts)

    async def _await(self, waiting: dict[int, str]) -> None:
        """Follow images until each is indexed or rejected."""
        self._last_change = time.monotonic()
        while waiting:
            await asyncio.sleep(LOOK_EVERY_S)
            found = await self._catalog.by_ids(list(waiting))
            settled = [i for i in waiting if i not in found or found[i].status is not Status.PENDING]
            for image_id in settled:
                self._settle(waiting.pop(image_id), found.get(image_id))
            if settled:
                self._last_change = time.monotonic()
            elif time.monotonic() - self._last_change > PATIENCE_S:
                raise Unavailable("The indexer", f"{len(waiting)} images have waited for {PATIENCE_S:.0f} s; is it up?")

    def _settle(self, uri: str, image: Image | None) -> None:
        if image is not None and image.status is Status.INDEXED:
            self._counts.indexed += 1
            self._summary.indexed += 1
        else:
            reason = image.reason if image else "It was deleted meanwhile."
            self._counts.rejected += 1
            self._summary.rejected.append((self._blobs.key(uri), reason or "It was rejected."))
        self._on_progress(self._counts)


def _read(file: Path) -> bytes:
    """Read a file, unless it is too large to be a picture that we take."""
    if not file.is_file() and file.exists():
        raise InvalidInput("It is no regular file.")
    size = file.stat().st_size
    if size > MAX_UPLOAD_BYTES:
        raise ImageTooLarge(f"The file has {size} bytes; {MAX_UPLOAD_BYTES} are the limit.")
    return file.read_bytes()


async def index_folder(
    folder: Path, blobs: Blobs, catalog: Catalog, events: Events, *, on_progress: Callable[[Counts], None]
) -> Summary:
    """Index a folder of pictures, or one picture; what is unchanged since the last run is skipped.

    An object's key is the folder's name and the path below it, so a second run finds the same images.
    """
    return await Bulk(folder, blobs, catalog, events, on_progress).run()
