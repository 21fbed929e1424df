"""Tries hostile files on the decoding layer, and a share of them on a stack: `python -m tests.fuzz.pictures`.

Stops after --files or --seconds. Each file with a fault is written to --out, with its seed and number; the same seed
and number make the same file again. Exits with 1 if there was a fault.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from tests.fuzz.pictures import stack
from tests.fuzz.pictures.corpus import numbers
from tests.fuzz.pictures.layer import try_layer
from tests.fuzz.pictures.report import Report

MANY = 10**9
OUT = Path("out") / "fuzz"


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.pictures", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="chooses the mutations")
    parser.add_argument("--files", type=int, default=MANY, help="how many files are tried")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long files are tried")
    parser.add_argument("--quick", action="store_true", help="leave out files that take long to decode")
    parser.add_argument("--stack", type=int, default=0, metavar="FILES", help="how many a stack of its own gets too")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder for files with a fault")
    return parser.parse_args()


async def main() -> int:
    """Run both parts; return the exit status."""
    chosen = arguments()
    if chosen.files == MANY and chosen.seconds == float("inf"):
        sys.exit("Say how long: --files N or --seconds N.")
    report = Report(chosen.seed, chosen.out)
    end = time.monotonic() + chosen.seconds
    await try_layer(chosen.seed, numbers(chosen.files, quick=chosen.quick), report, end)
    sys.stdout.write(f"{report.files} files in the decoding layer, seed {chosen.seed}\n{report.text()}\n")
    faults = len(report.faults)
    if chosen.stack:
        on_stack = Report(chosen.seed, chosen.out)
        await stack.try_stack(chosen.seed, numbers(chosen.stack, quick=chosen.quick), on_stack)
        sys.stdout.write(f"{on_stack.files} files on a stack, seed {chosen.seed}\n{on_stack.text()}\n")
        faults += len(on_stack.faults)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
