"""Recall and latency of approximate search: `python -m benchmarks.ann [--only real|synthetic]`, with a running stack.

Run `python -m benchmarks.ann.pictures` first to embed the pictures. Measurements are stored in out/ann by set and
index, collections in Milvus and indexes in files, so that a run resumes where the last one ended.
"""

from __future__ import annotations

import argparse

from benchmarks.ann import data, report
from benchmarks.ann.faiss_index import FaissIndex
from benchmarks.ann.milvus_index import ServedIndex
from benchmarks.ann.sweep import EFS, NPROBES, Point, swept

LISTS = [{"nprobe": nprobe} for nprobe in NPROBES]
GRAPH = [{"ef": ef} for ef in EFS]
FAISS = {"IVF256,PQ32": LISTS, "IVF1024,PQ32": LISTS, "OPQ32,IVF256,PQ32": LISTS, "HNSW16": GRAPH}
SERVED = {
    "real": {
        "ivf_pq": LISTS,
        "hnsw": GRAPH,
        "ivf_pq/nlist=1024": LISTS,
        "ivf_pq/m=64": LISTS,
        "hnsw/M=16": GRAPH,
    },
    "synthetic": {"ivf_pq": LISTS, "hnsw": GRAPH, "ivf_pq/nlist=1024": LISTS},
}


def main() -> None:
    """Do the missing measurements, then write the table and the plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(SERVED))
    only = parser.parse_args().only
    real = data.real()
    points: list[Point] = []
    sets = [one for one in (real, data.synthetic(real)) if only in (None, one.name)]
    for one in sets:
        for profile, settings in SERVED[one.name].items():
            points += swept(one, profile, lambda one=one, name=profile: ServedIndex(one, name), settings)
        for factory, settings in FAISS.items():
            points += swept(one, f"faiss {factory}", lambda one=one, name=factory: FaissIndex(one, name), settings)
    report.write_all(sets, points)


if __name__ == "__main__":
    main()
