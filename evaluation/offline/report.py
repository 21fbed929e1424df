"""Figures of a ranking: per query, per group and overall, with confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from evaluation.offline import measures
from visualsearch.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evaluation.offline.measures import Gain
    from evaluation.offline.trec import Run

PRIMARY = "ndcg@10"


@dataclass(frozen=True)
class Figure:
    """The mean of a measure over queries, with its 95% interval."""

    mean: float
    low: float
    high: float
    queries: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Report:
    """The measures of a ranking for each query."""

    per_query: Mapping[str, Mapping[str, float]]
    """Values by query, then by measure."""
    groups: Mapping[str, str]

    @cached_property
    def overall(self) -> dict[str, Figure]:
        """Return each measure over all queries."""
        return _figures(list(self.per_query.values()))

    @cached_property
    def by_group(self) -> dict[str, dict[str, Figure]]:
        """Return each measure over the queries of each group, ordered by group name."""
        members: dict[str, list[Mapping[str, float]]] = {}
        for query, values in self.per_query.items():
            if query in self.groups:
                members.setdefault(self.groups[query], []).append(values)
        return {group: _figures(members[group]) for group in sorted(members)}

    def values(self, measure: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return the values of one measure, float64 [queries], in the order of ``per_query``."""
        return np.array([values[measure] for values in self.per_query.values()], np.float64)

    def difference(self, other: Report, measure: str = PRIMARY) -> Figure:
        """Return the mean gain over another ranking of the same queries, with the interval of the paired difference."""
        if list(self.per_query) != list(other.per_query):
            raise InvalidInput("Only rankings of the same queries can be compared.")
        return _figure(self.values(measure) - other.values(measure))

    def worst(self, count: int, measure: str = PRIMARY) -> list[str]:
        """Return the queries with the lowest values."""
        return sorted(self.per_query, key=lambda query: self.per_query[query][measure])[:count]


def judge(
    run: Run,
    grades: Mapping[str, Mapping[str, int]],
    groups: Mapping[str, str] | None = None,
    *,
    ks: Sequence[int] = (1, 10),
    relevant_from: int = 1,
    gain: Gain = "linear",
) -> Report:
    """Evaluate a ranking against the grades: ndcg, map and recall at each k.

    Queries with judgements but without a ranking count as 0. Queries without any relevant picture are left out.
    """
    per_query = {}
    for query, judged in grades.items():
        if max(judged.values(), default=0) < relevant_from:
            continue
        ranked = [judged.get(document, 0) for document, _ in run.get(query, [])]
        every = list(judged.values())
        values = {}
        for k in ks:
            values[f"ndcg@{k}"] = measures.ndcg(ranked, every, k, gain)
            values[f"map@{k}"] = measures.average_precision(ranked, every, k, relevant_from)
            values[f"recall@{k}"] = measures.recall(ranked, every, k, relevant_from)
        per_query[query] = values
    if not per_query:
        raise InvalidInput(f"No query has a picture of grade {relevant_from} or more, so there is nothing to measure.")
    return Report(per_query, groups or {})


def _figures(rows: list[Mapping[str, float]]) -> dict[str, Figure]:
    return {measure: _figure(np.array([row[measure] for row in rows])) for measure in rows[0]}


def _figure(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Figure:
    return Figure(float(values.mean()), *measures.interval(values), len(values))
