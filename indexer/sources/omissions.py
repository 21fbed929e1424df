"""What a source leaves out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(slots=True)
class Omissions:
    """Excluded files, counted by the pattern that excludes them, and folders that are not entered, with reasons."""

    excluded: Counter[str] = field(default_factory=Counter)
    folders: list[tuple[str, str]] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)
    """Of these folders, those that could not be read: nobody knows which files they hold."""
