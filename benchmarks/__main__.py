"""Run every benchmark against the local stack. Start the stack if it is not running."""

from __future__ import annotations

import subprocess
import sys

STEPS = (
    ("benchmarks.start",),
    ("cli.main", "up", "--detach"),
    ("cli.main", "index", "demo/pictures"),
    ("benchmarks.indexing",),
    ("benchmarks.growth",),
    ("benchmarks.search",),
    ("benchmarks.freshness",),
    ("benchmarks.batching",),
    ("benchmarks.golden", "model_repository/image_encoder/1/model.onnx"),
    ("benchmarks.serving",),
    ("benchmarks.scan",),
)

for step in STEPS:
    print(f"== {' '.join(step)}", flush=True)
    subprocess.run([sys.executable, "-m", *step], check=True)
