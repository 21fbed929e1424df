"""How much a corpus and its load need: plain sums out of measured figures. `visualsearch plan` prints them.

Every formula stands beside its line, every figure with its source. They size a first deployment; what it then measures
of itself (docs/deploy-kubernetes.md, "Sizes") comes before any of this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from visualsearch.domain.images import EMBEDDING_DIM

GB = 1e9
DAY_S = 86_400

RAW_BYTES = EMBEDDING_DIM * 4
CODE_BYTES = 32
"""A vector's code in the profile ivf_pq, m = 32 (milvus/collection.yaml)."""
ROW_BYTES = CODE_BYTES + 8 + 8 + 8 + 69
"""In memory for each row and replica: code, id in the index, primary key, timestamp, and scalars that filters need."""
LOADED_SHARE = 0.9
"""Of a query node's memory, as Milvus advises."""
SEGMENT_ROWS = 1_000_000
"""Raw vectors of 1 KB in a segment of Milvus' default size, 1 GB."""
NLIST = 4096
"""4 * sqrt(rows of a segment), rounded to a power of two."""
NPROBE = 64
SHARD_LIMIT = 16
"""Shards of one Milvus collection, at most."""

SCAN_BASE_MS = 4.7
"""benchmarks/results/serving.md, row `milvus` of the floor: CPU of a search in a small collection."""
CODES_PER_CPU_S = 40e6
"""benchmarks/results/scan.md: codes of 32 bytes that a CPU second compares by table look-ups."""
SEGMENT_CPU_MS = 0.2
"""Each segment finds the lists nearest to a query by itself: 4,096 x 256 multiplications and additions at 10 billion
operations a second. Reckoned, not measured."""
ENCODE_CPU_MS = 9.9
"""benchmarks/results/indexing.md, row `of it triton`: CPU of one picture's embedding without a graphics card."""
INDEX_CPU_MS = 3.9
"""benchmarks/results/indexing.md, row `of it indexer`."""
GATEWAY_CPU_MS = 7.2
"""benchmarks/results/serving.md, row `gateway`: CPU of one search with every core busy."""
POSTGRES_BYTES = 950
"""A picture's rows with their indexes: 2,099 pictures took 1.98 MB right after indexing."""
INTERACTION_BYTES = 80
"""A displayed result: 79,601 took 6.3 MB."""
POSTGRES_TABLE_ROWS = 100_000_000
"""Beyond so many rows a table is better kept in parts, by id: vacuum and index builds stay a matter of minutes."""
SHOWN = 10
BUSY = 0.6
"""Share of its cores that a server is planned to use: queues stay short, and one of a few may fail."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What one pod of each kind has, and what the corpus is like."""

    node_gb: float = 32
    node_cores: int = 8
    pod_cores: int = 4
    gateway_cores: int = 2
    replicas: int = 2
    """Copies of the loaded collection: at least two, so that a node may fail."""
    image_kb: float = 150
    renew_days: float = 30
    """Within so many days the whole corpus can be indexed once: a new model, or as much that is new."""
    gpu_images_s: float = 0
    """Images a second that one card embeds, as `python -m benchmarks.gpu` measures; 0: not known."""


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """What ``images`` pictures and ``qps`` searches a second need."""

    images: int
    qps: float
    shape: Shape

    @property
    def segments(self) -> int:
        """Images / rows of a segment."""
        return math.ceil(self.images / SEGMENT_ROWS)

    @property
    def codes_compared(self) -> float:
        """Images * nprobe / nlist: every segment looks into nprobe of its nlist lists; a small one into all."""
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
        """Best time of a search in Milvus: its CPU spread over one replica's cores, no further than its segments go."""
        cores = self.query_nodes / self.shape.replicas * self.shape.node_cores
        return SCAN_BASE_MS + (self.search_cpu_ms - SCAN_BASE_MS) / min(cores, self.segments)

    @property
    def node_disk_gb(self) -> float:
        """Images * raw bytes / nodes of one replica: raw vectors lie on the query nodes' disks by mmap."""
        return self.images * RAW_BYTES / GB / (self.query_nodes / self.shape.replicas)

    @property
    def shards(self) -> int:
        """One for each query node of a replica, 16 at most."""
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
        """Encodings / (card's rate * busy); None while the rate is not known."""
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
        """Images / rows of a part."""
        return math.ceil(self.images / POSTGRES_TABLE_ROWS)

    @property
    def interactions_gb_day(self) -> float:
        """Searches of a day * 10 shown * bytes; kept for VISUALSEARCH_RETENTION_DAYS."""
        return self.qps * DAY_S * SHOWN * INTERACTION_BYTES / GB

    @property
    def store_gb(self) -> float:
        """Images * (picture + raw vector + code and scalars) in the object store, before its own copies."""
        return self.images * (self.shape.image_kb * 1000 + RAW_BYTES + ROW_BYTES) / GB
