"""Tells which objects of the bucket may be pictures of the corpus, and remembers those that may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visualsearch.domain.errors import InvalidInput
from visualsearch.domain.object_keys import is_folder, is_reserved

if TYPE_CHECKING:
    from visualsearch.ports import ObjectStore

EXAMPLES = 5
SHOWN = 100
"""Characters of a key that an example shows."""


class CorpusKeys:
    """Turns keys of one walk of the bucket into uris.

    ``unusable`` counts the keys that no picture may have, such as ``a//b.jpg``, and ``examples`` has the first of them.
    Reserved keys and those of folders are not counted.
    """

    def __init__(self, object_store: ObjectStore) -> None:
        self._object_store = object_store
        self.unusable = 0
        self.examples: list[str] = []

    def uri(self, key: str) -> str:
        """Return the uri of an object of the corpus; empty for any other object."""
        try:
            return self._object_store.uri(key)
        except InvalidInput:
            if not (is_reserved(key) or is_folder(key)):
                self.unusable += 1
                self.examples += [repr(key[:SHOWN])][: EXAMPLES - len(self.examples)]
            return ""

    def __str__(self) -> str:
        return (
            f"{self.unusable} objects have keys that no picture may have, such as {', '.join(self.examples)}: "
            "they are not searchable until they are renamed"
        )
