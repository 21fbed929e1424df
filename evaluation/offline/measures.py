"""Measures of a ranking against graded judgements, and their confidence intervals.

Grades are whole numbers, 0 (not relevant) to 5 (the same). Every measure is defined as in trec_eval, so that figures
are comparable: relevant pictures missing from a ranking count as not found, and the ideal ranking has all judgements.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from visualsearch.domain.ranking_metrics import Gain, dcg, ndcg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Gain", "average_precision", "dcg", "interval", "ndcg", "recall"]
MAX_GRADE = 5
RESAMPLES = 2000
LEVEL = 0.95


def average_precision(ranked: Sequence[int], judged: Sequence[int], k: int, relevant_from: int = 1) -> float:
    """Return the mean over all relevant pictures of the precision at their rank; 0 for those past rank k.

    A picture is relevant if its grade is at least ``relevant_from``. This is trec_eval's map_cut: it divides by the
    number of relevant pictures, even if there are more than k.
    """
    total = sum(grade >= relevant_from for grade in judged)
    hits, precisions = 0, 0.0
    for rank, grade in enumerate(ranked[:k], 1):
        if grade >= relevant_from:
            hits += 1
            precisions += hits / rank
    return precisions / total if total else 0.0


def recall(ranked: Sequence[int], judged: Sequence[int], k: int, relevant_from: int = 1) -> float:
    """Return the share of the relevant pictures that are among the first k."""
    total = sum(grade >= relevant_from for grade in judged)
    return sum(grade >= relevant_from for grade in ranked[:k]) / total if total else 0.0


def interval(values: Sequence[float] | NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """Return the 95% interval of the mean of values, one per query, by the percentile bootstrap (Efron, 1979).

    For differences between two models' values on the same queries, this is the interval of the paired difference.
    """
    sample = np.asarray(values, np.float64)
    if not len(sample):
        return math.nan, math.nan
    chance = np.random.default_rng(seed)
    means = [sample[chance.integers(0, len(sample), len(sample))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
