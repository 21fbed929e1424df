"""Names of numbered files, as WebDataset writes them: ``shard-{000..010}.tar``."""

from __future__ import annotations

import re
from itertools import product

from visualsearch.domain.errors import InvalidInput

BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")
MAX_NAMES = 100_000


def expand(pattern: str) -> list[str]:
    """Return the names that a pattern means, in order; a pattern without braces means itself.

    ``{000..010}`` counts with leading zeros, ``{a,b}`` lists. Raises ``InvalidInput`` if there are too many.
    """
    texts, choices, at, total = [], [], 0, 1
    for match in BRACES.finditer(pattern):
        texts.append(pattern[at : match.start()])
        choice = _numbers(match[1], match[2]) if match[3] is None else match[3].split(",")
        total *= len(choice)
        if total > MAX_NAMES:
            raise InvalidInput(f"{pattern!r} means more than {MAX_NAMES:,} files: name fewer at once.")
        choices.append(choice)
        at = match.end()
    rest = pattern[at:]
    return [
        "".join(text + str(choice) for text, choice in zip(texts, combination, strict=True)) + rest
        for combination in product(*choices)
    ]


def _numbers(first: str, last: str) -> list[str]:
    begin, end = int(first), int(last)
    if abs(end - begin) >= MAX_NAMES:
        return [""] * (MAX_NAMES + 1)
    step = 1 if begin <= end else -1
    padded = any(len(one) > 1 and one.startswith("0") for one in (first, last))
    width = max(len(first), len(last)) if padded else 0
    return [f"{number:0{width}}" for number in range(begin, end + step, step)]
