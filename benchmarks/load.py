"""Load on the gateway by Locust, at a rate independent of the responses. Locust has a separate environment."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
LOCUST = ROOT / ".venv-bench" / "bin" / "locust"
PACE_S = 4.0
"""Same value as in locustfile.py."""
K = 50
"""Number of results per search."""
BOUNDARY = "a-line-between-parts"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass(frozen=True, slots=True)
class Load:
    """The results of a load. Rates are per second. Latencies are those of responses with status 200, in ms."""

    offered: float
    answered: float
    refused: float
    """Rate of responses with status 503."""
    other: int
    """Number (not rate) of responses with any other status, and of requests without a response."""
    p50: float
    p95: float
    p99: float
    refused_p95: float
    generator_ms: float
    """CPU time of the load generator itself per request."""
    requests: int


def form(picture: bytes) -> bytes:
    """Encode the form of a search."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="k"\r\n\r\n{K}\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="query"\r\n\r\n'
    )
    return head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()


def run(url: str, pictures: list[Path], folder: Path, seconds: int, *, rate: float = 0, callers: int = 0) -> Load:
    """Search for some seconds at a fixed ``rate`` per second, or with ``callers`` that search one after the other."""
    if not LOCUST.exists():
        sys.exit("Locust is missing: `make setup-bench` makes its environment.")
    summary = folder / "summary.json"
    forms = [picture.with_suffix(".form") for picture in pictures]
    for picture, file in zip(pictures, forms, strict=True):
        file.write_bytes(form(picture.read_bytes()))
    users = math.ceil(rate * PACE_S) or callers
    told = {
        "users": users,
        "url": url,
        "forms": list(map(str, forms)),
        "summary": str(summary),
        "seconds": seconds,
        "rate": rate,
    }
    words = ["--headless", "--only-summary", "-u", users, "-r", users, "-t", f"{seconds}s", "--stop-timeout", 12]
    subprocess.run(
        [str(LOCUST), "-f", str(Path(__file__).with_name("locustfile.py")), *map(str, words)],
        env={**os.environ, "VISUALSEARCH_LOAD": json.dumps(told | {"type": FORM_TYPE})},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return _read(json.loads(summary.read_text()), seconds)


def _read(told: dict[str, Any], seconds: int) -> Load:
    times: dict[str, list[float]] = told["times"]
    answers, refusals = times.get("200", []), times.get("503", [])
    counted = sum(map(len, times.values()))
    return Load(
        told["requests"] / seconds,
        len(answers) / seconds,
        len(refusals) / seconds,
        counted - len(answers) - len(refusals),
        *(float(np.percentile(answers or [0.0], part)) for part in (50, 95, 99)),
        float(np.percentile(refusals or [0.0], 95)),
        1000 * told["cpu_s"] / max(1, told["requests"]),
        told["requests"],
    )
