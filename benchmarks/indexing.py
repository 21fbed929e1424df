"""Images indexed per second, compared with the floor, and the CPU time by process: `python -m benchmarks.indexing`.

The floor is the CPU time of decoding, pHash and raw ONNX Runtime for the same pictures, without any server, divided by
the number of cores. Requires a running stack on the same machine, and no other load.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import onnxruntime
import orjson
import psutil
from PIL import Image

from benchmarks.table import write
from visualsearch.domain.images import stack_pixels
from visualsearch.imaging.preprocessing import prepare
from visualsearch.settings import Settings

PICTURES = Path(__file__).parents[1] / "demo" / "pictures"
SIZES = ((640, 480), (1280, 960))
COUNT = 4000
SAMPLE = 320
"""Number of pictures for measuring the floor."""
BATCH = 16
CORES = os.cpu_count() or 1


def make_pictures(folder: Path, size: tuple[int, int], count: int = COUNT) -> list[Path]:
    """Write new JPEG pictures, collages of the demo corpus, so that none is indexed already."""
    chance = random.Random(os.urandom(8))
    files = [file for file in PICTURES.rglob("*") if file.is_file()]
    width, height = size
    made = []
    for number in range(count):
        sheet = Image.new("RGB", size, tuple(chance.randrange(256) for _ in range(3)))
        for left in (0, width // 2):
            with Image.open(chance.choice(files)) as picture:
                sheet.paste(picture.convert("RGBA").convert("RGB").resize((width // 2, height)), (left, 0))
        buffer = BytesIO()
        sheet.save(buffer, "JPEG", quality=85)
        made.append(folder / f"{number:05}.jpg")
        made[-1].write_bytes(buffer.getvalue())
    return made


def floor(files: list[Path]) -> dict[str, float]:
    """Return the CPU milliseconds per picture of the indispensable steps."""
    begin = time.process_time()
    prepared = [prepare(file.read_bytes()) for file in files]
    decode_s = time.process_time() - begin
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    # Spinning threads would count as CPU time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = Settings.load().model_repository / "image_encoder" / "1" / "model.onnx"
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    batches = [stack_pixels(prepared[start : start + BATCH]) for start in range(0, len(prepared), BATCH)]
    session.run(None, {"pixels": batches[0]})
    begin = time.process_time()
    for batch in batches:
        assert np.isfinite(session.run(None, {"pixels": batch})[0]).all()
    encode_s = time.process_time() - begin
    each = 1000 / len(files)
    return {"decode and pHash": decode_s * each, "ONNX Runtime": encode_s * each}


def cpu_seconds() -> dict[str, float]:
    """Return the CPU seconds used so far by each process of the stack with its children, by name."""
    words = [sys.executable, "-m", "cli.main", "status", "--json"]
    status = orjson.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    used = {}
    for name, entry in status.items():
        total = 0.0
        for pid in entry.get("pids") or [entry["pid"]]:
            leader = psutil.Process(pid)
            for process in (leader, *leader.children(recursive=True)):
                times = process.cpu_times()
                total += times.user + times.system
        used[name] = total
    return used


def indexed(folder: Path) -> tuple[float, dict[str, float]]:
    """Index a folder; return the seconds, and the CPU seconds by process."""
    before, begin = cpu_seconds(), time.perf_counter()
    client = subprocess.Popen([sys.executable, "-m", "cli.main", "index", str(folder)])
    _, code, usage = os.wait4(client.pid, 0)
    seconds = time.perf_counter() - begin
    assert code == 0, code
    after = cpu_seconds()
    spent = {name: after[name] - before[name] for name in after}
    return seconds, {"client": usage.ru_utime + usage.ru_stime, **spent}


def main() -> None:
    """Index new pictures into the running stack, measure the floor for the same files, write the table."""
    rows: list[tuple[object, ...]] = []
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            files = make_pictures(Path(folder), size)
            least = floor(files[:: len(files) // SAMPLE])
            seconds, spent = indexed(Path(folder))
        floor_ms, each = sum(least.values()), 1000 / len(files)
        name = f"{size[0]} x {size[1]}"
        rate, floor_rate = len(files) / seconds, 1000 * CORES / floor_ms
        rows.append((name, "floor", f"{floor_ms:.1f}", f"{floor_rate:.0f}", "1.00"))
        rows += [(name, f"floor: {what}", f"{ms:.1f}", "", "") for what, ms in least.items()]
        used_ms = sum(spent.values()) * each
        rows.append((name, "`visualsearch index`", f"{used_ms:.1f}", f"{rate:.0f}", f"{rate / floor_rate:.2f}"))
        rows += [(name, f"of it {what}", f"{s * each:.2f}", "", "") for what, s in spent.items()]
        rows.append((name, "cores idle", f"{seconds * CORES * each - used_ms:.1f}", "", ""))
    note = (
        f"{COUNT} new JPEG pictures of each size, from the file to searchable; servers, indexer and client share the "
        f"{CORES} cores. Decoding lies in the indexer's row, ONNX Runtime in Triton's."
    )
    heading = ("pictures", "what", "CPU ms a picture", "images/s", "share of the floor")
    write("indexing", "Images indexed a second", "python -m benchmarks.indexing", heading, rows, note)


if __name__ == "__main__":
    main()
