"""Who may see an object's picture, as S3's user metadata: ``x-amz-meta-visualsearch-visibility`` and so on."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from visualsearch.domain.images import Visibility
from visualsearch.domain.indexing import ObjectMetadata

if TYPE_CHECKING:
    from collections.abc import Mapping

VISIBILITY, OWNER, SOURCE = "visualsearch-visibility", "visualsearch-owner", "visualsearch-source"
ENCODED, ENCODED_END = "=?utf-8?b?", "?="
"""Around base64, as RFC 2047 has it: headers hold ASCII only, and S3 limits all metadata of an object to 2 KB."""


def to_attributes(metadata: ObjectMetadata | None) -> dict[str, str]:
    """Return the attributes of an object. Empty texts are left out, because not every store keeps empty headers."""
    if metadata is None:
        return {}
    texts = {OWNER: metadata.owner, SOURCE: metadata.source}
    return {VISIBILITY: metadata.visibility.value} | {name: _encoded(text) for name, text in texts.items() if text}


def from_attributes(attributes: Mapping[str, str]) -> ObjectMetadata | None:
    """Return the metadata; None if there is none. Whatever does not say that it is public is private."""
    found = {name.lower(): value for name, value in attributes.items()}
    if not found.keys() & {VISIBILITY, OWNER}:
        return None
    is_public = found.get(VISIBILITY, "").strip().lower() == Visibility.PUBLIC
    visibility = Visibility.PUBLIC if is_public else Visibility.PRIVATE
    return ObjectMetadata(_decoded(found.get(OWNER, "")), visibility, _decoded(found.get(SOURCE, "")))


def _encoded(text: str) -> str:
    if text.isascii() and text.isprintable() and text == text.strip() and not text.startswith(ENCODED):
        return text
    return f"{ENCODED}{base64.b64encode(text.encode()).decode()}{ENCODED_END}"


def _decoded(text: str) -> str:
    if not text.startswith(ENCODED):
        return text
    try:
        return base64.b64decode(text.removeprefix(ENCODED).removesuffix(ENCODED_END)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return text
