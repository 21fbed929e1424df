"""What decoding costs by format, beside Pillow alone on the same file.

    python -m benchmarks.formats [--heic photo.heic]

writes results/formats.md. Nothing that is installed writes HEIC, so its row needs a photograph.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks import table
from visualsearch.domain.images import IMAGE_SIDE
from visualsearch.imaging.formats.heic import opened
from visualsearch.imaging.formats.table import format_of
from visualsearch.imaging.preprocessing import decode

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = (2400, 1800)
"""As large as a BMP may be, whose file has 20 MB at most."""
TURNS = 5
SAVED: dict[str, tuple[str, dict[str, object]]] = {
    "JPEG": ("JPEG", {"quality": 90}),
    "JPEG, progressive": ("JPEG", {"quality": 90, "progressive": True}),
    "JPEG without its end marker": ("JPEG", {"quality": 90}),
    "PNG": ("PNG", {"compress_level": 6}),
    "WebP": ("WEBP", {"quality": 85, "method": 2}),
    "WebP, lossless": ("WEBP", {"lossless": True, "method": 0}),
    "GIF": ("GIF", {}),
    "AVIF": ("AVIF", {"quality": 75, "speed": 10}),
    "TIFF, LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "BMP": ("BMP", {}),
}


def photograph() -> Image.Image:
    """Return a picture of 4 megapixels with soft shapes and some grain."""
    random = np.random.default_rng(1)
    shapes = Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize(
        SIZE, Image.Resampling.BICUBIC
    )
    grain = random.normal(0, 3, (SIZE[1], SIZE[0], 1))
    return Image.fromarray(np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8))


def files(heic: Path | None) -> dict[str, bytes]:
    """Return the file of each format."""
    picture, made = photograph(), {}
    for name, (plugin, options) in SAVED.items():
        out = BytesIO()
        picture.save(out, plugin, **options)
        made[name] = out.getvalue()[:-2] if "without" in name else out.getvalue()
    if heic:
        made["HEIC"] = heic.read_bytes()
    return made


def pillow_alone(data: bytes) -> object:
    """Decode and shrink a file as a program without limits or care does."""
    kind = format_of(data)
    if kind.name == "HEIC":
        image = opened(kind.inspect(data))
    else:
        image = Image.open(BytesIO(data if not data.startswith(b"\xff\xd8") else data + b"\xff\xd9"))
    image.draft(None, (IMAGE_SIDE, IMAGE_SIDE))
    small = image.convert("RGB").resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(small)


def cpu_ms(data: bytes) -> tuple[float, float]:
    """Return the median CPU milliseconds of our decoding and of Pillow's, measured in turns."""
    taken: dict[Callable[[bytes], object], list[float]] = {decode: [], pillow_alone: []}
    for turn in range(TURNS + 1):
        for work, times in taken.items():
            begun = time.process_time()
            work(data)
            if turn:  # the first warms the caches
                times.append((time.process_time() - begun) * 1000)
    ours, floor = (statistics.median(times) for times in taken.values())
    return ours, floor


def _peak_mb(work: Callable[[bytes], object], data: bytes, warm: bytes) -> float:
    work(warm)
    before = _high_water_kb()
    work(data)
    return (_high_water_kb() - before) / 1024


def _high_water_kb() -> int:
    # Not by getrusage, which counts the parent of a process that was forked and then started another program.
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1])


def peak_mb(work: Callable[[bytes], object], data: bytes, warm: bytes) -> float:
    """Return by how much decoding raises the peak of a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_mb, (work, data, warm))


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heic", type=Path, help="a HEIC photograph of that size")
    out = BytesIO()
    Image.new("RGB", (64, 64)).save(out, "JPEG")
    rows = []
    for name, data in files(parser.parse_args().heic).items():
        ours, floor = cpu_ms(data)
        memory, least = (peak_mb(work, data, out.getvalue()) for work in (decode, pillow_alone))
        rows.append([name, f"{len(data) / 1e6:.1f}", f"{ours:.0f}", f"{floor:.0f}", f"{memory:.0f}", f"{least:.0f}"])
    heading = ["format", "file, MB", "CPU ms", "Pillow alone", "memory, MB", "Pillow alone"]
    note = (
        f"A picture of {SIZE[0]}x{SIZE[1]} with grain, decoded to 224x224 in this process; medians of {TURNS} turns. "
        "Pillow alone opens, scales while decoding where it can, converts to RGB and resizes, without judging a file. "
        "Memory is by how much one decoding raises the peak of a fresh process. In the pool, a picture that is decoded "
        "apart takes some 2 ms more."
    )
    table.write("formats", "What decoding costs by format", "python -m benchmarks.formats", heading, rows, note)


if __name__ == "__main__":
    main()
