"""Chooses the search parameters of a release by measuring recall and latency of many settings.

Queries are embeddings drawn from the corpus; each is excluded from its own answers. Exact answers come from the raw
vectors of all rows, which are read once in pages, so that memory does not grow with the corpus.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.recall import TOP, Recall, compared
from visualsearch.domain.search import Filter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from visualsearch.domain.search import Candidates, VectorRow
    from visualsearch.ports import Vectors

LEAST_ROWS = 1000
"""Fewest rows that can be tuned: a smaller corpus is searched in full whatever the settings."""
PAGE = 2000
CANDIDATES = (100, 200, 400, 800)
LEAST_NPROBE, EFS = 4, (64, 128, 256, 512, 1024)
WARM = 3
NOISE = 1.15
"""Medians whose ratio is below this are considered equal, because other load on the machine causes such noise."""
TRIAL = "tuning_trial"
EVERYBODY = Filter()


@dataclass(frozen=True, slots=True)
class Query:
    """A row of the corpus, and the exact scores of its nearest other rows: float32, best first."""

    image_id: int
    embedding: NDArray[np.float32]
    exact: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SettingMeasurement:
    """A setting and its measurements. ``profile`` is the index profile, ``params`` are the search parameters."""

    profile: str
    params: Mapping[str, int]
    recall: float
    median_ms: float


def settings(index_params: Mapping[str, int], search_params: Mapping[str, int]) -> list[dict[str, int]]:
    """Return the settings to try: doubling nprobe up to every list, or ef, each with several candidate counts."""
    if "nprobe" in search_params:
        nlist, nprobes = index_params["nlist"], [LEAST_NPROBE]
        while nprobes[-1] < nlist:
            nprobes.append(min(2 * nprobes[-1], nlist))
        return [{"nprobe": nprobe, "candidates": count} for nprobe in nprobes for count in CANDIDATES]
    return [{"ef": ef, "candidates": count} for ef in EFS for count in CANDIDATES if count <= ef]


def choose(measured: Sequence[SettingMeasurement], recall: float) -> SettingMeasurement | None:
    """Return the cheapest setting with at least this recall, among those as fast as the fastest.

    Returns None if no setting has this recall.
    """
    good = [one for one in measured if one.recall >= recall]
    fastest = min((one.median_ms for one in good), default=0.0)
    equals = [one for one in good if one.median_ms <= NOISE * fastest]
    return min(
        equals, key=lambda one: (one.params.get("nprobe", one.params.get("ef")), one.params["candidates"]), default=None
    )


def nlist_for(rows: int, shards: int) -> int:
    """Return nlist by Milvus' rule: four times the square root of a segment's rows, as a power of two."""
    return int(2 ** np.round(np.log2(4 * np.sqrt(max(1, rows / shards)))))


class Tuning:
    """Measures one collection. ``on_progress`` receives the current step, how much of it is done, and of how much."""

    def __init__(self, vectors: Vectors, collection: str, on_progress: Callable[[str, int, int], None]) -> None:
        self._vectors = vectors
        self._collection = collection
        self._on_progress = on_progress

    async def queries(self, count: int, seed: int = 0) -> list[Query]:
        """Draw queries from the corpus and compute their exact answers.

        Raises ``InvalidInput`` if the corpus is empty or too small to be tuned.
        """
        rows = await self._vectors.count(self._collection)
        if rows == 0:
            raise InvalidInput("The corpus is empty: index pictures first, then tune.")
        if rows < LEAST_ROWS:
            raise InvalidInput(
                f"The corpus has {rows} pictures: below {LEAST_ROWS} every search compares all of them, and recall is "
                "1 whatever the settings."
            )
        # Unindexed rows are searched exactly whatever the settings, so that every setting would look perfect.
        self._on_progress("waiting for the index", 0, 0)
        await self._vectors.seal(self._collection)
        drawn = await self._drawn(min(count, rows // 2), seed)
        ids, asked = np.array(list(drawn), np.int64), np.stack(list(drawn.values()))
        best = np.full((len(ids), TOP), -2, np.float32)
        done = 0
        async for page in self._pages():
            block = np.stack([row.embedding for row in page])
            scores = asked @ block.T
            scores[ids[:, None] == np.array([row.image_id for row in page])] = -2
            best = -np.sort(-np.concatenate([best, scores], axis=1))[:, :TOP]
            done += len(page)
            self._on_progress("exact answers", done, max(done, rows))
        return [Query(int(i), e, b[b > -2]) for i, e, b in zip(ids, asked, best, strict=True)]

    async def _drawn(self, count: int, seed: int) -> dict[int, NDArray[np.float32]]:
        """Draw rows uniformly from the collection without knowing its size in advance (reservoir sampling)."""
        chance, seen = np.random.default_rng(seed), 0
        kept: list[int] = []
        async for page in self._vectors.hashes(self._collection):
            for image_id, _ in page:
                seen += 1
                if len(kept) < count:
                    kept.append(image_id)
                elif (place := int(chance.integers(seen))) < count:
                    kept[place] = image_id
        return await self._vectors.fetch(self._collection, sorted(kept))

    async def _pages(self) -> AsyncIterator[list[VectorRow]]:
        last = -1
        while page := await self._vectors.page(self._collection, last, PAGE):
            last = page[-1].image_id
            yield page

    async def measure(
        self, collection: str, profile: str, tried: Sequence[Mapping[str, int]], queries: Sequence[Query]
    ) -> list[SettingMeasurement]:
        """Measure settings on a collection, running all of them for each query in turn."""
        sums = [Recall() for _ in tried]
        spent: list[list[float]] = [[] for _ in tried]
        for number, query in enumerate(queries):
            for place, params in enumerate(tried):
                begin = time.perf_counter()
                found = await self._vectors.nearest(
                    collection, query.embedding, params["candidates"], params, EVERYBODY
                )
                if number >= min(WARM, len(queries) - 1):
                    spent[place].append(time.perf_counter() - begin)
                sums[place] += compared(_others(found, query.image_id), query.exact)
            self._on_progress(f"trying {profile}", number + 1, len(queries))
        return [
            SettingMeasurement(profile, params, recall.value or 0.0, float(np.median(times)) * 1000)
            for params, recall, times in zip(tried, sums, spent, strict=True)
        ]

    async def trial(
        self, profile: str, tried: Sequence[Mapping[str, int]], queries: Sequence[Query]
    ) -> list[SettingMeasurement]:
        """Measure settings on a temporary copy of the collection with another index."""
        await self._vectors.drop(TRIAL)
        try:
            await self._vectors.create(TRIAL, profile)
            rows, done = await self._vectors.count(self._collection), 0
            async for page in self._pages():
                await self._vectors.upsert(TRIAL, page)
                done += len(page)
                self._on_progress(f"copying for {profile}", done, max(done, rows))
            await self._vectors.settle(TRIAL)
            self._on_progress(f"indexing {profile}", 0, 0)
            await self._vectors.seal(TRIAL)
            return await self.measure(TRIAL, profile, tried, queries)
        finally:
            await self._vectors.drop(TRIAL)


def _others(found: Candidates, image_id: int) -> NDArray[np.float32]:
    """Return the scores of all results except the query itself."""
    scores: NDArray[np.float32] = found.scores[found.ids != image_id]
    return scores
