"""Caches of clients: conditional requests (RFC 9110, section 13), and which headers an answer depends on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

VARY = "Authorization, X-API-Key"
"""Where a caller's key is. A browser must not show a user who signs in what its cache has of another's."""
_TAG = re.compile(r'(?:W/)?("[^"]*")')


def is_known(tag: str, if_none_match: Sequence[str]) -> bool:
    """Return whether the values of If-None-Match name an entity tag, by the weak comparison, or are ``*``."""
    (ours,) = _TAG.findall(tag)
    return any(value.strip() == "*" or ours in _TAG.findall(value) for value in if_none_match)
