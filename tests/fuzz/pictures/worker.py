"""Tries numbered files in a process of its own, which a file may end: `python -m tests.fuzz.pictures.worker SEED`.

Reads numbers, and writes a line of JSON for each.
"""

import asyncio
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import psutil

from tests.fuzz.pictures.corpus import hostile_file
from tests.fuzz.pictures.trial import judged
from visualsearch.imaging.picture_pool import WAITING, PicturePool

THREADS = 2
LINE = 200


class Log:
    """What the decoding layer and its libraries write to standard error, which is to be nothing."""

    def __init__(self) -> None:
        self._descriptor, path = tempfile.mkstemp()
        Path(path).unlink()
        self._kept = os.dup(2)
        os.dup2(self._descriptor, 2)

    def taken(self) -> str:
        """Return what was written since the last call, and pass it on."""
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        text = os.pread(self._descriptor, size, 0)
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._kept, text[:LINE])
        return text.decode(errors="replace")


def told(**values: object) -> None:
    """Write a line for the parent."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def memory() -> dict[str, int]:
    """Memory of this process, and of the pool's process, in MB."""
    children = sum(child.memory_info().rss for child in psutil.Process().children(recursive=True))
    return {"this": psutil.Process().memory_info().rss >> 20, "pool": children >> 20}


async def main(seed: int) -> None:
    """Try the files of a seed whose numbers come from standard input, one a line."""
    log = Log()
    with PicturePool(THREADS, WAITING) as pool:
        for line in sys.stdin:
            number = int(line)
            verdict = await judged(pool, hostile_file(seed, number))
            if text := log.taken():
                verdict.faults.append(f"writes {len(text)} bytes to the log: {text[:LINE]}")
            told(number=number, verdict=asdict(verdict), memory=memory(), descriptors=psutil.Process().num_fds())


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
