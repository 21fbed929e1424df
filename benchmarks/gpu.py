"""Training and fp16 inference on a GPU, in images per second, compared with the GPU's own matrix rate.

    python -m benchmarks.gpu

Requires the training environment. Without a GPU the table says so and has no figures.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from benchmarks.table import write
from encoders import backbones, checkpoint
from training import loss

if TYPE_CHECKING:
    from collections.abc import Callable

BACKBONES = (backbones.LITE0_POOLS, "ViT-B-32")
BATCH = 256
MATRIX = 8192
SECONDS = 5.0
GIGA_OPERATIONS = {backbones.LITE0_POOLS: 0.77, "ViT-B-32": 8.7}
"""Operations of one forward pass of a picture: 385 and 4,370 million multiply-adds, each counted as two."""
TRAINING = 3
"""A training step costs a forward pass, and a backward pass of about twice the operations."""


def rate(work: Callable[[], object]) -> float:
    """Return the rate of some work, in calls per second, after a warm-up."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    begun, times = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS:
        work()
        torch.cuda.synchronize()
        times += 1
    return times / (time.perf_counter() - begun)


def matrix_rate() -> float:
    """Return the GPU's own rate for large fp16 matrix products, in giga-operations per second."""
    one, other = (torch.randn(MATRIX, MATRIX, device="cuda", dtype=torch.float16) for _ in range(2))
    return rate(lambda: one @ other) * 2 * MATRIX**3 / 1e9


def measured(name: str, best: float) -> list[str]:
    """Return a row of the table."""
    backbone = backbones.load(name)
    projection = checkpoint.TrainableProjection(
        torch.randn(256, backbone.features) / 16, torch.zeros(backbone.features)
    )
    encoder = checkpoint.TrainableEncoder(backbone, projection, tuned=True).cuda()
    pixels = torch.randint(0, 256, (BATCH, 224, 224, 3), dtype=torch.uint8, device="cuda")
    labels = torch.arange(BATCH // 2, device="cuda").repeat(2)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-5)

    def infer() -> None:
        with torch.inference_mode(), torch.autocast("cuda", torch.float16):
            encoder.projection(encoder.backbone(pixels))

    def train() -> None:
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            embeddings, _ = encoder(pixels)
        loss.contrastive(embeddings, labels, 0.07).backward()
        optimizer.step()

    cells = [name]
    for work, passes in ((infer, 1), (train, TRAINING)):
        images = rate(work) * BATCH
        cells += [f"{images:,.0f}", f"{images * passes * GIGA_OPERATIONS[name] / best:.2f}"]
    return cells


def main() -> None:
    """Write the table."""
    if torch.cuda.is_available():
        best = matrix_rate()
        rows = [measured(name, best) for name in BACKBONES]
        card = f"{torch.cuda.get_device_name()}, {best / 1000:,.0f} TFLOP/s in an {MATRIX} x {MATRIX} fp16 product"
    else:
        rows, card = [[name, *["not measured"] * 4] for name in BACKBONES], "no graphics card was at hand"
    write(
        "gpu",
        "On a graphics card",
        "python -m benchmarks.gpu",
        ("backbone", "fp16 inference, images/s", "of the matrix rate", "bf16 training, images/s", "of the matrix rate"),
        rows,
        f"Card: {card}. Batches of {BATCH} views that are on the card already; decoding is not in it.",
    )


if __name__ == "__main__":
    main()
