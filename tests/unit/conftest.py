"""An indexer in memory with short pauses."""

import pytest

from indexer.pipeline import ingest, worker
from tests.unit.indexing import RELEASE, Indexing
from visualsearch.domain.releases import ReleaseState
from visualsearch.imaging.picture_pool import PicturePool


@pytest.fixture
async def world(monkeypatch):
    monkeypatch.setattr(worker, "BLOCK_S", 0.01)
    monkeypatch.setattr(worker, "BEAT_EVERY_S", 0.01)
    monkeypatch.setattr(worker, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(worker, "MAX_PAUSE_S", 0.05)
    monkeypatch.setattr(ingest, "FIRST_PAUSE_S", 0.001)
    with PicturePool(2) as pool:
        world = Indexing(pool)
        await world.release_repository.add(RELEASE, ReleaseState.LIVE)
        yield world
