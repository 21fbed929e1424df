"""What every index is asked: recall of many settings out of few searches, and what a search costs at each.

An index is anything with two calls: ``by_codes(query, count, **how)`` gives the ids of the nearest as the index orders
them, and ``rescored(query, count, **how)`` the scores of ``count`` candidates by their raw vectors, best first.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from rich.progress import track

from benchmarks.ann import pictures
from benchmarks.ann.data import Set, nearest
from visualsearch.domain.recall import TOP, Recall, compared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

CANDIDATES = (50, 100, 200, 400, 800)
NPROBES = (8, 16, 32, 64, 128, 256)
EFS = (50, 100, 200, 400, 800)
TIMED = 25
"""Searches of each setting that are timed, in turns with all others."""
WARM = 5


class Index(Protocol):
    """Something to search."""

    def by_codes(self, query: NDArray[np.float32], count: int, how: dict[str, int]) -> NDArray[np.int64]:
        """Ids alone, in the order of the index."""
        ...

    def rescored(self, query: NDArray[np.float32], count: int, how: dict[str, int]) -> NDArray[np.float32]:
        """Exact scores of so many candidates, best first."""
        ...


@dataclass(frozen=True)
class Point:
    """A setting of an index on a set, and what it gave: recall@10 by kind of query, milliseconds of one search."""

    data: str
    index: str
    how: dict[str, int]
    candidates: int
    recall: dict[str, float]
    """After re-scoring."""
    by_codes: dict[str, float]
    """Of the index' own first ten."""
    ids_ms: float
    """Median of a search for ten ids."""
    candidates_ms: float
    """Median of a search for as many ids as there are candidates."""
    rescored_ms: float
    """Median of the whole stage: candidates with their vectors, scored exactly."""


def swept(one: Set, name: str, make: Callable[[], Index], settings: Sequence[dict[str, int]]) -> list[Point]:
    """Measure an index at every setting and number of candidates, or read from out/ann what was measured before."""
    kept = pictures.KEPT / f"points-{one.name}-{len(one.vectors)}-{name.replace('/', '-')}.json"
    if not kept.exists():
        points = list(_measured(one, name, make(), settings))
        kept.write_text(json.dumps([asdict(point) for point in points]))
    return [Point(**point) for point in json.loads(kept.read_text())]


def _measured(one: Set, name: str, index: Index, settings: Sequence[dict[str, int]]) -> list[Point]:
    exact = {kind: nearest(one.vectors, queries, TOP)[0] for kind, queries in one.queries.items()}
    recalls = {}
    for how in track(settings, f"{name}: recall"):
        # A graph is searched wider than it is told to where more are asked for.
        depth = TOP if "ef" in how else max(CANDIDATES)
        for kind, queries in one.queries.items():
            found = [index.by_codes(query, depth, how) for query in queries]
            recalls[_key(how), kind] = _recalls(one, queries, found, exact[kind])
    costs = _costs(index, one.asked, settings, name)
    return [
        Point(
            one.name,
            name,
            how,
            count,
            {kind: recalls[_key(how), kind][count] for kind in one.queries},
            {kind: recalls[_key(how), kind][0] for kind in one.queries},
            *(costs[_key(how), count, what] for what in ("ids", "candidates", "rescored")),
        )
        for how in settings
        for count in _counts(how)
    ]


def _counts(how: dict[str, int]) -> list[int]:
    """Numbers of candidates that a setting can give."""
    return [count for count in CANDIDATES if count <= how.get("ef", count)]


def _key(how: dict[str, int]) -> str:
    return json.dumps(how, sort_keys=True)


def _recalls(
    one: Set, queries: NDArray[np.float32], found: Sequence[NDArray[np.int64]], exact: NDArray[np.float32]
) -> dict[int, float]:
    """Recall@10 by number of candidates; 0 stands for the index' own order."""
    sums = dict.fromkeys((0, *CANDIDATES), Recall())
    for query, ids, wanted in zip(queries, found, exact, strict=True):
        scores = one.vectors[ids] @ query
        sums[0] += compared(scores[:TOP], wanted)
        for count in CANDIDATES:
            sums[count] += compared(-np.sort(-scores[:count]), wanted)
    return {count: round(recall.value or 0.0, 4) for count, recall in sums.items()}


def _costs(
    index: Index, asked: NDArray[np.float32], settings: Sequence[dict[str, int]], name: str
) -> dict[tuple[str, int, str], float]:
    """Median milliseconds by setting, number of candidates and way of asking, all of them taking turns."""
    chance, spent = np.random.default_rng(0), {}
    for turn in track(range(TIMED + WARM), f"{name}: time"):
        query = asked[chance.integers(len(asked))]
        for how in settings:
            for count in _counts(how):
                for what, call, number in (
                    ("ids", index.by_codes, TOP),
                    ("candidates", index.by_codes, count),
                    ("rescored", index.rescored, count),
                ):
                    begin = time.perf_counter()
                    call(query, number, how)
                    if turn >= WARM:
                        spent.setdefault((_key(how), count, what), []).append(time.perf_counter() - begin)
    return {key: round(float(np.median(times)) * 1000, 3) for key, times in spent.items()}
