"""Sorts more lines than fit in memory: writes sorted runs to disk and merges them as a stream."""

from __future__ import annotations

import asyncio
import heapq
import tempfile
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

RUN = 100_000
"""Lines that are sorted in memory, about 20 MB."""


async def sorted_lines(pages: AsyncIterator[list[str]], stack: ExitStack, run: int = RUN) -> Iterator[str]:
    """Return all lines of the pages, sorted bytewise. Lines must be ASCII without newlines.

    The runs are temporary files. ``stack`` closes them, which removes them.
    """
    runs: list[IO[str]] = []
    held: list[str] = []
    async for page in pages:
        held += page
        if len(held) >= run:
            runs.append(await asyncio.to_thread(_spill, held, stack))
            held = []
    held.sort()
    return heapq.merge(held, *(_lines(file) for file in runs))


def _spill(lines: list[str], stack: ExitStack) -> IO[str]:
    lines.sort()
    file = stack.enter_context(tempfile.TemporaryFile("w+", encoding="ascii"))  # noqa: SIM115 - the stack does
    file.writelines(f"{line}\n" for line in lines)
    file.seek(0)
    return file


def _lines(file: Iterable[str]) -> Iterator[str]:
    return (line.removesuffix("\n") for line in file)
