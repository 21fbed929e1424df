"""Search latency by stage, one client after the other: `python -m benchmarks.search`.

Beside the gateway's own stages stands what the same stages cost when they are called directly in this process.
"""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import numpy as np

from benchmarks.table import write
from visualsearch.images import prepare
from visualsearch.settings import Settings

PICTURES = Path(__file__).parents[1] / "demo" / "pictures"
WARM, COUNTED = 30, 300
STAGES = ("decode", "embed", "ann", "rank")


def main() -> None:
    """Search with pictures of the corpus and write the table."""
    files = sorted(file for file in PICTURES.rglob("*") if file.is_file())
    queries = [file.read_bytes() for file in files[:: max(1, len(files) // (WARM + COUNTED))]][: WARM + COUNTED]
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    gateway, wall, decode = [], [], []
    with httpx.Client(base_url=Settings.load().url, timeout=30) as client:
        for query in queries:
            begin = time.perf_counter()
            answer = (
                client.post("/search", files={"image": ("query", query)}, data={"k": "10"}).raise_for_status().json()
            )
            wall.append((time.perf_counter() - begin) * 1000)
            gateway.append(answer["latency_ms"])
            for stage in STAGES:
                stages[stage].append(answer["timings_ms"][stage])
            begin = time.perf_counter()
            prepare(query)
            decode.append((time.perf_counter() - begin) * 1000)
    counted = {**stages, "gateway, total": gateway, "client, round trip": wall, "decode, alone in this process": decode}
    rows = []
    for name, values in counted.items():
        p50, p95 = np.percentile(values[WARM:], [50, 95])
        rows.append((name, f"{p50:.1f}", f"{p95:.1f}"))
    note = (
        f"{len(queries) - WARM} searches with k = 10 after {WARM} to warm up, one at a time, against a running stack."
    )
    write("search", "Search latency by stage", "python -m benchmarks.search", ("stage", "p50 ms", "p95 ms"), rows, note)


if __name__ == "__main__":
    main()
