"""Every measure agrees with a slow definition and with trec_eval."""

import math

import numpy as np
import pytest
import pytrec_eval

from evaluation.offline import measures
from evaluation.offline.report import judge

KS = (1, 5, 10)


def made(seed, queries=40, documents=60):
    """A ranking and judgements by chance: gaps, unjudged documents, queries with nothing relevant."""
    chance = np.random.default_rng(seed)
    run, grades = {}, {}
    for query in range(queries):
        names = [f"d{n:02}" for n in chance.permutation(documents)]
        judged = {name: int(chance.choice(6, p=(0.6, 0.1, 0.1, 0.1, 0.05, 0.05))) for name in names[::2]}
        grades[f"q{query}"] = judged if query % 7 else dict.fromkeys(judged, 0)
        ranked = chance.permutation(names)[: chance.integers(1, 40)]
        run[f"q{query}"] = [(str(name), 1.0 - rank / 100) for rank, name in enumerate(ranked)]
    return run, grades


def slow_ndcg(ranked, judged, k, gain):
    def worth(grade):
        return grade if gain == "linear" else 2**grade - 1

    def discounted(grades):
        total = 0.0
        for position in range(min(k, len(grades))):
            total += worth(grades[position]) / math.log2(position + 2)
        return total

    best = discounted(sorted(judged, reverse=True))
    return 0.0 if best == 0 else discounted(ranked) / best


def slow_average_precision(ranked, judged, k, relevant_from):
    relevant = len([grade for grade in judged if grade >= relevant_from])
    total = 0.0
    for position in range(min(k, len(ranked))):
        if ranked[position] >= relevant_from:
            total += len([grade for grade in ranked[: position + 1] if grade >= relevant_from]) / (position + 1)
    return total / relevant if relevant else 0.0


@pytest.mark.parametrize("gain", ["linear", "exponential"])
@pytest.mark.parametrize("relevant_from", [1, 3])
def test_measures_agree_with_their_definitions(gain, relevant_from):
    run, grades = made(0)
    for query, found in run.items():
        ranked, judged = [grades[query].get(name, 0) for name, _ in found], list(grades[query].values())
        for k in KS:
            assert measures.ndcg(ranked, judged, k, gain) == pytest.approx(slow_ndcg(ranked, judged, k, gain))
            assert measures.average_precision(ranked, judged, k, relevant_from) == pytest.approx(
                slow_average_precision(ranked, judged, k, relevant_from)
            )
            relevant = [position for position, grade in enumerate(ranked[:k]) if grade >= relevant_from]
            total = sum(grade >= relevant_from for grade in judged)
            assert measures.recall(ranked, judged, k, relevant_from) == (len(relevant) / total if total else 0)


@pytest.mark.parametrize("seed", range(5))
def test_measures_agree_with_trec_eval(seed):
    run, grades = made(seed)
    measured = {f"{name}.{','.join(map(str, KS))}" for name in ("ndcg_cut", "map_cut", "recall")}
    theirs = pytrec_eval.RelevanceEvaluator(grades, measured).evaluate({q: dict(found) for q, found in run.items()})
    for query, values in judge(run, grades, ks=KS).per_query.items():
        for k in KS:
            assert values[f"ndcg@{k}"] == pytest.approx(theirs[query][f"ndcg_cut_{k}"])
            assert values[f"map@{k}"] == pytest.approx(theirs[query][f"map_cut_{k}"])
            assert values[f"recall@{k}"] == pytest.approx(theirs[query][f"recall_{k}"])


def test_exponential_ndcg_is_trec_evals_of_the_gains():
    run, grades = made(9)
    gains = {query: {name: 2**grade - 1 for name, grade in judged.items()} for query, judged in grades.items()}
    theirs = pytrec_eval.RelevanceEvaluator(gains, {"ndcg_cut.10"}).evaluate({q: dict(f) for q, f in run.items()})
    for query, values in judge(run, grades, gain="exponential").per_query.items():
        assert values["ndcg@10"] == pytest.approx(theirs[query]["ndcg_cut_10"])


def test_a_higher_relevance_threshold_is_trec_evals_level():
    run, grades = made(3)
    theirs = pytrec_eval.RelevanceEvaluator(grades, {"map_cut.10"}, relevance_level=3).evaluate(
        {q: dict(found) for q, found in run.items()}
    )
    for query, values in judge(run, grades, relevant_from=3).per_query.items():
        assert values["map@10"] == pytest.approx(theirs[query]["map_cut_10"])


def test_a_perfect_ranking_has_one_and_an_empty_one_nothing():
    judged = [5, 4, 2, 1, 0]
    for measure in (measures.ndcg, measures.average_precision, measures.recall):
        assert measure(judged, judged, 10) == pytest.approx(1)
        assert measure([], judged, 10) == 0
        assert measure([0, 0], [0, 0], 10) == 0


def test_the_interval_holds_the_mean_and_narrows_with_more_queries():
    chance = np.random.default_rng(1)
    few, many = chance.random(30), chance.random(3000)
    low, high = measures.interval(few)
    assert low < few.mean() < high
    assert np.diff(measures.interval(many)) < (high - low) / 5
    assert measures.interval(few) == (low, high)


def test_the_interval_is_as_wide_as_theory_says():
    values = np.random.default_rng(2).normal(0.5, 0.1, 500)
    low, high = measures.interval(values)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / len(values) ** 0.5, rel=0.1)
