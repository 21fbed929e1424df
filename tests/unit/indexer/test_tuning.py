"""Tuning: exact answers in bounded memory, settings chosen by measurement, and errors if none qualifies."""

from io import StringIO
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from cli.tuning_run import tune
from indexer.releases.search_tuning import TRIAL, SettingMeasurement, Tuning, choose, nlist_for, settings
from tests.fakes.image_repository import FakeImages
from tests.fakes.recall_repository import FakeRecallSamples
from tests.fakes.release_repository import FakeReleases
from tests.fakes.vectors import FakeVectors
from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.releases import Release, ReleaseState
from visualsearch.domain.search import Candidates, VectorRow
from visualsearch.releases.active_releases import ActiveReleases

ROWS = 1200
LIVE = Release("v1", 1, "f" * 64, "images_v1", "ivf_pq", {"nprobe": 8})


class CoarseVectors(FakeVectors):
    """An index that finds the best only where it is searched widely enough, or not at all."""

    shards = 2
    loses = True

    def search_params(self, profile):
        return {"nprobe": 64}

    def index_params(self, profile):
        return {"nlist": int(profile.partition("=")[2] or 64)}

    async def nearest(self, collection, embedding, count, params, where):
        found = await super().nearest(collection, embedding, count, params, where)
        lost = 3 if params["nprobe"] < 16 or (self.loses and params["candidates"] < 200) else 0
        kept = slice(1 + lost, None)  # the query itself is the first, and no loss
        columns = (found.ids, found.scores, found.phashes, found.phashes_mirrored)
        return Candidates(*(column[kept] for column in columns), found.exhausted)


@pytest.fixture(scope="module")
def rows():
    embeddings = np.random.default_rng(0).normal(size=(ROWS, 256)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return [VectorRow(3 * number + 1, one, 0, 0) for number, one in enumerate(embeddings)]


@pytest.fixture
async def stores(rows):
    vectors, releases = CoarseVectors(LIVE.collection), FakeReleases(FakeImages())
    await vectors.upsert(LIVE.collection, rows)
    await releases.add(LIVE, ReleaseState.LIVE)
    return SimpleNamespace(vectors=vectors, release_repository=releases, recall_repository=FakeRecallSamples(releases))


async def tuned(stores, recall=0.98, queries=4, nlists=(), plot=None, dry_run=False):
    text = StringIO()
    console = Console(file=text, width=200)
    reached = await tune(stores, console, recall, queries, nlists, plot, dry_run=dry_run)
    return reached, " ".join(text.getvalue().split())


async def test_exact_answers_are_those_of_every_row_but_the_query(stores, rows):
    asked = await Tuning(stores.vectors, LIVE.collection, lambda *_: None).queries(20)
    every = np.stack([row.embedding for row in rows])
    ids = [row.image_id for row in rows]
    assert len({query.image_id for query in asked}) == 20
    for query in asked:
        scores = np.delete(every @ query.embedding, ids.index(query.image_id))
        assert query.exact == pytest.approx(-np.sort(-scores)[:10], abs=1e-6)


def test_widths_go_by_twos_up_to_every_list():
    tried = settings({"nlist": 100}, {"nprobe": 64})
    assert sorted({one["nprobe"] for one in tried}) == [4, 8, 16, 32, 64, 100]
    assert all(one["ef"] >= one["candidates"] for one in settings({}, {"ef": 256}))


def test_the_fastest_setting_that_is_good_enough_is_chosen():
    measured = [
        SettingMeasurement("p", {"nprobe": 8, "candidates": 200}, recall, ms)
        for recall, ms in [(0.9, 1), (0.99, 5), (0.98, 3)]
    ]
    assert choose(measured, 0.98).median_ms == 3
    assert choose(measured, 0.995) is None


def test_of_settings_that_are_equally_fast_the_one_with_the_least_work_is_chosen():
    measured = [
        SettingMeasurement("p", {"nprobe": n, "candidates": 200}, 1.0, ms)
        for n, ms in [(16, 13.2), (64, 12.7), (8, 20)]
    ]
    assert choose(measured, 0.98).params["nprobe"] == 16


def test_nlist_follows_the_rows_of_a_segment():
    assert nlist_for(100_000, 2) == 1024
    assert nlist_for(8000, 2) == 256


async def test_the_release_is_searched_with_the_chosen_setting_from_then_on(stores):
    reached, text = await tuned(stores)
    assert reached
    live = await ActiveReleases(stores.release_repository).live()
    assert live.search_params["nprobe"] >= 16
    assert live.search_params["candidates"] >= 200
    assert "Nothing has to be built" in text or "nothing has to be built" in text


async def test_a_dry_run_prints_the_choice_and_changes_nothing(stores):
    reached, text = await tuned(stores, dry_run=True)
    assert reached
    assert (await ActiveReleases(stores.release_repository).live()) == LIVE
    assert "Nothing was changed" in text


async def test_an_unreachable_recall_is_reported_with_the_best_setting_and_a_way_out(stores):
    stores.vectors.nearest = lambda *arguments: CoarseVectors.nearest(
        stores.vectors, *arguments[:3], {**arguments[3], "nprobe": 4}, arguments[4]
    )
    reached, text = await tuned(stores)
    assert not reached
    assert (await ActiveReleases(stores.release_repository).live()) == LIVE
    assert "No setting of this index reaches recall 0.98: the best," in text
    assert "--profile hnsw" in text


async def test_an_empty_or_tiny_corpus_gives_a_one_sentence_error(stores):
    stores.vectors.rows[LIVE.collection] = {}
    with pytest.raises(InvalidInput, match="empty"):
        await tuned(stores)
    await stores.vectors.upsert(LIVE.collection, [VectorRow(1, np.ones(256, np.float32) / 16, 0, 0)])
    with pytest.raises(InvalidInput, match="compares all of them"):
        await tuned(stores)


async def test_another_nlist_is_measured_on_a_copy_that_is_removed_again(stores):
    _, text = await tuned(stores, nlists=[128])
    assert "ivf_pq/nlist=128" in text
    assert TRIAL not in stores.vectors.rows


async def test_the_copy_is_removed_when_measuring_it_fails(stores):
    async def fails(_collection):
        raise InvalidInput("no")

    tuning = Tuning(stores.vectors, LIVE.collection, lambda *_: None)
    queries = await tuning.queries(5)
    stores.vectors.seal = fails
    with pytest.raises(InvalidInput):
        await tuning.trial("ivf_pq/nlist=128", settings({"nlist": 128}, {"nprobe": 1}), queries)
    assert TRIAL not in stores.vectors.rows


async def test_the_curve_is_drawn_into_a_file(stores, tmp_path):
    await tuned(stores, plot=tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


async def test_a_plot_that_cannot_be_written_is_reported_before_measuring(stores, tmp_path):
    with pytest.raises(InvalidInput, match="cannot be written"):
        await tuned(stores, plot=tmp_path / "nowhere" / "curve.png")
    assert stores.vectors.counts_asked == []
