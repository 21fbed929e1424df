"""Torch's embeddings of demo pictures, the reference for ONNX Runtime.

    python -m tests.reference_pictures        (in the training environment; after a new model/version 1 was published)

writes tests/data/reference.npz: names of 100 demo pictures, and their embeddings as float16 [100, 256].
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from visualsearch.imaging.preprocessing import decode

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "model_repository" / "image_encoder" / "1" / "model.onnx"
REFERENCE = ROOT / "tests" / "data" / "reference.npz"
PICTURES = ROOT / "demo" / "pictures"
COUNT = 100


def sample() -> list[str]:
    """Every so-manieth demo picture, by its path under demo/pictures."""
    files = sorted(file.relative_to(PICTURES).as_posix() for file in PICTURES.rglob("*.*"))
    return files[:: len(files) // COUNT][:COUNT]


def pixels(names: list[str]) -> np.ndarray:
    return np.stack([decode((PICTURES / name).read_bytes()).pixels for name in names])


def torch_embeddings(batch: np.ndarray) -> np.ndarray:
    """Embed with the backbone in torch and the shipped projection."""
    import onnx
    import torch
    from onnx.numpy_helper import to_array

    from encoders import backbones

    stored = {one.name: to_array(one) for one in onnx.load(MODEL).graph.initializer}
    name = json.loads(MODEL.with_name("card.json").read_text())["backbone"]["name"]
    with torch.inference_mode():
        features = backbones.load(name).network(torch.from_numpy(batch)).numpy()
    embeddings = features @ stored["linear.weight"].T + stored["linear.bias"]
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


if __name__ == "__main__":
    names = sample()
    REFERENCE.parent.mkdir(exist_ok=True)
    np.savez_compressed(REFERENCE, names=names, embeddings=torch_embeddings(pixels(names)).astype(np.float16))
