"""Write the table and the plot of the measurements."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.pyplot as plt

from benchmarks.ann.data import QUANTILES, resemblance
from benchmarks.ann.sweep import CANDIDATES
from benchmarks.table import RESULTS, grid, write
from indexer.releases.search_tuning import NOISE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.ann.data import Set
    from benchmarks.ann.sweep import Point

WANTED = (0.9, 0.95, 0.98, 0.99, 0.995)
COLOURS = ("#2e7d50", "#7cb342", "#00838f", "#c2185b", "#8d6e63", "#bcaaa4", "#9e9e9e", "#5c6bc0", "#f9a825")

NOTHING_MISSED = 2e-4
"""Position of recall 1 on the logarithmic axis: half of the smallest possible miss of 250 queries."""


def least(point: Point) -> float:
    """Return the recall on the kind of query with the lowest recall."""
    return min(point.recall.values())


def cheapest(points: Iterable[Point], recall: float) -> Point | None:
    """Of the fastest settings with at least this recall on every kind of query, return the one with the least work."""
    good = [point for point in points if least(point) >= recall]
    fastest = min((point.rescored_ms for point in good), default=0.0)
    equals = [point for point in good if point.rescored_ms <= NOISE * fastest]
    return min(equals, key=lambda point: (max(point.how.values()), point.candidates), default=None)


def recalls(points: Sequence[Point]) -> str:
    """Return a table of the recall of every setting, on the kind of query with the lowest recall."""
    lines: dict[tuple[str, str, str], dict[int, str]] = {}
    for point in points:
        lines.setdefault((point.data, point.index, _how(point)), {})[point.candidates] = f"{least(point):.3f}"
    heading = ("set", "index", "search", *(f"k' {count}" for count in CANDIDATES))
    return grid(heading, [(*line, *(found.get(count, "") for count in CANDIDATES)) for line, found in lines.items()])


def _how(point: Point) -> str:
    return ", ".join(f"{name} {value}" for name, value in point.how.items())


def _rows(points: Sequence[Point]) -> list[tuple[str, ...]]:
    rows = []
    for wanted in WANTED:
        one = cheapest(points, wanted)
        if one is None:
            best = max(points, key=least)
            rows.append((best.data, best.index, f"{wanted:g}", f"not reached; at best {least(best):.3f}", *[""] * 5))
            break
        rows.append(
            (
                *(one.data, one.index, f"{wanted:g}", f"{_how(one)}, k' {one.candidates}"),
                ", ".join(f"{value:.3f}" for value in one.recall.values()),
                f"{min(one.by_codes.values()):.3f}",
                *(f"{ms:.1f}" for ms in (one.ids_ms, one.candidates_ms, one.rescored_ms)),
            )
        )
    return rows


def _series(points: Sequence[Point]) -> dict[tuple[str, str], list[Point]]:
    series: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        series.setdefault((point.data, point.index), []).append(point)
    return series


def plot(sets: Sequence[Set], points: Sequence[Point]) -> None:
    """Plot for each set the best recall of an index within a time."""
    mpl.use("Agg")
    figure, panels = plt.subplots(1, len(sets), figsize=(6.5 * len(sets), 5), layout="constrained", squeeze=False)
    names = dict.fromkeys(index for _, index in _series(points))
    colours = dict(zip(names, itertools.cycle(COLOURS), strict=False))
    for axes, one in zip(panels[0], sets, strict=True):
        mine = {index: some for (data, index), some in _series(points).items() if data == one.name}
        for index, some in mine.items():
            front, best = [], 0.0
            for point in sorted(some, key=lambda point: point.rescored_ms):
                if least(point) > best:
                    best = least(point)
                    front.append(point)
            style = "--" if index.startswith("faiss") else "-"
            label = index if index.startswith("faiss") else f"Milvus {index}"
            axes.plot(
                [p.rescored_ms for p in front],
                [max(1 - least(p), NOTHING_MISSED) for p in front],
                style,
                marker=".",
                color=colours[index],
                label=label,
            )
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="ms a search, exact re-scoring included",
            ylabel="1 - recall@10 (0 stands at .0002)",
        )
        axes.invert_yaxis()
        axes.axhline(0.02, color="#000", linewidth=0.6)
        axes.set_title(f"{one.name}, {len(one.vectors):,} vectors")
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=8)
    figure.savefig(RESULTS / "ann.png", dpi=110)


def write_all(sets: Sequence[Set], points: Sequence[Point]) -> None:
    """Write results/ann.md and results/ann.png."""
    rows = [row for some in _series(points).values() for row in _rows(some)]
    likeness = [row for one in sets for row in resemblance(one)]
    kinds = "; ".join(f"{one.name}: {', '.join(f'{len(q)} {kind}' for kind, q in one.queries.items())}" for one in sets)
    note = "\n\n".join(
        (
            "The fastest setting that reaches a recall@10 on every kind of query. Recalls stand in this order, exact "
            f"search being 1 ({kinds}). `by codes` is the recall of the index' own first ten. Times are medians of one "
            "search at a time, all settings taking turns: ten ids alone, k' ids alone, and k' candidates with their "
            "raw vectors and exact scores, which is what a search of the gateway pays. faiss runs in process with one "
            "thread; Milvus is asked through `adapters/milvus`, with 2 shards, client and server on the same "
            "cores.",
            "![Recall and latency](ann.png)",
            "## Recall of every setting, on the kind of query that fares worst",
            recalls(points),
            "## How alike the sets are",
            grid(("set", "rows", "queries", "place", *(f"{q:.0%}" for q in QUANTILES)), likeness),
            "Quantiles of the exact score of what is found at the first and the tenth place. A made vector is a real "
            "one, moved along the difference of two of its hundred nearest (benchmarks/ann/data.py).",
        )
    )
    heading = ("set", "index", "recall wanted", "setting", "recall", "by codes", "ids ms", "k' ids ms", "rescored ms")
    write("ann", "Recall and latency of approximate search", "python -m benchmarks.ann", heading, rows, note)
    plot(sets, points)
