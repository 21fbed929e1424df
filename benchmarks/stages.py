"""The cost of decoding, Triton and Milvus when called directly, and the CPU time of every process of a stack."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psutil

from benchmarks.load import K
from compose.state import read_state
from visualsearch.composition import open_stores
from visualsearch.domain.recall import CANDIDATES
from visualsearch.domain.releases import Release
from visualsearch.domain.search import Filter
from visualsearch.imaging.preprocessing import decode
from visualsearch.releases.active_releases import ActiveReleases

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from visualsearch.composition import Stores
    from visualsearch.domain.images import Decoded
    from visualsearch.settings import Settings

AT_ONCE = 8
"""Number of calls in flight while CPU time is measured. Triton batches them as it batches searches."""


class Processes:
    """CPU time of a local stack's processes, by service."""

    def __init__(self, settings: Settings) -> None:
        entries = read_state(settings.home)["processes"]
        self._members = {
            name: [leader, *leader.children(recursive=True)]
            for name, entry in entries.items()
            for leader in [psutil.Process(entry["pid"])]
        }

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU seconds since the start of each process."""
        return {name: sum(map(_cpu_s, members)) for name, members in self._members.items()}

    def since(self, before: dict[str, float], count: int) -> dict[str, float]:
        """Return the CPU milliseconds since ``before`` per request, by service, for ``count`` requests."""
        return {name: (now - before[name]) * 1000 / count for name, now in self.cpu_s().items()}


def _cpu_s(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        used = process.cpu_times()
        return float(used.user + used.system)
    return 0.0


class Stages:
    """The three stages, called directly on a running stack's servers."""

    def __init__(self, stores: Stores, release: Release) -> None:
        self._stores = stores
        self._release = release

    def decode(self, data: bytes) -> Decoded:
        """Decode and shrink a picture."""
        return decode(data)

    async def encode(self, decoded: Decoded) -> NDArray[np.float32]:
        """Embed a picture by Triton."""
        embedding: NDArray[np.float32] = (
            await self._stores.encoder.encode(decoded.pixels[None], self._release.model_version)
        )[0]
        return embedding

    async def nearest(self, embedding: NDArray[np.float32]) -> None:
        """Find a search's candidates in Milvus."""
        params = self._release.search_params
        count = max(params.get("candidates", CANDIDATES), 4 * K)  # same as the first request of ImageSearch
        await self._stores.vectors.nearest(self._release.collection, embedding, count, params, Filter())


@asynccontextmanager
async def stages(settings: Settings) -> AsyncIterator[Stages]:
    """Connect to the servers that a search needs."""
    async with open_stores(settings, timeout_s=10) as stores:
        release = await ActiveReleases(stores.release_repository).live()
        assert release is not None
        yield Stages(stores, release)


async def floor(settings: Settings, pictures: Sequence[bytes]) -> dict[str, float]:
    """Return the CPU milliseconds of the three stages of a search, each called alone, including our client's."""
    processes = Processes(settings)
    async with stages(settings) as direct:
        begin = time.process_time()
        decoded = [direct.decode(picture) for picture in pictures]
        costs = {"decode": (time.process_time() - begin) * 1000 / len(pictures)}
        embeddings: list[NDArray[np.float32]] = []

        async def encode(one: Decoded) -> None:
            embeddings.append(await direct.encode(one))

        for name, work, inputs in (("triton", encode, decoded), ("milvus", direct.nearest, embeddings)):
            await work(inputs[0] if inputs else None)  # opens the connection
            before, ours = processes.cpu_s(), time.process_time()
            await _several(work, inputs)
            called = (time.process_time() - ours) * 1000 / len(pictures)
            costs[name] = processes.since(before, len(pictures))[name]
            costs[f"calling {name}"] = called
    return costs


async def _several(work: Callable[..., Awaitable[None]], inputs: Sequence[object]) -> None:
    """Run work on every input, a few at a time."""
    left = iter(list(inputs))

    async def take() -> None:
        for one in left:
            await work(one)

    await asyncio.gather(*(take() for _ in range(AT_ONCE)))
