"""The parts of a file: segments, chunks, boxes."""

from __future__ import annotations

from visualsearch.domain.errors import BrokenImage

MAX_PARTS = 50_000
"""Segments of a JPEG or chunks of a PNG. Reading that many takes some 50 ms; 20 MB of PNG in usual chunks has 2,500."""


def one_more(parts: int, most: int = MAX_PARTS, what: str = "segments") -> int:
    """Return ``parts + 1``; raises ``BrokenImage`` over ``most``."""
    if parts >= most:
        raise BrokenImage(f"The file has more than {most:,} {what}, which no camera or program writes; save it anew.")
    return parts + 1
