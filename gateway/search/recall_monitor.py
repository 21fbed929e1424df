"""Estimates recall: repeats a sample of live queries with a thorough search after the answer, and compares the results.

It measures how much recall the current search parameters lose compared with a thorough search of the same index, on
real queries. It does not measure what the index itself can never find; `visualsearch tune` compares with exact answers.

No request waits for it. It measures one query at a time, and works at most a twentieth of the time. Samples that arrive
meanwhile, or while requests wait for a thread, are dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visualsearch.domain import recall
from visualsearch.domain.errors import VisualSearchError
from visualsearch.observability.metrics import RECALL_EXPECTED, RECALL_HITS, RECALL_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from visualsearch.domain.releases import Release
    from visualsearch.domain.search import Candidates, Filter
    from visualsearch.ports import RecallRepository, Vectors

log = logging.getLogger(__name__)

REST = 19.0
"""Pause after a query, as a multiple of its duration, so that the monitor works at most a twentieth of the time."""
MAX_REST_S = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A query, and the scores of its candidates before folding, best first."""

    release: Release
    embedding: NDArray[np.float32]
    where: Filter
    scores: NDArray[np.float32]


class RecallMonitor:
    """The recall monitor of one process. It samples ``share`` of the queries, and none while ``busy`` returns True."""

    def __init__(
        self,
        vectors: Vectors,
        recall_repository: RecallRepository,
        share: float,
        busy: Callable[[], bool] = lambda: False,
        *,
        rest: float = REST,
    ) -> None:
        self._vectors = vectors
        self._log = recall_repository
        self._share = share
        self._busy = busy
        self._rest = rest
        self._work: asyncio.Task[None] | None = None

    def offer(self, release: Release, embedding: NDArray[np.float32], where: Filter, found: Candidates) -> None:
        """Sample or skip a query that was just answered; returns at once."""
        if random.random() >= self._share:  # noqa: S311 - no secret
            return
        if self._busy() or (self._work is not None and not self._work.done()):
            RECALL_SAMPLES.labels("shed").inc()
            return
        sample = Sample(release, embedding, where, found.scores[: recall.TOP].copy())
        self._work = asyncio.create_task(self._measure(sample))

    async def close(self) -> None:
        """Cancel the measurement in progress."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def _measure(self, sample: Sample) -> None:
        begin = time.perf_counter()
        try:
            measured = await self._compare(sample)
            await self._log.record(sample.release.name, measured)
            RECALL_HITS.labels(sample.release.name).inc(measured.hits)
            RECALL_EXPECTED.labels(sample.release.name).inc(measured.expected)
            RECALL_SAMPLES.labels("measured").inc()
        except VisualSearchError as error:
            RECALL_SAMPLES.labels("failed").inc()
            log.warning("recall of a query was not measured: %s", error)
        await asyncio.sleep(min(MAX_REST_S, self._rest * (time.perf_counter() - begin)))

    async def _compare(self, sample: Sample) -> recall.Recall:
        exact = await self._vectors.nearest(
            sample.release.collection,
            sample.embedding,
            recall.THOROUGH_CANDIDATES,
            recall.thorough(sample.release.search_params),
            sample.where,
        )
        return recall.compared(sample.scores, exact.scores)
