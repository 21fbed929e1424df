"""A search of the real Milvus returns k results despite folding and filters, if the corpus has them."""

import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gateway.search.options import SearchOptions
from tests.unit.serving import RELEASE, Serving
from visualsearch.adapters.milvus.vectors import MilvusVectors
from visualsearch.domain.images import NewImage, Visibility
from visualsearch.domain.search import Filter, NearDuplicates, VectorRow

pytestmark = pytest.mark.stack

CONFIG = Path(__file__).parents[2] / "milvus" / "collection.yaml"
COPIES, HIDDEN, BLOCKED, SMALL, OTHERS, K = 2000, 300, 300, 300, 60, 50
RANDOM = np.random.default_rng(5)
QUERY = np.eye(256, dtype=np.float32)[0]


def near(share):
    """A vector whose cosine to the query is about ``share``."""
    vector = RANDOM.normal(size=256).astype(np.float32)
    vector[0] = 0
    vector *= (1 - share**2) ** 0.5 / np.linalg.norm(vector)
    vector[0] = share
    return vector


def rows(first):
    """Many copies of one picture nearest to the query, then what a filter takes away, then what should be shown."""
    copy, ids = int(RANDOM.integers(2**63)), iter(range(first, first + 10**6))
    yield from (VectorRow(next(ids), near(0.99), copy, 2**64 - 1 - copy, min_side=300) for _ in range(COPIES))
    for count, options in (
        (HIDDEN, {"visibility": Visibility.PRIVATE, "owner": "ada", "min_side": 300}),
        (BLOCKED, {"source": "bad", "min_side": 300}),
        (SMALL, {"min_side": 20}),
        (OTHERS, {"min_side": 300}),
    ):
        for _ in range(count):
            one, other = (int(value) for value in RANDOM.integers(2**63, size=2))
            yield VectorRow(next(ids), near(0.8 if count != OTHERS else 0.5), one, other, **options)


@pytest.fixture(params=["ivf_pq", "hnsw"])
async def search(request, stack):
    """An ImageSearch over a collection of its own in the real Milvus, and the rows in it."""
    password = stack.milvus_password.get_secret_value()
    vectors = MilvusVectors(stack.milvus_uri, stack.milvus_user, password, CONFIG, 20.0)
    name = f"ranking_{uuid.uuid4().hex[:8]}"
    await vectors.create(name, request.param)
    async with Serving(vectors=vectors) as serving:
        every = list(rows(1))
        promised = await serving.image_repository.register_all(
            [NewImage(f"s3://images/{row.image_id}") for row in every]
        )
        assert [image.id for image in promised] == [row.image_id for row in every]
        await serving.image_repository.mark_indexed({image.id: image.content_hash for image in promised}, "")
        for begin in range(0, len(every), 500):
            await vectors.upsert(name, every[begin : begin + 500])
        await vectors.settle(name)
        yield (
            serving.gateway.search,
            replace(RELEASE, collection=name, search_params=vectors.search_params(request.param)),
        )
    await vectors.drop(name)
    await vectors.close()


async def test_k_results_come_back_beside_many_duplicates_and_filters(search):
    search, release = search
    where = Filter(blocked_sources=frozenset({"bad"}), min_side=100, blocked_ids=frozenset({1}))
    wish = SearchOptions(K, NearDuplicates.COLLAPSE, where)
    found = await search.by_embedding(QUERY, release, wish)
    shown = [hit.id for hit in found]
    assert len(shown) == len(set(shown)) == K
    assert len(found[0].near_duplicates) == COPIES - 2
    assert min(shown[1:]) > COPIES + HIDDEN + BLOCKED + SMALL
    scores = [hit.score for hit in found]
    assert scores == sorted(scores, reverse=True)
    for _ in range(3):
        assert await search.by_embedding(QUERY, release, wish) == found
    everything = await search.by_embedding(QUERY, release, replace(wish, where=replace(where, owner="ada")))
    assert any(COPIES < hit.id <= COPIES + HIDDEN for hit in everything)
