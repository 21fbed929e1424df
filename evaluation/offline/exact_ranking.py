"""Rankings of an evaluation set by exact search with embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evaluation.offline.embeddings import Embed, Prepare, embedded, served

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from evaluation.offline.sets import EvaluationSet
    from evaluation.offline.trec import Run

DEPTH = 100
"""Number of results to keep per ranking."""


def exact(
    one: EvaluationSet,
    embed: Embed,
    depth: int = DEPTH,
    how: Prepare = served,
    cache: Path | None = None,
    embed_query: Embed | None = None,
) -> tuple[Run, dict[str, str]]:
    """Rank the corpus for each query by cosine similarity, over all pairs.

    ``embed_query`` embeds queries, if they need another embedding than the corpus. Returns the ranking, and the reason
    for each skipped, unreadable picture.
    """
    vectors, corpus_names, skipped = embedded(one.corpus, embed, how, cache, f"{one.name}: corpus")
    if one.asks_itself and embed_query is None:
        rows = {name: row for row, name in enumerate(corpus_names)}
        query_names = [name for name in one.queries if name in rows]
        asked = vectors[[rows[name] for name in query_names]]
    else:
        asked, query_names, more = embedded(one.queries, embed_query or embed, how, cache, f"{one.name}: queries")
        skipped |= more
    run = rank(query_names, asked, corpus_names, vectors, depth + 1)
    return tidied(run, one, depth), skipped


def tidied(run: Run, one: EvaluationSet, depth: int) -> Run:
    """Remove each query from its own ranking if it is a picture of the corpus, and truncate rankings to a depth."""
    if not one.asks_itself:
        return {query: found[:depth] for query, found in run.items()}
    return {query: [hit for hit in found if hit[0] != query][:depth] for query, found in run.items()}


def rank(
    query_names: list[str],
    queries: NDArray[np.float32],
    corpus_names: list[str],
    corpus: NDArray[np.float32],
    depth: int = DEPTH,
) -> Run:
    """Rank float32 corpus [n, d] for each row of queries [m, d] by dot product.

    Ties are ordered by descending name, as in trec_eval.
    """
    last_first = np.argsort(np.array(corpus_names))[::-1]
    names, corpus = [corpus_names[row] for row in last_first], corpus[last_first]
    run: Run = {}
    for name, query in zip(query_names, queries, strict=True):
        scores = corpus @ query
        best = np.argsort(-scores, kind="stable")[:depth]
        run[name] = [(names[row], float(scores[row])) for row in best]
    return run
