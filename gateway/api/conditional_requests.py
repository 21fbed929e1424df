"""Conditional requests (RFC 9110, section 13): whether a client has the current representation already."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_TAG = re.compile(r'(?:W/)?("[^"]*")')


def is_known(tag: str, if_none_match: Sequence[str]) -> bool:
    """Return whether the values of If-None-Match name an entity tag, by the weak comparison, or are ``*``."""
    (ours,) = _TAG.findall(tag)
    return any(value.strip() == "*" or ours in _TAG.findall(value) for value in if_none_match)
