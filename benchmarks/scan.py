"""The cost of a search in Milvus by the number of compared codes, and the memory per row.

    python -m benchmarks.scan        # against the running stack, in a separate collection that is dropped at the end

`visualsearch plan` takes CODES_PER_CPU_S from here for its query nodes. Training the codes takes most of the time.
"""

from __future__ import annotations

import time

import numpy as np
import psutil
from pymilvus import DataType, MilvusClient
from rich.progress import track

from benchmarks.local_stack import stack_settings
from benchmarks.table import write
from compose import runner

NAME = "benchmark_scan"
ROWS, DIM, BATCH = 100_000, 256, 10_000
CENTRES = 2000
M, NLIST = 32, 1024
NPROBES = (8, 32, 128, 512)
SEARCHES = 200
TOP = 200


def vectors(count: int, random: np.random.Generator, centres: np.ndarray) -> np.ndarray:
    """Return unit vectors, float32 [count, 256], clustered around centres like embeddings of similar pictures."""
    rows = centres[random.integers(len(centres), size=count)] + 0.5 * random.standard_normal((count, DIM)) / DIM**0.5
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def fill(client: MilvusClient, random: np.random.Generator, centres: np.ndarray) -> None:
    """Insert the rows and index them as one segment."""
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=DIM)
    client.create_collection(NAME, schema=schema, num_shards=1)
    for start in track(range(0, ROWS, BATCH), "inserting"):
        rows = vectors(BATCH, random, centres)
        client.insert(NAME, [{"id": start + at, "embedding": row} for at, row in enumerate(rows)])
    client.flush(NAME)
    index = client.prepare_index_params()
    params = {"m": M, "nbits": 8, "nlist": NLIST}
    index.add_index("embedding", index_type="IVF_PQ", metric_type="IP", params=params)
    client.create_index(NAME, index)
    while client.describe_index(NAME, "embedding")["pending_index_rows"]:
        time.sleep(1)


def cost(client: MilvusClient, milvus: psutil.Process, queries: np.ndarray, nprobe: int) -> tuple[float, float]:
    """Return the server's CPU time and the wall time of a search, in ms."""
    for query in queries[:20]:
        client.search(NAME, [query], limit=TOP, search_params={"params": {"nprobe": nprobe}})
    begin, before = time.perf_counter(), sum(milvus.cpu_times()[:2])
    for query in queries:
        client.search(NAME, [query], limit=TOP, search_params={"params": {"nprobe": nprobe}})
    spent = sum(milvus.cpu_times()[:2]) - before
    return spent / len(queries) * 1000, (time.perf_counter() - begin) / len(queries) * 1000


def main() -> None:
    """Measure and write the table."""
    settings = stack_settings()
    milvus = psutil.Process(runner.status(settings.home)["milvus"]["pid"])
    client = MilvusClient(
        settings.milvus_uri, user=settings.milvus_user, password=settings.milvus_password.get_secret_value()
    )
    random = np.random.default_rng(0)
    centres = random.standard_normal((CENTRES, DIM)) / DIM**0.5
    try:
        fill(client, random, centres)
        client.load_collection(NAME)
        queries = vectors(SEARCHES, random, centres)
        before = sum(milvus.cpu_times()[:2])
        time.sleep(10)
        idle = (sum(milvus.cpu_times()[:2]) - before) / 10
        rows = []
        for nprobe in track(NPROBES, "searching"):
            cpu, wall = cost(client, milvus, queries, nprobe)
            rows.append((nprobe, round(ROWS * nprobe / NLIST), cpu - idle * wall, wall))
    finally:
        client.drop_collection(NAME)
    slope, base = np.polyfit([row[1] for row in rows], [row[2] for row in rows], 1)
    write(
        "scan",
        "What comparing codes costs Milvus",
        "python -m benchmarks.scan",
        ("nprobe", "codes compared", "Milvus' CPU ms a search", "wall ms a search"),
        [(nprobe, f"{codes:,}", f"{cpu:.2f}", f"{wall:.2f}") for nprobe, codes, cpu, wall in rows],
        f"{ROWS:,} rows of 256 numbers in one segment, IVF_PQ with m = {M}, nlist = {NLIST}; the best {TOP} without "
        f"their vectors, {SEARCHES} searches one at a time; what Milvus spends idle ({idle * 100:.0f} % of a core) is "
        f"taken off. A line through it: {base:.1f} ms for each search and {1 / slope / 1000:.1f} million codes a "
        "CPU second.",
    )


if __name__ == "__main__":
    main()
