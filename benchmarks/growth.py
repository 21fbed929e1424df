"""Indexing rate by the size of the corpus: `python -m benchmarks.growth`.

At each size of the corpus, index some new pictures and measure the time. In between, fill the stores with rows, objects
and random vectors without using the encoder, because only the stores could slow down. Uses a separate stack in a
temporary folder.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.indexing import indexed, make_pictures
from benchmarks.table import RESULTS, write
from visualsearch.composition import Stores, open_stores
from visualsearch.domain.images import EMBEDDING_DIM, ImageMetadata, NewImage
from visualsearch.domain.indexing import simple_etag
from visualsearch.domain.search import VectorRow
from visualsearch.releases.active_releases import ActiveReleases
from visualsearch.settings import Settings

CORPUS = (1_000, 3_000, 10_000, 30_000, 100_000)
SIZE = (640, 480)
TIMED = 1_500
PAGE = 1_000
TIMEOUT_S = 30.0
TOGETHER = 32


async def fill(stores: Stores, wanted: int) -> int:
    """Fill the corpus to a size with pictures that were not encoded; return the actual size."""
    release = await ActiveReleases(stores.release_repository).live()
    size = await stores.vectors.count(release.collection)
    chance = np.random.default_rng(size)
    busy = asyncio.Semaphore(TOGETHER)

    async def put(new: NewImage, data: bytes) -> None:
        async with busy:
            await stores.object_store.put(stores.object_store.key(new.uri), data)

    while size < wanted:
        count = min(PAGE, wanted - size)
        datas = [chance.bytes(2_000) for _ in range(count)]
        uris = [stores.object_store.uri(f"growth/{size + number}.jpg") for number in range(count)]
        new = [
            NewImage(u, "growth", content_hash=bytes(32), etag=simple_etag(d)) for u, d in zip(uris, datas, strict=True)
        ]
        images = await stores.image_repository.register_all(new)
        await asyncio.gather(*map(put, new, datas))
        await stores.image_repository.describe(
            [ImageMetadata(i.id, *SIZE, i.id, bytes(32), one.etag) for i, one in zip(images, new, strict=True)]
        )
        embeddings = chance.standard_normal((count, EMBEDDING_DIM)).astype(np.float32)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        rows = [
            VectorRow(i.id, e, i.id, i.id, "growth", min_side=SIZE[1]) for i, e in zip(images, embeddings, strict=True)
        ]
        await stores.vectors.upsert(release.collection, rows)
        await stores.image_repository.mark_indexed({image.id: bytes(32) for image in images}, release.name)
        size += count
    await stores.vectors.settle(release.collection)
    return size


async def filled(wanted: int) -> int:
    """Fill the running stack to a size; return the actual size."""
    async with open_stores(Settings.load(), TIMEOUT_S) as stores:
        return await fill(stores, wanted)


def plot(sizes: list[int], rates: list[float]) -> None:
    """Plot the rate by the size of the corpus."""
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.semilogx(sizes, rates, "o-", color="#2e7d50")
    axes.set(
        xlabel="images in the corpus",
        ylabel="images/s",
        ylim=(0, 1.2 * max(rates)),
        title="Indexing as the corpus grows",
    )
    axes.grid(alpha=0.3)
    figure.savefig(RESULTS / "growth.png", dpi=110)


def measure() -> tuple[list[int], list[float]]:
    """Fill and index the stack that the environment names; return the corpus sizes, and the images per second."""
    sizes, rates = [], []
    for wanted in CORPUS:
        sizes.append(asyncio.run(filled(wanted)))
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            make_pictures(Path(folder), SIZE, TIMED)
            seconds, _ = indexed(Path(folder))
        rates.append(TIMED / seconds)
    return sizes, rates


def main() -> None:
    """Measure on a new stack; write the table and the plot."""
    command = [sys.executable, "-m", "cli.main"]
    with tempfile.TemporaryDirectory(prefix="bench-stack-") as home:
        os.environ.setdefault("VISUALSEARCH_SERVER_BINARIES", str(Settings.load().home / "server-binaries"))
        os.environ["VISUALSEARCH_HOME"] = home
        subprocess.run([*command, "up", "--detach", "--publish=milvus", "--publish=triton"], check=True)
        try:
            sizes, rates = measure()
        finally:
            subprocess.run([*command, "down"], check=True)
    rows = [(f"{size:,}", f"{rate:.0f}", f"{rate / rates[0]:.2f}") for size, rate in zip(sizes, rates, strict=True)]
    note = (
        f"{TIMED} new {SIZE[0]} x {SIZE[1]} JPEG pictures at each size, the command's own start included; in between "
        "the stores were filled with rows, objects and random vectors."
    )
    heading = ("images in the corpus", "images/s", "of the first")
    write("growth", "Indexing as the corpus grows", "python -m benchmarks.growth", heading, rows, note)
    plot(sizes, rates)


if __name__ == "__main__":
    main()
