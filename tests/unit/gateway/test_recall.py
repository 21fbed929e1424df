"""The recall proxy: what it measures, and that no search waits for it."""

import asyncio

import numpy as np
import pytest
from prometheus_client import REGISTRY

from gateway.search.recall_monitor import RecallMonitor
from tests.eventually import eventually
from tests.fakes.image_repository import FakeImages
from tests.fakes.recall_repository import FakeRecallSamples
from tests.fakes.release_repository import FakeReleases
from tests.fakes.vectors import FakeVectors
from tests.pictures import jpeg
from tests.unit.serving import RELEASE, Serving
from visualsearch.domain.recall import Recall, compared, thorough
from visualsearch.domain.search import Filter, VectorRow


def unit(seed):
    vector = np.random.default_rng(seed).normal(size=256).astype(np.float32)
    return vector / np.linalg.norm(vector)


def scores(*values):
    return np.array(values, np.float32)


class SlowVectors(FakeVectors):
    """Answers when it is let to."""

    def __init__(self, *collections):
        super().__init__(*collections)
        self.go = asyncio.Event()

    async def nearest(self, *arguments):
        found = await super().nearest(*arguments)
        await self.go.wait()
        return found


@pytest.fixture
async def filled():
    vectors = SlowVectors(RELEASE.collection)
    await vectors.upsert(RELEASE.collection, [VectorRow(number, unit(number), 0, 0) for number in range(40)])
    return vectors


@pytest.fixture
def log():
    return FakeRecallSamples(FakeReleases(FakeImages()))


def shed():
    return REGISTRY.get_sample_value("visualsearch_recall_proxy_samples_total", {"outcome": "shed"}) or 0


async def answered(vectors, query, leave_out=0):
    """An answer that lacks the best ones."""
    vectors.go.set()
    found = await vectors.nearest(RELEASE.collection, query, 40, {}, Filter())
    vectors.go.clear()
    return type(found)(*(getattr(found, name)[leave_out:] for name in COLUMNS), False)


COLUMNS = ("ids", "scores", "phashes", "phashes_mirrored")


def test_recall_counts_results_at_least_as_near_as_the_tenth():
    exact = scores(*np.linspace(1, 0.1, 10))
    assert compared(exact, exact) == Recall(10, 10, 1)
    assert compared(exact[2:], exact) == Recall(8, 10, 1)
    assert compared(scores(), exact) == Recall(0, 10, 1)


def test_a_row_with_the_score_of_the_tenth_counts_as_it():
    assert compared(scores(0.9, 0.5), scores(0.9, 0.5, 0.5)[:2]).value == 1


def test_a_corpus_of_three_pictures_has_three_to_be_found():
    assert compared(scores(0.9, 0.8), scores(0.9, 0.8, 0.7)) == Recall(2, 3, 1)


def test_an_empty_collection_gives_no_recall_sample():
    assert compared(scores(), scores()).value is None


def test_a_thorough_search_looks_into_every_list_of_its_own_kind_of_index():
    assert thorough({"nprobe": 64, "candidates": 200}) == {"nprobe": 65_536}
    assert set(thorough({"ef": 256})) == {"ef"}


async def test_a_sampled_answer_is_compared_with_a_thorough_one(filled, log):
    proxy = RecallMonitor(filled, log, 1.0, rest=0)
    found = await answered(filled, unit(99), leave_out=3)
    proxy.offer(RELEASE, unit(99), Filter(), found)
    filled.go.set()
    await eventually(lambda: log.samples)
    assert await log.since(60) == {RELEASE.name: Recall(7, 10, 1)}
    await proxy.close()


async def test_queries_are_skipped_while_one_is_measured(filled, log):
    proxy = RecallMonitor(filled, log, 1.0, rest=0)
    found, before = await answered(filled, unit(99)), shed()
    for _ in range(50):
        proxy.offer(RELEASE, unit(99), Filter(), found)
    filled.go.set()
    await eventually(lambda: log.samples)
    assert shed() == before + 49
    assert len(log.samples) == 1
    await proxy.close()


async def test_no_query_is_measured_while_requests_wait(filled, log):
    proxy = RecallMonitor(filled, log, 1.0, busy=lambda: True, rest=0)
    before = shed()
    proxy.offer(RELEASE, unit(99), Filter(), await answered(filled, unit(99)))
    assert shed() == before + 1
    assert filled.counts_asked == [40]
    await proxy.close()


async def test_no_more_than_the_share_is_sampled(filled, log):
    proxy = RecallMonitor(filled, log, 0.0, rest=0)
    for _ in range(50):
        proxy.offer(RELEASE, unit(99), Filter(), await answered(filled, unit(99)))
    every = RecallMonitor(filled, log, 1.0, rest=0)
    every.offer(RELEASE, unit(99), Filter(), await answered(filled, unit(99)))
    filled.go.set()
    await eventually(lambda: log.samples)
    assert len(log.samples) == 1, "a query of the first monitor would have been measured before"
    await every.close()
    await proxy.close()


async def test_a_search_is_answered_while_its_recall_cannot_be_measured():
    never_answers = SlowVectors(RELEASE.collection)
    async with Serving(background_vectors=never_answers, recall_share=1) as serving:
        for seed in range(3):
            await serving.index(jpeg(seed))
        answer = await serving.search(jpeg(1), k="2")
        assert answer.status_code == 200
        assert len(answer.json()["results"]) == 2
        await eventually(lambda: never_answers.counts_asked)
        assert not serving.recall_repository.samples


async def test_metrics_and_stats_contain_the_recall_of_the_release_that_answered():
    async with Serving(recall_share=1) as serving:
        for seed in range(3):
            await serving.index(jpeg(seed))
        await serving.search(jpeg(1), k="2")
        await eventually(lambda: serving.recall_repository.samples)
        stats = (await serving.client.get("/stats")).json()
        assert stats["recall"] == [{"release": "v1", "recall": 1.0, "hits": 3, "expected": 3, "queries": 1}]
        text = (await serving.client.get("/metrics")).text
        assert 'visualsearch_recall_proxy{release="v1"} 1.0' in text
        assert 'visualsearch_recall_proxy_expected_total{release="v1"}' in text
        assert 'visualsearch_recall_proxy_samples_total{outcome="measured"}' in text


async def test_a_release_sets_how_many_candidates_are_scored_exactly():
    async with Serving() as serving:
        await serving.index(jpeg(1))
        await serving.search(jpeg(1), k="1")
        await serving.recall_repository.search_with(RELEASE.name, {"candidates": 700})
        serving.clock.advance(60)
        await serving.search(jpeg(1), k="1")
        assert serving.vectors.counts_asked == [200, 700]
