"""What a format is, for the rest of the package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Callable


def _one_scan(_data: bytes) -> int:
    return 1


@dataclass(frozen=True, slots=True)
class Format:
    """A format of picture files; ``name`` is what Pillow calls it."""

    name: str
    extension: str
    signature: re.Pattern[bytes]
    """Matches the first bytes of a file."""
    scans: Callable[[bytes], int] = _one_scan
    """Judges a file by its markers before Pillow reads its header, which can take long. Returns how often a decoder
    goes over the picture; raises ``BrokenImage``."""

    @property
    def media_type(self) -> str:
        """Such as image/jpeg."""
        return f"image/{self.name.lower()}"
