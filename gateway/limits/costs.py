"""What requests cost, in milliseconds of one core. Measured once, on the 2-core machine of `benchmarks/results`.

They need not be exact: they weigh one request against another, and tell how much of a machine a caller takes.
"""

from __future__ import annotations

BASE_MS = 1.0
"""Any request: reading it, checking its key, a statement, the answer. `GET /images/{id}` takes 0.9."""
EMBED_MS, NEAREST_MS = 12.0, 10.0
"""The parts of a search in all servers together, with every core busy (benchmarks/results/serving.md)."""
INDEX_MS = 22.0
"""What the indexer does for a new picture, decoding included (benchmarks/results/indexing.md)."""
THUMBNAIL_MS = 10.0
"""A thumbnail without decoding: reading the object, shrinking it and writing a JPEG. 8 for 640 x 480."""
RESULT_MS = 0.02
"""Each result that a search asks for. With k = 200 it takes 3 ms more than with 50."""
BYTE_MS = 3e-6
"""Each byte of a body, which is parsed, hashed and stored: 3 ms for a megabyte."""
MISTAKE_MS = 0.008
"""Each mistake in the fields of a request. 256 KB of JSON can have 23,000, which take 0.12 to 0.2 s."""
PIXEL_MS = 2.5e-6
"""Each pixel and pass, as ``decoding_cost`` counts them: 0.8 to 5 ns by format, 2.5 for a JPEG of 12 megapixels."""


def nearest_ms(k: int) -> float:
    """Return the cost of finding ``k`` results for an embedding."""
    return NEAREST_MS + k * RESULT_MS
