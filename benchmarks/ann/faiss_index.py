"""faiss in process, with one thread per search: the same kinds of index without the cost of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import faiss
import numpy as np

from benchmarks.ann import pictures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.ann.data import Set

TRAINED_ON = 65_536
"""The sample size that faiss itself uses for 8-bit codes."""


class FaissIndex:
    """An index given by its faiss factory string, such as ``IVF256,PQ32`` or ``HNSW16``; cached in out/ann."""

    def __init__(self, one: Set, factory: str) -> None:
        faiss.omp_set_num_threads(1)  # with more threads, training hung on two cores
        self._vectors = one.vectors
        kept = pictures.KEPT / f"faiss-{one.name}-{len(one.vectors)}-{factory.replace(',', '-')}"
        if not kept.exists():
            index = faiss.index_factory(one.vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
            if factory.startswith("HNSW"):
                index.hnsw.efConstruction = 200
            sample = np.random.default_rng(0).permutation(len(one.vectors))[:TRAINED_ON]
            index.train(one.vectors[sample])
            index.add(one.vectors)
            faiss.write_index(index, str(kept))
        self._index = faiss.read_index(str(kept))

    def by_codes(self, query: NDArray[np.float32], count: int, how: dict[str, int]) -> NDArray[np.int64]:
        """Return only ids, in the order of the index."""
        ids = self._index.search(query[None], count, params=self._how(how, count))[1][0]
        return ids[ids >= 0]

    def rescored(self, query: NDArray[np.float32], count: int, how: dict[str, int]) -> NDArray[np.float32]:
        """Return the exact scores of ``count`` candidates, best first."""
        ids = self.by_codes(query, count, how)
        return -np.sort(-(self._vectors[ids] @ query))

    def _how(self, how: dict[str, int], count: int) -> faiss.SearchParameters:
        if "ef" in how:
            return faiss.SearchParametersHNSW(efSearch=max(how["ef"], count))
        params = faiss.SearchParametersIVF(nprobe=how["nprobe"])
        if isinstance(self._index, faiss.IndexPreTransform):
            return faiss.SearchParametersPreTransform(index_params=params)
        return params
