"""The gain of a learned rotation for Milvus' IVF_PQ: `python -m benchmarks.opq [MODEL.onnx]`, with a running stack.

Vectors are embeddings of the public pictures and of views of them; queries are views that are not indexed. Recall is
measured in the real Milvus, without and with exact re-scoring of the candidates. The shipped encoder already includes
its rotation, so use an encoder without one to see the gain.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from pymilvus import DataType, MilvusClient

from benchmarks.local_stack import stack_settings
from benchmarks.quality import SHIPPED, label
from benchmarks.table import write
from evaluation.datasets.fetch import DATA, SOURCES, fetch
from evaluation.offline.embeddings import embeddings_of, onnx_embed, pixels_of
from evaluation.offline.sets import picture_files
from export import opq
from visualsearch.domain.images import EMBEDDING_DIM, IMAGE_SIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACKAGES = {
    "openclipart-png": 1,
    "gcompris-qt-data": 1,
    "tuxpaint-stamps-default": 1,
    "opencv-doc": 4,
    "emoji-datasource-google": 6,
    "fluent-emoji-3d": 6,
}
"""Sources of the pictures, and the sampling interval of each."""
QUERIES = 500
NLIST, NPROBE, K, CANDIDATES = 256, 64, 10, 200
INSERTED_AT_ONCE = 4000
CACHE = Path("out/cache")


def views(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Crop each picture to between half and all of its area, at a random position, and mirror every second one."""
    chance = np.random.default_rng(seed)
    made = np.empty_like(pixels)
    for row, one in enumerate(pixels):
        side = round(IMAGE_SIDE * chance.uniform(0.5, 1) ** 0.5)
        left, top = chance.integers(0, IMAGE_SIDE - side + 1, 2)
        view = Image.fromarray(one).crop((left, top, left + side, top + side)).resize((IMAGE_SIDE, IMAGE_SIDE))
        made[row] = np.asarray(view)[:, :: -1 if row % 2 else 1]
    return made


def embeddings(model: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the indexed vectors, float32 [n, 256], and the queries, [500, 256]; cached in parts in out/cache."""
    files = {}
    for name, step in PACKAGES.items():
        found = picture_files(fetch(SOURCES[name], DATA))
        files |= {f"{name}/{one}": found[one] for one in list(found)[::step]}
    pixels, _, _ = pixels_of(files, cache=CACHE)
    chosen = np.sort(np.random.default_rng(0).choice(len(pixels), QUERIES, replace=False))
    parts = {
        "pictures": lambda: pixels,
        "views 1": lambda: views(pixels, 1),
        "views 2": lambda: views(pixels, 2),
        "asked": lambda: views(pixels[chosen], 3),
    }
    digest = hashlib.sha256(model.read_bytes()).hexdigest()[:16]
    made = {}
    for name, part in parts.items():
        kept = CACHE / f"opq-{digest}-{name.replace(' ', '-')}.npy"
        if not kept.exists():
            np.save(kept, embeddings_of(part(), onnx_embed(model)))
        made[name] = np.load(kept)
    return np.concatenate([made["pictures"], made["views 1"], made["views 2"]]), made["asked"]


def rotation(model: Path, vectors: NDArray[np.float32], subvectors: int) -> tuple[NDArray[np.float32], float]:
    """Learn a rotation or read it from out/cache; also return the CPU seconds of learning it."""
    kept = CACHE / f"opq-{hashlib.sha256(model.read_bytes()).hexdigest()[:16]}-rotation-{subvectors}.npz"
    if not kept.exists():
        begin = time.process_time()
        learned = opq.learned(vectors[::2], subvectors)
        np.savez(kept, rotation=learned, seconds=time.process_time() - begin)
    with np.load(kept) as stored:
        return stored["rotation"], float(stored["seconds"])


def indexed(client: MilvusClient, name: str, vectors: NDArray[np.float32], subvectors: int) -> None:
    """Create a collection with an IVF_PQ index and load it."""
    client.drop_collection(name)
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=EMBEDDING_DIM)
    client.create_collection(name, schema=schema, num_shards=1)
    for start in range(0, len(vectors), INSERTED_AT_ONCE):
        part = vectors[start : start + INSERTED_AT_ONCE]
        client.insert(name, [{"id": start + row, "embedding": vector} for row, vector in enumerate(part)])
    client.flush(name)
    index = MilvusClient.prepare_index_params()
    how = {"m": subvectors, "nbits": 8, "nlist": NLIST}
    index.add_index("embedding", metric_type="IP", index_type="IVF_PQ", params=how)
    client.create_index(name, index)
    while client.describe_index(name, "embedding")["pending_index_rows"]:
        time.sleep(0.2)
    client.load_collection(name)


def searched(client: MilvusClient, name: str, asked: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the ids of the 200 best by their codes alone, int64 [n, 200]."""
    options = {"limit": CANDIDATES, "search_params": {"params": {"nprobe": NPROBE}}, "consistency_level": "Strong"}
    found = [client.search(name, data=[query], **options)[0].ids for query in asked]
    return np.array([list(ids) for ids in found], np.int64)


def recalls(found: NDArray[np.int64], asked: NDArray[np.float32], vectors: NDArray[np.float32]) -> tuple[float, float]:
    """Return recall@10 against exact search: in the order of the codes, and re-scored from the raw vectors."""
    by_codes, rescored = [], []
    for ids, query in zip(found, asked, strict=True):
        wanted = set(np.argsort(-(vectors @ query))[:K])
        again = ids[np.argsort(-(vectors[ids] @ query))[:K]]
        by_codes.append(len(wanted & set(ids[:K])) / K)
        rescored.append(len(wanted & set(again)) / K)
    return float(np.mean(by_codes)), float(np.mean(rescored))


def measured(
    client: MilvusClient,
    model: Path,
    vectors: NDArray[np.float32],
    asked: NDArray[np.float32],
    subvectors: int,
    turn: NDArray[np.float32],
) -> tuple[float, float]:
    """Index and search the vectors in a rotated space, or read the earlier result from out/cache."""
    digest = hashlib.sha256(model.read_bytes() + turn.tobytes()).hexdigest()[:16]
    kept = CACHE / f"opq-{digest}-recalls-{subvectors}.npy"
    if not kept.exists():
        indexed(client, "opq_benchmark", vectors @ turn.T, subvectors)
        found = searched(client, "opq_benchmark", asked @ turn.T)
        np.save(kept, recalls(found, asked, vectors))
    by_codes, rescored = np.load(kept)
    return float(by_codes), float(rescored)


def main(model: Path) -> None:
    """Measure and write the table."""
    vectors, asked = embeddings(model)
    settings = stack_settings()
    credentials = {"user": settings.milvus_user, "password": settings.milvus_password.get_secret_value()}
    client = MilvusClient(settings.milvus_uri, **credentials)
    noise = np.random.default_rng(0).standard_normal((EMBEDDING_DIM, EMBEDDING_DIM)).astype(np.float32)
    rows = []
    for subvectors in (32, 64):
        learned, learning_s = rotation(model, vectors, subvectors)
        turns = {
            "as exported": (np.eye(EMBEDDING_DIM, dtype=np.float32), 0.0),
            "a random rotation": (opq.nearest_rotation(noise), 0.0),
            "the learned rotation (OPQ)": (learned, learning_s),
        }
        for space, (turn, seconds) in turns.items():
            by_codes, rescored = measured(client, model, vectors, asked, subvectors, turn)
            rows.append((subvectors, space, f"{by_codes:.3f}", f"{rescored:.3f}", f"{seconds:.0f}"))
            print(rows[-1], flush=True)
    client.drop_collection("opq_benchmark")
    note = (
        f"{len(vectors)} vectors of {label(model)}, {len(asked)} queries, nlist {NLIST}, nprobe {NPROBE}, "
        f"one segment; truth is exact search. Re-scored: the first {CANDIDATES} by codes, put in order by their raw "
        "vectors, as the gateway does. The rotation is learned from every second of the indexed vectors in "
        f"{opq.ROUNDS} rounds; queries were not among them."
    )
    heading = ("m (bytes a vector)", "space", "recall@10 by codes", "re-scored", "learning, CPU s")
    command = " ".join(["python -m benchmarks.opq", *sys.argv[1:]])
    write("opq", "A learned rotation before product quantisation", command, heading, rows, note)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED)
