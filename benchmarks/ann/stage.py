"""Compare the cost of the ANN stage with a search for ids: `python -m benchmarks.ann.stage`, with a running stack.

All kinds of search alternate on the real set. The table has the fastest tenth, which is closest to the time on an idle
machine, and the median.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.ann import data
from benchmarks.ann.milvus_index import ServedIndex
from benchmarks.table import write
from visualsearch.domain.recall import CANDIDATES, TOP

if TYPE_CHECKING:
    from collections.abc import Callable

HOW = {"nprobe": 64}
TURNS, WARM = 150, 10


def main() -> None:
    """Measure and write the table."""
    real = data.real()
    index = ServedIndex(real, "ivf_pq")
    ways: dict[str, Callable[[np.ndarray], object]] = {
        f"{TOP} ids": lambda query: index.by_codes(query, TOP, HOW),
        f"{CANDIDATES} ids": lambda query: index.by_codes(query, CANDIDATES, HOW),
        "100 candidates re-scored": lambda query: index.rescored(query, 100, HOW),
        f"{CANDIDATES} candidates re-scored": lambda query: index.rescored(query, CANDIDATES, HOW),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(TURNS + WARM):
        query = real.asked[turn % len(real.asked)]
        for name, way in ways.items():
            begin = time.perf_counter()
            way(query)
            if turn >= WARM:
                spent[name].append((time.perf_counter() - begin) * 1000)
    fast = {name: float(np.quantile(times, 0.1)) for name, times in spent.items()}
    floor = fast[f"{CANDIDATES} ids"]
    rows = [(name, f"{fast[name]:.1f}", f"{np.median(spent[name]):.1f}", f"{fast[name] / floor:.2f}") for name in ways]
    note = f"{len(real.vectors):,} embeddings of real pictures, ivf_pq with 32 bytes a vector, nprobe {HOW['nprobe']}."
    heading = ("search", "fastest tenth, ms", "median, ms", f"of {CANDIDATES} ids alone")
    write("ann-stage", "The price of exact scores", "python -m benchmarks.ann.stage", heading, rows, note)


if __name__ == "__main__":
    main()
