"""Measures of a ranking against graded judgements, and how sure they are.

Grades are whole numbers, 0 (not relevant) to 5 (the same). Every measure is that of trec_eval, so that figures can be
compared: what a ranking leaves out counts as lost, and the ideal ranking is made of all that is judged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Gain = Literal["linear", "exponential"]
MAX_GRADE = 5
RESAMPLES = 2000
LEVEL = 0.95


def dcg(grades: Sequence[int], gain: Gain = "linear") -> float:
    """Sum the gains of grades in ranked order, each over log2(rank + 1).

    ``linear`` takes the grade itself as the gain, as Järvelin and Kekäläinen (2002, "Cumulated gain-based evaluation of
    IR techniques") and trec_eval do; ``exponential`` takes 2**grade - 1, as Burges et al. (2005, "Learning to rank
    using gradient descent") do.
    """
    gains = grades if gain == "linear" else [2**grade - 1 for grade in grades]
    return sum(value / math.log2(rank + 1) for rank, value in enumerate(gains, 1) if value)


def ndcg(ranked: Sequence[int], judged: Sequence[int], k: int, gain: Gain = "linear") -> float:
    """Return the DCG of the first k, over that of the best ranking there could be; 0 where nothing is relevant.

    ``ranked`` are grades in ranked order, ``judged`` the grades of everything that was judged for the query.
    """
    ideal = dcg(sorted(judged, reverse=True)[:k], gain)
    return dcg(ranked[:k], gain) / ideal if ideal else 0.0


def average_precision(ranked: Sequence[int], judged: Sequence[int], k: int, relevant_from: int = 1) -> float:
    """Return the mean over all relevant pictures of the precision at their rank; 0 for those past rank k.

    Relevant is what has ``relevant_from`` or a higher grade. This is trec_eval's map_cut: it divides by the number of
    relevant pictures, even where there are more than k.
    """
    total = sum(grade >= relevant_from for grade in judged)
    hits, precisions = 0, 0.0
    for rank, grade in enumerate(ranked[:k], 1):
        if grade >= relevant_from:
            hits += 1
            precisions += hits / rank
    return precisions / total if total else 0.0


def recall(ranked: Sequence[int], judged: Sequence[int], k: int, relevant_from: int = 1) -> float:
    """Return the share of the relevant pictures that is among the first k."""
    total = sum(grade >= relevant_from for grade in judged)
    return sum(grade >= relevant_from for grade in ranked[:k]) / total if total else 0.0


def interval(values: Sequence[float] | NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """Return the 95% interval of the mean of values, one per query, by the percentile bootstrap (Efron, 1979).

    Of the differences of two models' values on the same queries, this is the interval of the paired difference.
    """
    sample = np.asarray(values, np.float64)
    if not len(sample):
        return math.nan, math.nan
    chance = np.random.default_rng(seed)
    means = [sample[chance.integers(0, len(sample), len(sample))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
