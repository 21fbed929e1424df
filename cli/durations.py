"""Spans of time as people type them."""

from __future__ import annotations

import re
from datetime import timedelta

from visualsearch.domain.errors import InvalidInput

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
MAX_DAYS = 36_500


def duration(text: str) -> timedelta:
    """Read 90s, 15m, 1h or 30d. Raises ``InvalidInput``."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", text)
    span = timedelta(**{UNITS[found[2]]: int(found[1])}) if found else None
    if span is None or span.days > MAX_DAYS:
        raise InvalidInput(f"A time is a number with s, m, h or d, such as 90s, 15m, 1h or 30d, and not {text!r}.")
    return span
