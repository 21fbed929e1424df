"""Time and memory of `visualsearch duplicates` by the size of the corpus.

    python -m benchmarks.duplicates [IMAGES ...]

Fills a separate stack in a temporary folder with rows, colours and random vectors, a tenth of them near-duplicates or
exact copies of others, and checks that exactly those are found. Writes results/duplicates.md.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import orjson

from benchmarks.table import write
from visualsearch.composition import Stores, open_stores
from visualsearch.domain.colour_layout import LAYOUT_BYTES
from visualsearch.domain.images import EMBEDDING_DIM, ImageMetadata, NewImage
from visualsearch.domain.search import VectorRow
from visualsearch.releases.active_releases import ActiveReleases
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

CORPUS = (10_000, 100_000)
PAGE = 1_000
TIMEOUT_S = 60.0
NEAR, COPIES = 80, 20
"""Images in each page that are near-duplicates of others in it, and exact copies of others."""
COMMAND = [sys.executable, "-m", "cli.main"]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Columns of one page of made-up pictures."""

    phashes: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    colours: NDArray[np.uint8]
    embeddings: NDArray[np.float32]
    contents: list[bytes]


def made_up(seed: int) -> Pictures:
    """Make a page of pictures; the last ones repeat the first ones, with up to four other bits of the hash."""
    chance = np.random.default_rng(seed)
    phashes, mirrored = chance.integers(0, 2**64, (2, PAGE), np.uint64)
    colours = chance.integers(0, 256, (PAGE, LAYOUT_BYTES), np.uint8)
    embeddings = chance.standard_normal((PAGE, EMBEDDING_DIM)).astype(np.float32)
    contents = [chance.bytes(32) for _ in range(PAGE)]
    near, copies = slice(PAGE - COPIES - NEAR, PAGE - COPIES), slice(PAGE - COPIES, PAGE)
    for target, first in ((near, 0), (copies, NEAR)):
        source = slice(first, first + target.stop - target.start)
        for column in (phashes, mirrored, colours, embeddings):
            column[target] = column[source]
    flips = np.uint64(1) << chance.integers(0, 64, (4, NEAR)).astype(np.uint64)
    phashes[near] ^= np.bitwise_or.reduce(flips, axis=0)
    contents[copies] = contents[NEAR : NEAR + COPIES]
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return Pictures(phashes, mirrored, colours, embeddings, contents)


async def fill(stores: Stores, begin: int, wanted: int) -> None:
    """Add pages of pictures until the corpus has a size."""
    release = await ActiveReleases(stores.release_repository).live()
    for first in range(begin, wanted, PAGE):
        found = made_up(first)
        uris = [stores.object_store.uri(f"duplicates/{first + number}.jpg") for number in range(PAGE)]
        images = await stores.image_repository.register_all([NewImage(uri, "benchmark") for uri in uris])
        rows = list(zip(images, found.phashes.tolist(), found.mirrored.tolist(), found.contents, strict=True))
        await stores.image_repository.describe(
            [
                ImageMetadata(image.id, 640, 480, phash, content, colours=colours.tobytes())
                for (image, phash, _, content), colours in zip(rows, found.colours, strict=True)
            ]
        )
        await stores.vectors.upsert(
            release.collection,
            [
                VectorRow(image.id, embedding, phash, mirrored, "benchmark", min_side=480)
                for (image, phash, mirrored, _), embedding in zip(rows, found.embeddings, strict=True)
            ],
        )
        await stores.image_repository.mark_indexed({image.id: content for image, _, _, content in rows}, release.name)
    await stores.vectors.settle(release.collection)


async def filled(begin: int, wanted: int) -> None:
    """Fill the running stack."""
    async with open_stores(Settings.load(), TIMEOUT_S) as stores:
        await fill(stores, begin, wanted)


def measured(images: int) -> list[object]:
    """Run the command and return a row of the table."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([*COMMAND, "duplicates", "--json"], stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        out.seek(0)
        report = orjson.loads(out.read())
    assert status == 0
    copies, near = (sum(len(group["others"]) for group in report[kind]) for kind in ("copies", "near_duplicates"))
    assert (copies, near) == (images // PAGE * COPIES, images // PAGE * NEAR), (copies, near)
    cpu_s = usage.ru_utime + usage.ru_stime
    return [
        f"{images:,}",
        f"{copies:,}",
        f"{near:,}",
        f"{seconds:.0f}",
        f"{cpu_s:.0f}",
        f"{usage.ru_maxrss / 1024:.0f}",
    ]


def main(sizes: list[int]) -> None:
    """Measure on a new stack; write the table."""
    with tempfile.TemporaryDirectory(prefix="bench-stack-") as home:
        os.environ.setdefault("VISUALSEARCH_SERVER_BINARIES", str(Settings.load().home / "server-binaries"))
        os.environ["VISUALSEARCH_HOME"] = home
        subprocess.run([*COMMAND, "up", "--detach", "--publish=milvus", "--publish=triton"], check=True)
        try:
            rows, size = [], 0
            for wanted in sizes:
                asyncio.run(filled(size, wanted))
                size = wanted
                rows.append(measured(size))
        finally:
            subprocess.run([*COMMAND, "down"], check=True)
    heading = [
        "images",
        "exact copies found",
        "near-duplicates found",
        "seconds",
        "CPU seconds",
        "memory of the command, MB",
    ]
    note = (
        "All copies that were made are found, and no others. Reading is linear in the number of images, comparing is "
        "quadratic: each hash is compared with all others. Embeddings lie in a temporary file, 1 KB an image, whose "
        "pages count as memory here while the system has room for them."
    )
    write("duplicates", "Duplicates of the whole corpus", "python -m benchmarks.duplicates", heading, rows, note)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or list(CORPUS))
