"""The gain of several views of a query, or of another fit into the square: `python -m benchmarks.views [MODEL]`."""

from __future__ import annotations

import hashlib
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.quality import SHIPPED, label, reports
from benchmarks.table import write
from evaluation.offline import evaluate, query_views
from evaluation.offline.embeddings import onnx_embed, served
from evaluation.offline.report import PRIMARY, Report
from visualsearch.domain.images import IMAGE_SIDE

if TYPE_CHECKING:
    from collections.abc import Set

    from numpy.typing import NDArray

    from evaluation.offline.embeddings import Embed, Prepare

SETS = ("emoji-google-twitter", "emoji-twitter-fluent", "openclipart", "tuxpaint", "edits")
QUERY_VIEWS = {
    "squashed (as served)": [],
    "+ mirror": [query_views.mirrored],
    "+ centre crop": [query_views.centred],
    "+ mirror + centre crop": [query_views.mirrored, query_views.centred],
}
FITS = {"letterboxed, white": query_views.letterboxed, "cropped to a square": query_views.cropped}
TIMED = 50


def median_ms(embed: Embed, pixels: NDArray[np.uint8]) -> float:
    """Return the median milliseconds of 50 embeddings."""
    spent = []
    for _ in range(TIMED):
        begin = time.perf_counter()
        embed(pixels)
        spent.append(time.perf_counter() - begin)
    return float(np.median(spent)) * 1000


def judged_on(embed: Embed, name: str, how: Prepare = served, embed_query: Embed | None = None) -> Report:
    """Evaluate an embedding on a public set, with the given preprocessing and query embedding."""
    one = evaluate.public_set(name)
    return evaluate.on_set(one, embed, how=how, pixels=evaluate.CACHE, embed_query=embed_query)[0]


def among(report: Report, queries: Set[str]) -> Report:
    """Return the report of some of the queries, ordered by name."""
    return Report({query: report.per_query[query] for query in sorted(queries)}, report.groups)


def main(model: Path) -> None:
    """Evaluate each variant on some of the sets and write the table."""
    embed = onnx_embed(model)
    one = np.random.default_rng(0).integers(0, 256, (1, IMAGE_SIDE, IMAGE_SIDE, 3), dtype=np.uint8)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    found: dict[str, tuple[dict[str, Report], float]] = {}
    for name, chosen in QUERY_VIEWS.items():
        embed_query = query_views.averaged(embed, chosen)
        judge = partial(judged_on, embed, embed_query=embed_query if chosen else None)
        found[name] = reports(f"{digest} {name}", judge, SETS), median_ms(embed_query, one)
    plain, plain_ms = found["squashed (as served)"]
    for name, how in FITS.items():
        found[name] = reports(f"{digest} {name}", partial(judged_on, embed, how=how), SETS), plain_ms
    rows = []
    for name, (judged, spent) in found.items():
        cells = []
        for part in SETS:
            measure = "recall@1" if part == "edits" else PRIMARY
            both = judged[part].per_query.keys() & plain[part].per_query.keys()  # a fit may make a picture too small
            gain = among(judged[part], both).difference(among(plain[part], both), measure)
            told = f" ({gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}])" if judged is not plain else ""
            cells.append(f"{judged[part].overall[measure].mean:.3f}{told}")
        rows.append((name, *cells, f"{spent:.1f}"))
    note = (
        "nDCG@10; recall@1 for edits. In parentheses the paired difference from what serves, with its 95% interval. "
        "Views: of the query alone, embeddings averaged; the corpus has one embedding a picture. Fits: of query and "
        f"corpus. Milliseconds: to embed one query in process, {label(model)}."
    )
    heading = ("way", *SETS, "embed ms")
    write(
        "views", "More views of a query, other fits into the square", "python -m benchmarks.views", heading, rows, note
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED)
