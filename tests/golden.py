"""Golden neighbours: the results of fixed queries among 100 demo pictures when the encoder was published.

    python -m tests.golden        (after a new model/version 1 was published)

writes tests/data/golden.json. The corpus is tests/data/reference.npz, by torch: not remade by what is tested.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
from onnx.numpy_helper import from_array, to_array

from tests.reference_pictures import MODEL, PICTURES, REFERENCE, ROOT
from visualsearch.domain.images import Box
from visualsearch.imaging.preprocessing import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

GOLDEN = ROOT / "tests" / "data" / "golden.json"
DEMO = ROOT / "demo"
KEPT, SHOWN = 20, 5
GAP = 0.02
"""Neighbours whose scores are nearer than this may change places."""
TOLERANCE = 0.02
"""How far a score may be from what it was: runtimes differ by less than .001."""

BOXES = {
    "queries/tiger.jpg": Box(20, 60, 120, 160),
    "pictures/animals/bison_leif_lodahl_01.webp": Box(10, 70, 100, 150),
    "pictures/people/beethoveo_ganson.jpg": Box(0, 50, 100, 140),
}
WHOLE = sorted(f"queries/{file.name}" for file in (DEMO / "queries").iterdir())


@cache
def queries() -> list[tuple[str, bytes, Box | None]]:
    """Fixed queries: pictures that are not in the corpus searched here, whole and in part."""
    every = sorted(file.relative_to(DEMO).as_posix() for file in PICTURES.rglob("*.*"))
    names = [*WHOLE, *every[5 :: len(every) // 10][:10]]
    asked = [(name, None) for name in names] + list(BOXES.items())
    return [(f"{name} {box or ''}".strip(), (DEMO / name).read_bytes(), box) for name, box in asked]


@cache
def corpus() -> tuple[list[str], NDArray[np.float32]]:
    """Names and embeddings, float32 [100, 256]."""
    with np.load(REFERENCE) as stored:
        embeddings = stored["embeddings"].astype(np.float32)
        return stored["names"].tolist(), embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


@cache
def session(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def embed(pixels: NDArray[np.uint8], model: bytes | None = None) -> NDArray[np.float32]:
    return session(model or MODEL.read_bytes()).run(["embedding"], {"pixels": pixels})[0]


def feature_maps(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return session(MODEL.read_bytes()).run(["feature_map"], {"pixels": pixels})[0]


def without_normalisation() -> bytes:
    """The shipped encoder, reading pixels as they are."""
    model = onnx.load(MODEL)
    for one in model.graph.initializer:
        name = one.name.rpartition(".")[2]
        if name in {"mean", "std"}:
            one.CopyFrom(from_array(np.full_like(to_array(one), name == "std"), one.name))
    return bytes(model.SerializeToString())


def neighbours(embedding: NDArray[np.float32], count: int) -> dict[str, float]:
    """The nearest of the corpus with their scores, best first."""
    names, embeddings = corpus()
    scores = embeddings @ embedding
    return {names[place]: round(float(scores[place]), 4) for place in np.argsort(-scores, kind="stable")[:count]}


def mistakes(embeddings: NDArray[np.float32]) -> dict[str, str]:
    """What is wrong with what the queries find, by query; differences that runtimes may make are none."""
    golden = json.loads(GOLDEN.read_text())
    found = {}
    for (name, *_), embedding in zip(queries(), embeddings, strict=True):
        wanted, given = golden[name], neighbours(embedding, SHOWN)
        least = min(wanted.values())
        before = [wanted.get(one, least) for one in given]
        if any(later > earlier + GAP for place, earlier in enumerate(before) for later in before[place + 1 :]):
            found[name] = f"other order: {list(given)}"
        elif min(before) < list(wanted.values())[SHOWN - 1] - GAP:
            found[name] = f"other neighbours: {list(given)}"
        elif max(abs(score - wanted[one]) for one, score in given.items()) > TOLERANCE:
            found[name] = f"other scores: {given}"
    return found


if __name__ == "__main__":
    made = embed(np.stack([decode(data, box).pixels for _, data, box in queries()]))
    told = {name: neighbours(one, KEPT) for (name, *_), one in zip(queries(), made, strict=True)}
    GOLDEN.write_text(json.dumps(told, indent=1) + "\n")
