"""The evaluation of a release: its conditions and its record."""

from dataclasses import replace

import numpy as np
import pytest

from indexer.releases import release_evaluation
from indexer.releases.release_gate import GateMeasurements, Limits, judge
from visualsearch.domain.errors import ConfigurationError
from visualsearch.domain.ranking_metrics import ndcg, overlap, rank_biased_overlap

LIMITS = Limits(0.01, 0.9, 300.0)
GOOD = GateMeasurements(True, 1.0, 0.55, 0.55, 0.97, 40.0, 40.0, "v1")


def failed(found):
    return [check.name for check in judge(found, LIMITS) if not check.passed]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, []),
        ({"same_file": False}, ["fingerprint"]),
        ({"cosine": 0.99}, ["parity"]),
        ({"ndcg": 0.541}, []),
        ({"ndcg": 0.539}, ["ndcg@10"]),
        ({"recall": 0.89}, ["recall@10"]),
        ({"recall": None}, []),
        ({"p95_ms": 301.0}, ["p95"]),
        ({"p95_ms": 600.0, "live_p95_ms": 500.0}, []),
        ({"p95_ms": 900.0, "live_p95_ms": 500.0}, ["p95"]),
        ({"cosine": float("nan"), "ndcg": 0.1}, ["parity", "ndcg@10"]),
    ],
)
def test_each_condition_alone_refuses_a_release(change, names):
    assert failed(replace(GOOD, **change)) == names


def test_an_evaluation_contains_value_limit_and_the_compared_release():
    check = next(check for check in judge(replace(GOOD, ndcg=0.5), LIMITS) if check.name == "ndcg@10")
    assert (check.value, check.limit, check.passed) == (0.5, ">= 0.5400", False)
    assert "v1 has 0.5500" in check.detail


def test_quality_is_the_mean_ndcg_of_every_picture_against_the_others():
    chance = np.random.default_rng(0)
    embeddings = chance.normal(size=(12, 256)).astype(np.float32)
    categories = [str(number % 3) for number in range(12)]
    slow = []
    for query in range(12):
        others = sorted((o for o in range(12) if o != query), key=lambda o: -float(embeddings[query] @ embeddings[o]))
        grades = [int(categories[o] == categories[query]) for o in others]
        slow.append(ndcg(grades, grades, 10))
    assert release_evaluation.quality(embeddings.copy(), categories) == pytest.approx(np.mean(slow))
    blocks = np.repeat(np.eye(3, 256, dtype=np.float32), 4, axis=0)
    assert release_evaluation.quality(blocks, sorted(categories)) == pytest.approx(1.0)


def test_an_evaluation_set_without_categories_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ConfigurationError, match="VISUALSEARCH_EVALUATION_SET"):
        release_evaluation.evaluation_set(tmp_path)


def test_overlap_and_rank_biased_overlap_are_1_for_the_same_and_0_for_nothing_in_common():
    same, apart = list(range(10)), list(range(10, 20))
    assert (overlap(same, same), rank_biased_overlap(same, same)) == (1, pytest.approx(1))
    assert (overlap(same, apart), rank_biased_overlap(same, apart)) == (0, 0)
    assert (overlap([], []), rank_biased_overlap([], [])) == (1, 1)
    turned = same[::-1]
    assert overlap(same, turned) == 1
    assert rank_biased_overlap(same, turned) < 0.6


def test_rank_biased_overlap_counts_the_top_most():
    same = list(range(10))
    top, bottom = [90, *same[1:]], [*same[:9], 90]
    assert rank_biased_overlap(same, top) < rank_biased_overlap(same, bottom)
