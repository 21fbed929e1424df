"""Tuning and the recall proxy against the real Milvus."""

import uuid

import numpy as np
import pytest

from gateway.search.recall_monitor import RecallMonitor
from indexer.releases.search_tuning import Tuning, choose, settings
from tests.eventually import eventually
from tests.fakes.image_repository import FakeImages
from tests.fakes.recall_repository import FakeRecallSamples
from tests.fakes.release_repository import FakeReleases
from visualsearch.adapters.milvus.vectors import MilvusVectors
from visualsearch.domain.releases import Release
from visualsearch.domain.search import Filter, VectorRow
from visualsearch.settings import ROOT

pytestmark = pytest.mark.stack
CONFIG = ROOT / "milvus" / "collection.yaml"
PROFILE = "ivf_pq/nlist=64,m=16"
ROWS = 3000


def scattered():
    """Vectors with neighbours all around them, of which a narrow search misses most."""
    vectors = np.random.default_rng(0).normal(size=(ROWS, 256))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
async def vectors(stack):
    password = stack.milvus_password.get_secret_value()
    vectors = MilvusVectors(stack.milvus_uri, stack.milvus_user, password, CONFIG, 60.0)
    yield vectors
    await vectors.close()


@pytest.fixture(scope="module")
async def collection(vectors):
    name = f"tuned_{uuid.uuid4().hex[:8]}"
    await vectors.create(name, PROFILE)
    rows = [VectorRow(number, one, 0, 0) for number, one in enumerate(scattered())]
    for begin in range(0, ROWS, 1000):
        await vectors.upsert(name, rows[begin : begin + 1000])
    await vectors.settle(name)
    yield name
    await vectors.drop(name)


async def test_wider_searches_find_more_and_the_chosen_setting_holds_what_was_measured(vectors, collection):
    tuning = Tuning(vectors, collection, lambda *_: None)
    queries = await tuning.queries(40)
    tried = [one for one in settings({"nlist": 64}, {"nprobe": 8}) if one["candidates"] in {100, 400}]
    measured = await tuning.measure(collection, PROFILE, tried, queries)
    recalls = {(one.params["nprobe"], one.params["candidates"]): one.recall for one in measured}
    assert recalls[4, 100] < 0.8 < recalls[64, 400]
    chosen = choose(measured, 0.8)
    again = await tuning.measure(collection, PROFILE, [chosen.params], queries)
    assert again[0].recall == chosen.recall


async def test_the_recall_proxy_detects_that_a_narrow_search_misses_results(vectors, collection):
    log = FakeRecallSamples(FakeReleases(FakeImages()))
    for name, params in {"narrow": {"nprobe": 1}, "wide": {"nprobe": 64}}.items():
        release = Release(name, 1, "", collection, PROFILE, params)
        for query in scattered()[:10]:
            proxy = RecallMonitor(vectors, log, 1.0, rest=0)
            found = await vectors.nearest(collection, query, 20, params, Filter())
            before = len(log.samples)
            proxy.offer(release, query, Filter(), found)
            await eventually(lambda before=before: len(log.samples) > before)
    sums = await log.since(600)
    assert sums["narrow"].value < sums["wide"].value
