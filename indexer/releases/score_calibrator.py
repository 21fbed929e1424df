"""Keeps the suggested lowest score of each release up to date, from a sample of its vectors."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from visualsearch.domain.score_calibration import RATE, ScoreCalibration, estimate
from visualsearch.periodic_job import Lease, PeriodicJob

if TYPE_CHECKING:
    from visualsearch.domain.releases import Release
    from visualsearch.domain.search import VectorRow
    from visualsearch.ports import EventStream, ReleaseRepository, Vectors

log = logging.getLogger(__name__)

LEASE, LEASE_S = "score calibration", 120.0
CHECK_S = 60.0
GROWTH = 1.5
"""How much a collection grows or shrinks before its score is estimated anew."""
LONGEST = timedelta(days=7)
"""Age of an estimate after which it is made anew, because pictures were replaced."""
FEWEST = 150
"""Pictures of a collection below which there are too few pairs anyway."""
PLACES, BLOCK = 150, 20
"""Places of a collection that are sampled, and neighbouring pictures at each: about 4.5 million pairs, in 2 s."""
PAGE = 1000
MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ScoreCalibrator:
    """The calibrator of one indexer; ``name`` is the process' own. Of all indexers, the one with the lease works."""

    name: str
    events: EventStream
    release_repository: ReleaseRepository
    vectors: Vectors

    async def run(self, stop: asyncio.Event) -> None:
        """Look for releases whose collections have changed much, until stopped."""
        lease = Lease(self.events, LEASE, self.name, LEASE_S)
        await PeriodicJob(name="the calibration of scores", work=self.turn, every_s=CHECK_S, lease=lease).run(stop)

    async def turn(self) -> None:
        """Calibrate the releases that answer, where it is due."""
        for record in (await self.release_repository.records()).answering:
            if _is_due(record.release.calibration, await self.vectors.count(record.release.collection)):
                await calibrate(self.vectors, self.release_repository, record.release)


async def calibrate(
    vectors: Vectors, release_repository: ReleaseRepository, release: Release, rate: float = RATE
) -> ScoreCalibration | None:
    """Estimate the lowest score of a release and store it; None if its collection has too few pictures."""
    blocks = await sample(vectors, release.collection)
    found = await asyncio.to_thread(estimate, blocks, rate)
    if found is None:
        return None
    calibration = ScoreCalibration(
        min_score=found.score,
        error=found.error,
        rate=rate,
        pairs=found.pairs,
        images=sum(map(len, blocks)),
        corpus=await vectors.count(release.collection),
        at=datetime.now(UTC),
    )
    await release_repository.record_calibration(release.name, calibration)
    log.info("release %s: %s", release.name, calibration)
    return calibration


async def sample(vectors: Vectors, collection: str) -> list[list[VectorRow]]:
    """Read blocks of pictures with neighbouring ids at random places; all pictures of a small collection."""
    if await vectors.count(collection) <= PLACES * BLOCK:
        return await _everything(vectors, collection)
    places = random.sample(await _ids(vectors, collection), PLACES)
    blocks, seen = [], set[int]()
    for place in sorted(places):
        block = [row for row in await vectors.page(collection, place - 1, BLOCK) if row.image_id not in seen]
        seen.update(row.image_id for row in block)
        blocks.append(block)
    return blocks


async def _everything(vectors: Vectors, collection: str) -> list[list[VectorRow]]:
    rows: list[VectorRow] = []
    while page := await vectors.page(collection, rows[-1].image_id if rows else -1, PAGE):
        rows += page
    return [rows[begin : begin + BLOCK] for begin in range(0, len(rows), BLOCK)]


async def _ids(vectors: Vectors, collection: str) -> range:
    """Return the range from the lowest to the highest id, found by halving: collections can be read upwards only."""
    (first,) = await vectors.page(collection, -1, 1)
    highest, bound = first.image_id, first.image_id + 1
    while page := await vectors.page(collection, bound, 1):
        highest, bound = page[0].image_id, min(2 * page[0].image_id, MAX_ID)
    while highest < bound:
        middle = (highest + bound) // 2
        if page := await vectors.page(collection, middle, 1):
            highest = page[0].image_id
        else:
            bound = middle
    return range(first.image_id, highest + 1)


def _is_due(known: ScoreCalibration | None, corpus: int) -> bool:
    if corpus < FEWEST:
        return False
    if known is None or datetime.now(UTC) - known.at > LONGEST:
        return True
    return not known.corpus / GROWTH <= corpus <= known.corpus * GROWTH
