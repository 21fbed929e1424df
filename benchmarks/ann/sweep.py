"""Sweep the settings of an index: recall of many settings from few searches, and the cost of a search at each.

An index has two methods: ``by_codes(query, count, how)`` returns the ids of the nearest in the order of the index, and
``rescored(query, count, how)`` the scores of ``count`` candidates from their raw vectors, best first.
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
"""Number of timed searches of each setting, alternating with all other settings."""
WARM = 5


class Index(Protocol):
    """An index that can be searched in two ways."""

    def by_codes(self, query: NDArray[np.float32], count: int, how: dict[str, int]) -> NDArray[np.int64]:
        """Return only ids, in the order of the index."""
        ...

    def rescored(self, query: NDArray[np.float32], count: int, how: dict[str, int]) -> NDArray[np.float32]:
        """Return the exact scores of ``count`` candidates, best first."""
        ...


@dataclass(frozen=True)
class Point:
    """A setting of an index on a set, with its results: recall@10 by kind of query, and milliseconds per search."""

    data: str
    index: str
    how: dict[str, int]
    candidates: int
    recall: dict[str, float]
    """Recall after re-scoring."""
    by_codes: dict[str, float]
    """Recall of the index's own first ten."""
    ids_ms: float
    """Median of a search for ten ids."""
    candidates_ms: float
    """Median of a search for as many ids as there are candidates."""
    rescored_ms: float
    """Median of the whole stage: candidates with their vectors, scored exactly."""


def swept(one: Set, name: str, make: Callable[[], Index], settings: Sequence[dict[str, int]]) -> list[Point]:
    """Measure an index at every setting and number of candidates. Read earlier measurements from out/ann."""
    kept = pictures.KEPT / f"points-{one.name}-{len(one.vectors)}-{name.replace('/', '-')}.json"
    if not kept.exists():
        points = list(_measured(one, name, make(), settings))
        kept.write_text(json.dumps([asdict(point) for point in points]))
    return [Point(**point) for point in json.loads(kept.read_text())]


def _measured(one: Set, name: str, index: Index, settings: Sequence[dict[str, int]]) -> list[Point]:
    exact = {kind: nearest(one.vectors, queries, TOP)[0] for kind, queries in one.queries.items()}
    recalls = {}
    for how in track(settings, f"{name}: recall"):
        # HNSW widens its search beyond ef if more results are requested.
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
    """Return the numbers of candidates that a setting supports."""
    return [count for count in CANDIDATES if count <= how.get("ef", count)]


def _key(how: dict[str, int]) -> str:
    return json.dumps(how, sort_keys=True)


def _recalls(
    one: Set, queries: NDArray[np.float32], found: Sequence[NDArray[np.int64]], exact: NDArray[np.float32]
) -> dict[int, float]:
    """Return recall@10 by number of candidates; 0 stands for the index's own order."""
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
    """Return median milliseconds by setting, number of candidates and kind of search, measured alternately."""
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
