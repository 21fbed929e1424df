"""The columns of the whole corpus that finding duplicates compares.

They take 130 bytes of memory an image. The embeddings lie in a temporary file, 1 KB an image, of which the system keeps
in memory what it has room for.
"""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from visualsearch.domain.colour_layout import LAYOUT_BYTES, pack
from visualsearch.domain.images import EMBEDDING_DIM, ImageContent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from numpy.typing import NDArray

    from visualsearch.domain.search import VectorRow
    from visualsearch.ports import ImageRepository, Vectors

ROWS_PAGE, VECTORS_PAGE = 5000, 2000
EMBEDDING_BYTES = 4 * EMBEDDING_DIM
NO_CONTENT = bytes(32)


@dataclass(frozen=True, slots=True)
class DuplicateCorpus:
    """Images in columns of equal length n, ascending by id.

    ``ids`` and ``areas`` (in pixels) are int64, ``contents`` SHA-256 digests as void, ``colours`` packed layouts that
    are ``coloured`` if known, ``phashes`` and ``mirrored`` uint64, ``embeddings`` float32 [n, 256]. Images that are not
    ``embedded`` have neither hashes nor an embedding.
    """

    ids: NDArray[np.int64]
    contents: NDArray[np.void]
    areas: NDArray[np.int64]
    coloured: NDArray[np.bool_]
    colours: NDArray[np.uint8]
    embedded: NDArray[np.bool_]
    phashes: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    embeddings: NDArray[np.float32]

    def put(self, rows: Sequence[VectorRow]) -> None:
        """Set hashes and embeddings of images, and ignore unknown ones."""
        ids = np.array([row.image_id for row in rows], np.int64)
        known = np.isin(ids, self.ids)
        places = np.searchsorted(self.ids, ids[known])
        self.embedded[places] = True
        self.phashes[places] = np.array([row.phash for row in rows], np.uint64)[known]
        self.mirrored[places] = np.array([row.phash_mirrored for row in rows], np.uint64)[known]
        self.embeddings[places] = np.array([row.embedding for row in rows], np.float32)[known]


@asynccontextmanager
async def read_corpus(
    image_repository: ImageRepository,
    vectors: Vectors,
    collection: str,
    on_progress: Callable[[str, int], None] = lambda _what, _number: None,
) -> AsyncIterator[DuplicateCorpus]:
    """Read all indexed images and their rows in a collection. Raises ``Unavailable``."""
    pages = [_columns([])]
    count, last = 0, -1
    while page := await image_repository.contents(last, ROWS_PAGE):
        pages.append(_columns(page))
        count, last = count + len(page), page[-1].id
        on_progress("images", count)
    with tempfile.TemporaryFile(prefix="duplicates-") as file:
        file.truncate(EMBEDDING_BYTES * max(1, count))
        embeddings = np.memmap(file, np.float32, "r+", shape=(max(1, count), EMBEDDING_DIM))[:count]
        ids, contents, areas, coloured, colours = map(np.concatenate, zip(*pages, strict=True))
        pages.clear()
        hashes = np.zeros((2, count), np.uint64)
        embedded = np.zeros(count, bool)
        corpus = DuplicateCorpus(ids, contents, areas, coloured, colours, embedded, hashes[0], hashes[1], embeddings)
        last = -1
        while rows := await vectors.page(collection, last, VECTORS_PAGE):
            corpus.put(rows)
            last = rows[-1].image_id
            on_progress("embeddings", int(corpus.embedded.sum()))
        yield corpus


def _columns(page: Sequence[ImageContent]) -> tuple[NDArray[np.generic], ...]:
    """Return ids, contents, areas, and the packed layouts with whether they are known."""
    coloured, colours = pack([one.colours for one in page])
    return (
        np.array([one.id for one in page], np.int64),
        np.frombuffer(b"".join(one.content_hash or NO_CONTENT for one in page), "V32"),
        np.array([one.width * one.height for one in page], np.int64),
        coloured,
        colours.reshape(len(page), LAYOUT_BYTES),
    )
