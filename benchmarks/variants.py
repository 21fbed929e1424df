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

from benchmarks.local_stack import stack_settings
from benchmarks.quality import SHIPPED, label
from benchmarks.table import grid, write
from benchmarks.triton import loaded
from encoders import backbones, onnx_conversion, projection
from evaluation.datasets.fetch import DATA, SOURCES, fetch
from evaluation.offline import evaluate
from evaluation.offline.embeddings import embeddings_of, onnx_embed, pixels_of
from evaluation.offline.sets import picture_files
from export import variants
from visualsearch.domain.errors import VisualSearchError
from visualsearch.domain.images import EMBEDDING_DIM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from evaluation.offline.embeddings import Embed

JUDGED_ON = "tuxpaint"
CALIBRATED_ON = "gcompris-qt-data"
BATCH, TURNS = 8, 30
BACKBONES = (backbones.LITE0, backbones.RESNET50, "ViT-B-32")
COMPARED = 64


def rates(embeds: Mapping[str, Embed], pixels: NDArray[np.uint8]) -> dict[str, float]:
    """Pictures a second of each, taking turns: whatever else the machine does then disturbs all alike.

    Counted is the time that a tenth of the batches keep to, which is nearest to what an idle machine would need.
    """
    spent: dict[str, list[float]] = {name: [] for name in embeds}
    for turn in range(TURNS + 1):
        for name, embed in embeds.items():
            begin = time.perf_counter()
            embed(pixels)
            if turn:  # the first warms up
                spent[name].append(time.perf_counter() - begin)
    return {name: len(pixels) / float(np.quantile(times, 0.1)) for name, times in spent.items()}


def variant_rows(model: bytes, pixels: NDArray[np.uint8]) -> list[tuple[str, ...]]:
    """Hold each variant against the model: size, speed, gate."""
    files = picture_files(fetch(SOURCES[CALIBRATED_ON], DATA))
    calibration = pixels_of(dict(list(files.items())[:: len(files) // variants.CALIBRATED_ON]))[0]
    one = evaluate.public_set(JUDGED_ON)
    made = {kind: variants.make(kind, model, calibration) for kind in variants.KINDS}
    speeds = rates({name: onnx_embed(file) for name, file in {"fp32": model, **made}.items()}, pixels)
    rows: list[tuple[str, ...]] = [
        ("fp32", f"{len(model) / 1e6:.1f}", f"{speeds['fp32']:.0f}", "1", "1", "0", "the original")
    ]
    for kind, variant in made.items():
        verdict = variants.compare(model, variant, one, evaluate.CACHE)
        figures = f"{verdict.cosine:.5f}", f"{verdict.least_cosine:.5f}", f"{verdict.ndcg_loss:+.4f}"
        told = f"refused: {'; '.join(verdict.reasons)}" if verdict.reasons else "passes"
        rows.append((kind, f"{len(variant) / 1e6:.1f}", f"{speeds[kind]:.0f}", *figures, told))
    return rows


def backbone_row(name: str, pixels: NDArray[np.uint8]) -> tuple[str, ...]:
    """Export a backbone with a random projection and compare torch, ONNX Runtime and Triton on real pictures."""
    backbone = backbones.load(name)
    encoder = onnx_conversion.ProjectedBackbone(
        backbone, projection.orthogonal(backbone.features, EMBEDDING_DIM, 0)
    ).eval()
    parameters = sum(one.numel() for one in backbone.network.parameters())
    model = onnx_conversion.to_onnx(encoder)
    with torch.inference_mode():
        wanted = np.concatenate([encoder(torch.from_numpy(part))[0].numpy() for part in np.array_split(pixels, 8)])
    with loaded(stack_settings(), model, "benchmarked") as served:
        embeds = {"local": onnx_embed(model), "served": served}
        agreement = {who: (embeddings_of(pixels, embed) * wanted).sum(1).min() for who, embed in embeds.items()}
        speeds = rates(embeds, pixels[:BATCH])
    return (
        name,
        backbone.weights,
        f"{parameters / 1e6:.1f}",
        f"{len(model) / 1e6:.0f}",
        f"{speeds['local']:.0f}",
        f"{agreement['local']:.6f}",
        f"{agreement['served']:.6f}",
        f"{speeds['served']:.0f}",
    )


def main(file: Path) -> None:
    """Measure and write the tables."""
    torch.set_num_threads(2)
    model = file.read_bytes()
    pixels = np.ascontiguousarray(pixels_of(evaluate.public_set(JUDGED_ON).corpus, cache=evaluate.CACHE)[0][:COMPARED])
    rows = variant_rows(model, pixels[:BATCH])
    others = [backbone_row(name, pixels) for name in BACKBONES]
    notes = [
        f"{label(file)}, by ONNX Runtime {onnxruntime.__version__} in process, {BATCH} pictures at a time; speeds are "
        "those of the fastest tenth of batches, taken in turns, since the machine was shared. The gate "
        f"(`python -m export.variants`): mean cosine to the original at least {variants.MIN_COSINE} and less than "
        f"{variants.MAX_NDCG_LOSS} of nDCG@10 lost, on the public set {JUDGED_ON}; int8 was calibrated on "
        f"{CALIBRATED_ON}. Half precision is meant for GPUs; on this CPU it is slower than fp32.",
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
