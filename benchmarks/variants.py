"""Size, speed and faithfulness of an encoder's variants and of other backbones.

    python -m benchmarks.variants [MODEL.onnx]

Runs in the training environment, with a running stack for the column of Triton.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import torch

from benchmarks.quality import SHIPPED, label
from benchmarks.table import grid, write
from benchmarks.triton import MAX_BATCH, loaded
from export import backbones, projection, to_onnx, variants
from training import evaluate
from training.embed import embeddings_of, onnx_embed, pixels_of
from training.fetch import DATA, SOURCES, fetch
from training.sets import picture_files
from visualsearch.domain import EMBEDDING_DIM
from visualsearch.errors import VisualSearchError
from visualsearch.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.embed import Embed

JUDGED_ON = "tuxpaint"
CALIBRATED_ON = "gcompris-qt-data"
BATCH, SECONDS = 8, 5.0
BACKBONES = (backbones.LITE0, backbones.RESNET50, "ViT-B-32")
COMPARED = 64


def rate(embed: Embed, pixels: NDArray[np.uint8]) -> float:
    """Pictures a second by the median batch, after one to warm up: whatever else runs disturbs some batches only."""
    embed(pixels)
    spent = []
    while sum(spent) < SECONDS:
        begin = time.perf_counter()
        embed(pixels)
        spent.append(time.perf_counter() - begin)
    return len(pixels) / float(np.median(spent))


def variant_rows(model: bytes, pixels: NDArray[np.uint8]) -> list[tuple[str, ...]]:
    """Hold each variant against the model: size, speed, gate."""
    files = picture_files(fetch(SOURCES[CALIBRATED_ON], DATA))
    calibration = pixels_of(dict(list(files.items())[:: len(files) // variants.CALIBRATED_ON]))[0]
    one = evaluate.public_set(JUDGED_ON)
    rows = [
        ("fp32", f"{len(model) / 1e6:.1f}", f"{rate(onnx_embed(model), pixels):.0f}", "1", "1", "0", "the original")
    ]
    for kind in variants.KINDS:
        variant = variants.make(kind, model, calibration)
        verdict = variants.compare(model, variant, one, evaluate.CACHE)
        speed = rate(onnx_embed(variant), pixels)
        figures = f"{verdict.cosine:.5f}", f"{verdict.least_cosine:.5f}", f"{verdict.ndcg_loss:+.4f}"
        told = "; ".join(verdict.reasons)
        rows.append(
            (kind, f"{len(variant) / 1e6:.1f}", f"{speed:.0f}", *figures, f"refused: {told}" if told else "passes")
        )
    return rows


def backbone_row(name: str, pixels: NDArray[np.uint8]) -> tuple[str, ...]:
    """Export a backbone with a random projection and compare torch, ONNX Runtime and Triton on real pictures."""
    backbone = backbones.load(name)
    encoder = to_onnx.Encoder(backbone, projection.orthogonal(backbone.features, EMBEDDING_DIM, 0)).eval()
    parameters = sum(one.numel() for one in backbone.network.parameters())
    model = to_onnx.to_onnx(encoder)
    with torch.inference_mode():
        wanted = np.concatenate([encoder(torch.from_numpy(part)).numpy() for part in np.array_split(pixels, 8)])
    local = onnx_embed(model)
    agreement = (embeddings_of(pixels, local) * wanted).sum(1).min()
    return (
        name,
        backbone.weights,
        f"{parameters / 1e6:.1f}",
        f"{len(model) / 1e6:.0f}",
        f"{rate(local, pixels[:BATCH]):.0f}",
        f"{agreement:.6f}",
        *through_triton(model, pixels, wanted),
    )


def through_triton(model: bytes, pixels: NDArray[np.uint8], wanted: NDArray[np.float32]) -> tuple[str, str]:
    """Return the least cosine of Triton's embeddings to torch's, and pictures a second through its gRPC interface."""
    with loaded(Settings.load(), model, "benchmarked") as embed:
        given = np.concatenate([embed(pixels[start : start + MAX_BATCH]) for start in range(0, len(pixels), MAX_BATCH)])
        return f"{(given * wanted).sum(1).min():.6f}", f"{rate(embed, pixels[:BATCH]):.0f}"


def main(file: Path) -> None:
    """Measure and write the tables."""
    torch.set_num_threads(2)
    model = file.read_bytes()
    pixels = np.ascontiguousarray(pixels_of(evaluate.public_set(JUDGED_ON).corpus, cache=evaluate.CACHE)[0][:COMPARED])
    rows = variant_rows(model, pixels[:BATCH])
    others = [backbone_row(name, pixels) for name in BACKBONES]
    notes = [
        f"{label(file)}, by ONNX Runtime {onnxruntime.__version__} in process, {BATCH} pictures at a time. The gate "
        f"(`python -m export.variants`): mean cosine to the original at least {variants.MIN_COSINE} and less than "
        f"{variants.MAX_NDCG_LOSS} of nDCG@10 lost, on the public set {JUDGED_ON}; int8 was calibrated on "
        f"{CALIBRATED_ON}. Half precision is for GPUs: CPUs have no kernels for it and convert back and forth.",
        "## Backbones, each with a projection to 256 numbers",
        grid(OTHERS, others),
        f"Least cosine to torch over {COMPARED} pictures. Weights of ResNet50 and ViT-B-32 cannot be downloaded where "
        "this was measured, so that theirs are random: size, speed and agreement are told, quality is not.",
    ]
    heading = ("variant", "MB", "pictures/s", "mean cosine", "least cosine", "nDCG@10 lost", "gate")
    write("variants", "Variants of the encoder", "python -m benchmarks.variants", heading, rows, "\n\n".join(notes))


OTHERS = (
    "backbone",
    "weights",
    "million parameters",
    "MB",
    "pictures/s",
    "ONNX Runtime to torch",
    "Triton to torch",
    "pictures/s through Triton",
)

if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED)
    except VisualSearchError as error:
        sys.exit(str(error))
