"""Tries files in the decoding layer: in worker processes, which are replaced when a file ends or hangs them."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator

from tests.fuzz.pictures.report import Report

WORKERS = 2
HANGS_S = 120.0
"""Time for all uses of one file, and its making."""
PROGRESS_S = 10.0
LEAKED_MB = 300
"""By how much a worker may have grown at its end: what the libraries and the allocator keep."""
WARM = 300
"""Files after which a worker's memory is taken as its level."""


async def try_layer(seed: int, numbers: Iterator[int], report: Report, end: float) -> None:
    """Try files until there are no more or ``end``, a time of the monotonic clock, is reached."""
    progress = asyncio.create_task(_tell(report))
    await asyncio.gather(*(_work(seed, numbers, report, end) for _ in range(WORKERS)))
    progress.cancel()


async def _tell(report: Report) -> None:
    begun = time.monotonic()
    while True:
        await asyncio.sleep(PROGRESS_S)
        took = time.monotonic() - begun
        sys.stderr.write(f"{took:.0f} s: {report.files} files, {len(report.faults)} faults\n")


async def _work(seed: int, numbers: Iterator[int], report: Report, end: float) -> None:
    process = await _started(seed)
    tried, level = 0, 0
    for number in numbers:
        if time.monotonic() > end:
            break
        try:
            process.stdin.write(f"{number}\n".encode())
            line = await asyncio.wait_for(process.stdout.readline(), HANGS_S)
        except TimeoutError:
            line = b""
            report.fault(number, f"is not done after {HANGS_S:.0f} s")
            process.kill()
        if not line:
            report.fault(number, f"ends its process: {await process.wait()}")
            process, tried = await _started(seed), 0
            continue
        told = json.loads(line)
        report.add(number, told["verdict"])
        report.remember({"a worker": told["memory"]["this"], "its pool": told["memory"]["pool"]})
        tried += 1
        level = told["memory"]["this"] if tried == WARM else level
    if tried > WARM and told["memory"]["this"] > level + LEAKED_MB:
        report.fault(number, f"ends a run in which a worker grew from {level} to {told['memory']['this']} MB")
    process.stdin.close()
    if await asyncio.wait_for(process.wait(), HANGS_S):
        report.fault(number, "was the last of a worker that did not end in peace")


async def _started(seed: int) -> asyncio.subprocess.Process:
    words = sys.executable, "-m", "tests.fuzz.pictures.worker", str(seed)
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, limit=2**20)
