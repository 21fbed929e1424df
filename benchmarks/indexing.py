"""Images indexed a second, beside the floor: `python -m benchmarks.indexing`.

The floor is what decoding, pHash and raw ONNX Runtime cost for the same pictures on the same cores, without any server.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from benchmarks.table import write
from visualsearch.domain import stack_pixels
from visualsearch.images import prepare
from visualsearch.settings import Settings

PICTURES = Path(__file__).parents[1] / "demo" / "pictures"
COUNT = 2000
BATCH = 32


def make_pictures(folder: Path) -> list[Path]:
    """Write new pictures (640 x 480 JPEG, collages of the demo corpus), so that nothing is known already."""
    chance = random.Random(os.urandom(8))
    files = [file for file in PICTURES.rglob("*") if file.is_file()]
    made = []
    for number in range(COUNT):
        sheet = Image.new("RGB", (640, 480), tuple(chance.randrange(256) for _ in range(3)))
        for left in (0, 320):
            with Image.open(chance.choice(files)) as picture:
                sheet.paste(picture.convert("RGB").resize((320, 480)), (left, 0))
        buffer = BytesIO()
        sheet.save(buffer, "JPEG", quality=85)
        made.append(folder / f"{number:05}.jpg")
        made[-1].write_bytes(buffer.getvalue())
    return made


def floor(files: list[Path]) -> float:
    """Seconds for decode + pHash + encode with every core and no server."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    model = Settings.load().model_repository / "image_encoder" / "1" / "model.onnx"
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    begin = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(files), BATCH):
            prepared = list(pool.map(lambda file: prepare(file.read_bytes()), files[start : start + BATCH]))
            embedding = session.run(None, {"pixels": stack_pixels(prepared)})[0]
            assert np.isfinite(embedding).all()
    return time.perf_counter() - begin


def main() -> None:
    """Index new pictures into the running stack, measure the floor for the same files, write the table."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        files = make_pictures(Path(folder))
        floor_s = floor(files)
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "visualsearch.cli", "index", folder], check=True)
        indexed_s = time.perf_counter() - begin
    rows = [
        ("floor (decode, pHash, ONNX Runtime in process)", f"{COUNT / floor_s:.0f}", "1.00"),
        ("`visualsearch index`, upload to searchable", f"{COUNT / indexed_s:.0f}", f"{floor_s / indexed_s:.2f}"),
    ]
    note = f"{COUNT} new 640 x 480 JPEG pictures; servers, indexer and client share the cores."
    heading = ("what", "images/s", "share of the floor")
    write("indexing", "Images indexed a second", "python -m benchmarks.indexing", heading, rows, note)


if __name__ == "__main__":
    main()
