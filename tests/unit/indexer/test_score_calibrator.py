"""The suggested lowest score is kept with the release, and made anew as its collection changes."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from indexer.releases import score_calibrator
from indexer.releases.score_calibrator import ScoreCalibrator, sample
from tests.eventually import eventually
from tests.fakes.event_stream import FakeEventStream
from tests.fakes.image_repository import FakeImages
from tests.fakes.release_repository import FakeReleases
from tests.fakes.vectors import FakeVectors
from tests.unit.indexing import RELEASE
from visualsearch.domain.releases import ReleaseState
from visualsearch.domain.search import VectorRow

RANDOM = np.random.default_rng(0)


class World:
    def __init__(self):
        self.vectors, self.releases = FakeVectors(RELEASE.collection), FakeReleases(FakeImages())
        self.events = FakeEventStream()
        self.calibrator = ScoreCalibrator("one", self.events, self.releases, self.vectors)

    async def hold(self, ids):
        vectors = RANDOM.normal(size=(len(ids), 256)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        hashes = RANDOM.integers(0, 2**63, (len(ids), 2)).tolist()
        rows = [VectorRow(one, vector, *pair) for one, vector, pair in zip(ids, vectors, hashes, strict=True)]
        await self.vectors.upsert(RELEASE.collection, rows)

    @property
    def known(self):
        return self.releases.by_name[RELEASE.name].release.calibration


@pytest.fixture
async def world():
    world = World()
    await world.releases.add(RELEASE, ReleaseState.LIVE)
    return world


async def test_a_release_without_a_score_gets_one(world):
    await world.hold(range(1, 401))
    await world.calibrator.turn()
    assert (world.known.corpus, world.known.images) == (400, 400)
    assert 0 < world.known.min_score < 0.5
    assert world.known.pairs == 400 * 380 // 2


async def test_a_score_is_made_anew_when_the_collection_has_grown_or_the_score_is_old(world):
    await world.hold(range(1, 401))
    await world.calibrator.turn()
    first = world.known
    await world.hold(range(401, 501))
    await world.calibrator.turn()
    assert world.known == first
    await world.hold(range(501, 701))
    await world.calibrator.turn()
    assert world.known.corpus == 700
    old = replace(world.known, at=world.known.at - timedelta(days=8))
    await world.releases.record_calibration(RELEASE.name, old)
    await world.calibrator.turn()
    assert world.known.at > old.at + timedelta(days=7)


async def test_of_all_indexers_only_the_one_with_the_lease_works(world):
    await world.hold(range(1, 401))
    assert await world.events.lease(score_calibrator.LEASE, "another", 60)
    stop = asyncio.Event()
    task = asyncio.create_task(world.calibrator.run(stop))
    await asyncio.sleep(0.1)
    assert world.known is None
    stop.set()
    await task
    world.events.leases.clear()
    stop.clear()
    task = asyncio.create_task(world.calibrator.run(stop))
    await eventually(lambda: world.known is not None)
    stop.set()
    await task


async def test_a_few_pictures_give_no_score(world):
    await world.hold(range(1, 100))
    await world.calibrator.turn()
    assert world.known is None


@pytest.mark.parametrize("ids", [range(1, 901), range(10**12, 10**12 + 9 * 10**6, 10**4), [*range(1, 450), 2**62]])
async def test_a_sample_comes_from_all_over_a_large_collection(world, ids, monkeypatch):
    monkeypatch.setattr(score_calibrator, "PLACES", 30)
    monkeypatch.setattr(score_calibrator, "BLOCK", 5)
    await world.hold(ids)
    blocks = await sample(world.vectors, RELEASE.collection)
    sampled = [row.image_id for block in blocks for row in block]
    assert len(sampled) == len(set(sampled)) <= 150
    assert set(sampled) <= set(ids)
    assert sampled == sorted(sampled)
    if isinstance(ids, range):
        assert len(sampled) > 60
        assert np.mean([ids.index(one) / len(ids) for one in sampled]) == pytest.approx(0.5, abs=0.25)


async def test_the_range_of_ids_is_found(world):
    for ids in ([1], [5, 6], [7, 2**40 + 3], [2**62]):
        world.vectors.rows[RELEASE.collection].clear()
        await world.hold(ids)
        assert await score_calibrator._ids(world.vectors, RELEASE.collection) == range(ids[0], ids[-1] + 1)
