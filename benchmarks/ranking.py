"""The cost of ranking: alone at k' = 200 and 1,000, and the whole stage of a running gateway.

    python -m benchmarks.ranking [URL]

writes results/ranking.md. Without a URL it skips the gateway's stage.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import httpx
import numpy as np

from benchmarks import table
from gateway.search.ranking import rank
from visualsearch.domain.images import EMBEDDING_DIM
from visualsearch.domain.search import Candidates, NearDuplicates

REPEATS = 300
SEARCHES = 60
QUERY = Path(__file__).parents[1] / "demo" / "queries" / "tiger.jpg"


def candidates(count: int, copies: float) -> Candidates:
    """Return candidates, a share of which are copies of others."""
    random = np.random.default_rng(0)
    different = random.integers(0, 2**64, max(1, round(count * (1 - copies))), np.uint64)
    pictures = random.integers(0, len(different), count) if copies else np.arange(count)
    phashes = different[pictures]
    embeddings = random.normal(size=(len(different), EMBEDDING_DIM)).astype(np.float32)[pictures]
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    scores = np.linspace(1, 0.5, count, dtype=np.float32)
    mirrored = random.integers(0, 2**64, count, np.uint64)
    return Candidates(np.arange(1, count + 1), scores, phashes, mirrored, True, embeddings=embeddings)


def figures(times: list[float]) -> list[str]:
    """Return median and 95th percentile."""
    return [f"{np.quantile(times, part):.2f}" for part in (0.5, 0.95)]


def alone(count: int, copies: float, k: int) -> list[object]:
    """Return a row of the table."""
    found, times = candidates(count, copies), []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        rank(found, NearDuplicates.COLLAPSE, k)
        times.append((time.perf_counter() - begin) * 1000)
    return [
        f"rank, k' = {count:,}, k = {k}, {copies:.0%} copies",
        *(f"{np.quantile(times, q):.2f}" for q in (0.5, 0.95)),
    ]


def stage(url: str, k: int) -> list[object]:
    """Return the row of a gateway's rank stage: ranking, and one query to Postgres for exclusions and rows."""
    with httpx.Client(base_url=url, timeout=30) as client:
        times = [
            client.post("/search", files={"image": QUERY.read_bytes()}, data={"k": str(k)}).json()["timings_ms"]["rank"]
            for _ in range(SEARCHES)
        ]
    return [f"gateway, whole stage, k = {k}", *figures(times)]


if __name__ == "__main__":
    rows = [alone(count, copies, k) for count in (200, 1000) for k in (50, 200) for copies in (0, 0.5, 0.95)]
    rows += [stage(sys.argv[1], k) for k in (50, 200)] if len(sys.argv) > 1 else []
    note = f"Milliseconds, {REPEATS} repeats alone, {SEARCHES} searches one after another for the stage."
    table.write("ranking", "Ranking", "python -m benchmarks.ranking URL", ["what", "p50", "p95"], rows, note)
