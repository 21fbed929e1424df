"""Folders whose files are in the corpus, and what they are called there. Standard library only."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IndexedFolder:
    """A folder that was indexed. ``name`` is what the keys of its pictures begin with; no other folder has it."""

    name: str
    location: str
    """Where the folder was when it was indexed last: a file URL with the machine and, if known, the disk."""
    whole: bool = True
    """Whether all of it was indexed, not only single files of it."""

    @property
    def prefix(self) -> str:
        """The name with the slash that ends it in a key."""
        return f"{self.name}/"


def same_name(name: str) -> str:
    """Return what is equal for names that a person could take for the same one: case and composition aside."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
