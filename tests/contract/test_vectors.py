"""Contract of the vector store, tested with the fake and Milvus."""

import asyncio
import itertools
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymilvus import AsyncMilvusClient

from tests.fakes.vectors import FakeVectors
from visualsearch.adapters.milvus.vectors import MilvusVectors
from visualsearch.domain.errors import ConfigurationError, NotFound, Unavailable
from visualsearch.domain.images import Visibility
from visualsearch.domain.search import Filter, VectorRow

CONFIG = Path(__file__).parents[2] / "milvus" / "collection.yaml"
PARAMS = {"nprobe": 64}
SHARED = "contract_shared"


def connected(settings, timeout_s):
    password = settings.milvus_password.get_secret_value()
    return MilvusVectors(settings.milvus_uri, settings.milvus_user, password, CONFIG, timeout_s)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def vectors(request):
    if request.param == "fake":
        yield FakeVectors()
        return
    real = connected(request.getfixturevalue("stack"), 20.0)
    yield real
    await real.close()


@pytest.fixture
async def collection(vectors):
    """An empty collection; the tests share Milvus', for making one takes seconds."""
    await vectors.create(SHARED, "ivf_pq")
    async for page in vectors.hashes(SHARED):
        await vectors.delete(SHARED, [image_id for image_id, _ in page])
    await vectors.settle(SHARED)
    return SHARED


@pytest.fixture
async def milvus(stack):
    """Milvus with time for slow calls."""
    real = connected(stack, 60.0)
    yield real
    await real.close()


@pytest.fixture
async def name(milvus):
    """Name of a collection that is not there yet, nor afterwards."""
    name = f"contract_{uuid.uuid4().hex[:8]}"
    yield name
    await milvus.drop(name)


def unit(seed):
    vector = np.random.default_rng(seed).normal(size=256).astype(np.float32)
    return vector / np.linalg.norm(vector)


def row(image_id, **options):
    return VectorRow(image_id, unit(image_id), image_id, 2**64 - 1 - image_id, **options)


async def found(vectors, collection, seed, count=10, where=None):
    candidates = await vectors.nearest(collection, unit(seed), count, PARAMS, where or Filter())
    return candidates.ids.tolist()


async def written(vectors, collection, rows):
    await vectors.upsert(collection, rows)
    await vectors.settle(collection)


async def test_a_visible_row_is_found_with_its_exact_score(vectors, collection):
    await written(vectors, collection, [row(number) for number in range(1, 51)])
    best = await vectors.nearest(collection, unit(7), 5, PARAMS, Filter())
    assert (best.ids.dtype, best.scores.dtype, best.phashes.dtype) == (np.int64, np.float32, np.uint64)
    assert best.ids[0] == 7
    assert best.scores.tolist() == pytest.approx([float(unit(7) @ unit(i)) for i in best.ids], abs=1e-5)
    assert sorted(best.scores.tolist(), reverse=True) == best.scores.tolist()
    assert (best.phashes[0], best.phashes_mirrored[0]) == (7, 2**64 - 8)
    assert not best.exhausted


async def test_the_next_search_after_waiting_for_visibility_finds_a_row(vectors, collection):
    for number in range(1, 21):
        await written(vectors, collection, [row(number)])
        assert (await found(vectors, collection, number))[0] == number


async def test_rows_of_equal_score_come_in_the_order_of_their_ids(vectors, collection):
    same = [VectorRow(image_id, unit(1), 0, 0) for image_id in (9, 3, 7, 5)]
    await written(vectors, collection, same)
    assert await found(vectors, collection, 1) == [3, 5, 7, 9]


async def test_among_too_many_copies_those_with_the_lowest_ids_are_returned(vectors, collection):
    copies = [VectorRow(image_id, unit(1), 0, 0) for image_id in np.random.default_rng(0).permutation(900).tolist()]
    await written(vectors, collection, [*copies, row(1000), row(1001)])
    assert await found(vectors, collection, 1) == list(range(10))
    assert await found(vectors, collection, 2) == await found(vectors, collection, 2)


async def test_a_search_for_as_many_results_as_rows_returns_every_row(vectors, collection):
    rows = [row(number) for number in range(9000)]
    for begin in range(0, len(rows), 1000):
        await vectors.upsert(collection, rows[begin : begin + 1000])
    await vectors.settle(collection)
    every = await vectors.nearest(collection, unit(7), 9000, PARAMS, Filter())
    assert set(every.ids.tolist()) == set(range(9000))
    more = await vectors.nearest(collection, unit(7), 9001, PARAMS, Filter(min_side=0))
    assert (len(more.ids), more.exhausted) == (9000, True)


async def test_search_parameters_of_the_gateway_are_not_passed_to_the_store(vectors, collection):
    await written(vectors, collection, [row(1)])
    best = await vectors.nearest(collection, unit(1), 5, {**PARAMS, "candidates": 400}, Filter())
    assert best.ids.tolist() == [1]


async def test_a_collection_is_exhausted_when_it_gives_fewer_than_asked_for(vectors, collection):
    await written(vectors, collection, [row(number) for number in range(1, 6)])
    assert (await vectors.nearest(collection, unit(1), 6, PARAMS, Filter())).exhausted
    assert len(await found(vectors, collection, 1, count=6)) == 5


async def test_an_id_has_one_vector_however_often_it_is_written(vectors, collection):
    for seed in (1, 2, 3):
        await vectors.upsert(collection, [VectorRow(4, unit(seed), 0, 0), VectorRow(4, unit(seed + 10), 0, 0)])
    await vectors.settle(collection)
    assert await vectors.count(collection) == 1
    assert (await vectors.fetch(collection, [4]))[4] == pytest.approx(unit(13), abs=1e-6)
    assert await found(vectors, collection, 13) == [4]


async def test_a_deleted_row_is_not_found_and_deleting_it_again_is_harmless(vectors, collection):
    await written(vectors, collection, [row(1), row(2)])
    for _ in range(2):
        await vectors.delete(collection, [1, 99])
    await vectors.settle(collection)
    assert await found(vectors, collection, 1) == [2]
    assert await vectors.count(collection) == 1


async def test_filters_are_applied_inside_the_store(vectors, collection):
    await written(
        vectors,
        collection,
        [
            row(1, source='a "quoted\\ name'),
            row(2, owner="ada", visibility=Visibility.PRIVATE),
            row(3, owner="bob", visibility=Visibility.PRIVATE),
            row(4, min_side=16),
            row(5, min_side=500),
        ],
    )

    async def passing(**options):
        return sorted(await found(vectors, collection, 1, where=Filter(**options)))

    assert await passing() == [1, 4, 5]
    assert await passing(owner="ada") == [1, 2, 4, 5]
    assert await passing(owner='" or private == true or owner == "') == [1, 4, 5]
    assert await passing(blocked_sources=frozenset({'a "quoted\\ name', "other"})) == [4, 5]
    assert await passing(blocked_ids=frozenset({4, 5})) == [1]
    assert await passing(min_side=100) == [5]


async def test_every_id_is_listed_once_in_order(vectors, collection):
    wanted = sorted(np.random.default_rng(0).choice(10**12, 2500, replace=False).tolist())
    shuffled = [
        VectorRow(i, unit(i % 50), 2**64 - 1 - i, 0) for i in np.random.default_rng(1).permutation(wanted).tolist()
    ]
    for begin in range(0, len(shuffled), 500):
        await vectors.upsert(collection, shuffled[begin : begin + 500])
    await vectors.settle(collection)
    assert [row async for page in vectors.hashes(collection) for row in page] == [(i, 2**64 - 1 - i) for i in wanted]


async def test_embeddings_are_fetched_for_existing_ids(vectors, collection):
    await written(vectors, collection, [row(1), row(2)])
    fetched = await vectors.fetch(collection, [2, 3])
    assert list(fetched) == [2]
    assert fetched[2] == pytest.approx(unit(2), abs=1e-6)


async def test_an_empty_collection_returns_no_results(vectors, collection):
    empty = await vectors.nearest(collection, unit(1), 10, PARAMS, Filter())
    assert (len(empty.ids), empty.exhausted) == (0, True)
    assert await vectors.count(collection) == 0
    assert [row async for page in vectors.hashes(collection) for row in page] == []
    await vectors.check(collection)


async def test_creating_twice_keeps_the_rows_and_dropping_twice_is_harmless(vectors, collection):
    await written(vectors, collection, [row(1)])
    await vectors.create(collection, "ivf_pq")
    assert await vectors.count(collection) == 1
    await vectors.drop(collection)
    await vectors.drop(collection)
    assert collection not in await vectors.collections()


async def test_an_alias_moves_from_one_collection_to_another(vectors, collection):
    other, alias = f"{collection}_b", f"{collection}_alias"
    await vectors.create(other, "hnsw")
    await written(vectors, collection, [row(1)])
    await written(vectors, other, [row(2)])
    for name, wanted in [(collection, [1]), (other, [2]), (other, [2])]:
        await vectors.point_alias(alias, name)
        assert await found(vectors, alias, 1) == wanted
        assert (await vectors.aliased())[alias] == name
    await vectors.drop_alias(alias)
    await vectors.drop_alias(alias)
    assert alias not in await vectors.aliased()
    await vectors.drop(other)
    assert other not in await vectors.collections()


async def test_whole_rows_come_in_pages_in_the_order_of_their_ids(vectors, collection):
    private = VectorRow(7, unit(7), 2**64 - 1, 3, "camera", "ann", Visibility.PRIVATE, 480)
    await written(vectors, collection, [private, *map(row, (9, 3, 5))])
    assert [one.image_id for one in await vectors.page(collection, -1, 2)] == [3, 5]
    page = await vectors.page(collection, 5, 10)
    assert [one.image_id for one in page] == [7, 9]
    assert page[0].embedding == pytest.approx(unit(7), abs=1e-6)
    assert replace(page[0], embedding=private.embedding) == private
    assert await vectors.page(collection, 9, 10) == []


async def test_an_unknown_collection_is_not_found(vectors):
    with pytest.raises(NotFound):
        await vectors.nearest("nobody_made_this", unit(1), 5, PARAMS, Filter())
    with pytest.raises(NotFound):
        await vectors.check("nobody_made_this")


@pytest.mark.stack
async def test_an_indexed_collection_still_has_its_vectors_after_searches_that_return_them(milvus, name, monkeypatch):
    """Where Milvus' localStorage.path is absolute, one such search deletes the vectors.

    Rows that went away after they were counted do not keep it from being sealed.
    """
    counts = itertools.chain([3025], itertools.repeat(3000))

    async def counted(collection):
        return next(counts)

    await milvus.create(name, "ivf_pq")
    for begin in range(1, 3001, 500):
        await milvus.upsert(name, [row(number) for number in range(begin, begin + 500)])
    await milvus.settle(name)
    with monkeypatch.context() as patch:
        patch.setattr(milvus, "count", counted)
        patch.setattr("visualsearch.adapters.milvus.vectors.RECOUNT_S", 1.0)
        await milvus.seal(name)
    for seed in (5, 1500, 2999):
        best = await milvus.nearest(name, unit(seed), 200, PARAMS, Filter())
        assert (best.ids[0], len(best.ids)) == (seed, 200)
    assert len(await milvus.fetch(name, list(range(1, 101)))) == 100


@pytest.mark.stack
@pytest.mark.parametrize("step", ["create_index", "load_collection"])
async def test_an_interrupted_creation_of_a_collection_is_completed_by_the_next_call(milvus, name, monkeypatch, step):
    async def killed(*_, **__):
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(AsyncMilvusClient, step, killed)
        with pytest.raises(asyncio.CancelledError):
            await milvus.create(name, "ivf_pq")
    await milvus.create(name, "ivf_pq")
    await written(milvus, name, [row(1)])
    assert await found(milvus, name, 1) == [1]


async def test_a_missing_milvus_raises_unavailable():
    vectors = MilvusVectors("http://127.0.0.1:1", "root", "x", CONFIG, 1.0)
    with pytest.raises(Unavailable):
        await vectors.check("images")
    await vectors.close()


def test_an_unknown_index_profile_is_refused_with_the_known_ones():
    with pytest.raises(ConfigurationError, match="ivf_pq"):
        MilvusVectors("http://127.0.0.1:1", "", "", CONFIG, 1.0).search_params("magic")


def test_a_profile_name_may_contain_overrides():
    vectors = MilvusVectors("http://127.0.0.1:1", "", "", CONFIG, 1.0)
    changed = "ivf_pq/nlist=1024,nprobe=16"
    assert vectors.index_params(changed) == {**vectors.index_params("ivf_pq"), "nlist": 1024}
    assert vectors.search_params(changed) == {**vectors.search_params("ivf_pq"), "nprobe": 16}


@pytest.mark.parametrize("change", ["ef=3", "nlist", "nlist=many", "nlist=-1"])
def test_an_override_of_an_unknown_parameter_is_refused(change):
    with pytest.raises(ConfigurationError, match="nlist"):
        MilvusVectors("http://127.0.0.1:1", "", "", CONFIG, 1.0).search_params(f"ivf_pq/{change}")
