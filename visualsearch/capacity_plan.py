"""Capacity planning: formulas over measured figures. `visualsearch plan` prints the results.

Each formula is documented beside its code, and each figure names its source. They size a first deployment. Once the
deployment runs, its own measurements take precedence (docs/deploy-kubernetes.md, "Sizes").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from visualsearch.domain.images import EMBEDDING_DIM

GB = 1e9
DAY_S = 86_400

RAW_BYTES = EMBEDDING_DIM * 4
CODE_BYTES = 32
"""Bytes of one vector's code in the profile ivf_pq, m = 32 (milvus/collection.yaml)."""
ROW_BYTES = CODE_BYTES + 8 + 8 + 8 + 69
"""Bytes in memory for each row and replica: code, id in the index, primary key, timestamp, and the scalars that filters
need."""
LOADED_SHARE = 0.9
"""Share of a query node's memory that may be used, as Milvus advises."""
SEGMENT_ROWS = 1_000_000
"""Raw vectors of 1 KB in a segment of Milvus' default size, 1 GB."""
NLIST = 4096
"""4 * sqrt(rows of a segment), rounded to a power of two."""
NPROBE = 64
SHARD_LIMIT = 16
"""Largest number of shards of one Milvus collection."""

SCAN_BASE_MS = 4.7
"""CPU of a search in a small collection (benchmarks/results/serving.md, row `milvus` of the floor)."""
CODES_PER_CPU_S = 40e6
"""Codes of 32 bytes that a CPU second compares by table look-ups (benchmarks/results/scan.md)."""
SEGMENT_CPU_MS = 0.2
"""CPU with which each segment finds the lists nearest to a query: 4,096 x 256 multiplications and additions at 10
billion operations a second. Calculated, not measured."""
ENCODE_CPU_MS = 9.9
"""CPU of one picture's embedding without a graphics card (benchmarks/results/indexing.md, row `of it triton`)."""
INDEX_CPU_MS = 3.9
"""CPU of the indexer for one picture (benchmarks/results/indexing.md, row `of it indexer`)."""
GATEWAY_CPU_MS = 7.2
"""CPU of one search with every core busy (benchmarks/results/serving.md, row `gateway`)."""
POSTGRES_BYTES = 950
"""Bytes of one picture's rows and their indexes: 2,099 pictures took 1.98 MB right after indexing."""
INTERACTION_BYTES = 80
"""Bytes of one displayed result: 79,601 took 6.3 MB."""
POSTGRES_TABLE_ROWS = 100_000_000
"""Rows above which a table should be partitioned by id, so that vacuum and index builds take minutes at most."""
SHOWN = 10
BUSY = 0.6
"""Planned utilisation of a server's cores. It keeps queues short and leaves room for one failed server of a few."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Resources of one pod of each kind, and properties of the corpus."""

    node_gb: float = 32
    node_cores: int = 8
    pod_cores: int = 4
    gateway_cores: int = 2
    replicas: int = 2
    """Copies of the loaded collection: at least two, so that a node may fail."""
    image_kb: float = 150
    renew_days: float = 30
    """Days in which the whole corpus can be indexed once, for a new model or as many new images."""
    gpu_images_s: float = 0
    """Images a second that one card embeds, as `python -m benchmarks.gpu` measures; 0 means unknown."""


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """Resources that ``images`` pictures and ``qps`` searches a second need."""

    images: int
    qps: float
    shape: Shape

    @property
    def segments(self) -> int:
        """Images / rows of a segment."""
        return math.ceil(self.images / SEGMENT_ROWS)

    @property
    def codes_compared(self) -> float:
        """Images * nprobe / nlist.

        Each segment probes nprobe of its nlist lists; a small segment probes all of them.
        """
        lists = min(NLIST, max(1, 4 * math.sqrt(min(self.images, SEGMENT_ROWS))))
        return self.images * min(1, NPROBE / lists)

    @property
    def search_cpu_ms(self) -> float:
        """Milvus' CPU of one search: base + segments * CPU of a segment + codes compared / codes a CPU second."""
        return SCAN_BASE_MS + self.segments * SEGMENT_CPU_MS + self.codes_compared / CODES_PER_CPU_S * 1000

    @property
    def loaded_gb(self) -> float:
        """Images * bytes of a row, for one replica."""
        return self.images * ROW_BYTES / GB

    @property
    def query_nodes(self) -> int:
        """Replicas * max(loaded / (memory * .9), searches * CPU / (cores * busy * replicas)), each rounded up."""
        by_memory = math.ceil(self.loaded_gb / (self.shape.node_gb * LOADED_SHARE))
        cores = self.qps * self.search_cpu_ms / 1000 / BUSY
        by_cpu = math.ceil(cores / (self.shape.node_cores * self.shape.replicas))
        return self.shape.replicas * max(by_memory, by_cpu, 1)

    @property
    def scan_ms(self) -> float:
        """Best time of a search in Milvus: its CPU spread over one replica's cores, at most one core per segment."""
        cores = self.query_nodes / self.shape.replicas * self.shape.node_cores
        return SCAN_BASE_MS + (self.search_cpu_ms - SCAN_BASE_MS) / min(cores, self.segments)

    @property
    def node_disk_gb(self) -> float:
        """Images * raw bytes / nodes of one replica: the query nodes keep raw vectors on disk (mmap)."""
        return self.images * RAW_BYTES / GB / (self.query_nodes / self.shape.replicas)

    @property
    def shards(self) -> int:
        """One for each query node of a replica, at most 16."""
        return min(SHARD_LIMIT, self.query_nodes // self.shape.replicas)

    @property
    def index_images_s(self) -> float:
        """Images / (days * 86,400)."""
        return self.images / (self.shape.renew_days * DAY_S)

    @property
    def encodings_s(self) -> float:
        """Searches and indexed images together."""
        return self.qps + self.index_images_s

    @property
    def triton_cpu_pods(self) -> int:
        """Encodings * CPU / (cores * busy)."""
        return max(2, math.ceil(self.encodings_s * ENCODE_CPU_MS / 1000 / (self.shape.pod_cores * BUSY)))

    @property
    def triton_gpu_pods(self) -> int | None:
        """Encodings / (card's rate * busy); None if the rate is unknown."""
        if not self.shape.gpu_images_s:
            return None
        return max(2, math.ceil(self.encodings_s / (self.shape.gpu_images_s * BUSY)))

    @property
    def gateways(self) -> int:
        """Searches * CPU / (cores * busy)."""
        return max(2, math.ceil(self.qps * GATEWAY_CPU_MS / 1000 / (self.shape.gateway_cores * BUSY)))

    @property
    def indexers(self) -> int:
        """Indexed images * CPU / (cores * busy)."""
        return max(1, math.ceil(self.index_images_s * INDEX_CPU_MS / 1000 / (self.shape.gateway_cores * BUSY)))

    @property
    def postgres_gb(self) -> float:
        """Images * bytes of their rows and indexes."""
        return self.images * POSTGRES_BYTES / GB

    @property
    def postgres_parts(self) -> int:
        """Images / rows of a partition."""
        return math.ceil(self.images / POSTGRES_TABLE_ROWS)

    @property
    def interactions_gb_day(self) -> float:
        """Searches of a day * 10 displayed results * bytes; kept for VISUALSEARCH_RETENTION_DAYS."""
        return self.qps * DAY_S * SHOWN * INTERACTION_BYTES / GB

    @property
    def store_gb(self) -> float:
        """Images * (picture + raw vector + code and scalars) in the object store, before its own replication."""
        return self.images * (self.shape.image_kb * 1000 + RAW_BYTES + ROW_BYTES) / GB
