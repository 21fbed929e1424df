"""The description of a picture format that the rest of the package uses."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import re
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the markers of a file say, before a library reads it."""

    data: bytes
    """The file, without what no decoder needs to see."""
    size: tuple[int, int] | None = None
    """Width and height in pixels; None if the file does not say them where it should."""
    scans: int = 1
    """How often a decoder goes over the picture."""
    apart: bool = False
    """Whether it must be decoded in a process with limits, however small it is."""
    ends_early: bool = False
    """Whether the end marker lacks."""


def _opened(plugin: str) -> Callable[[Inspection], Image.Image]:
    return lambda found: Image.open(BytesIO(found.data), formats=(plugin,))


def _as_it_is(image: Image.Image, _found: Inspection) -> Image.Image:
    return image


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format of picture files."""

    name: str
    """As people write it."""
    plugin: str
    """What Pillow calls it."""
    media_type: str
    extension: str
    signature: re.Pattern[bytes]
    """Matches the first bytes of a file."""
    passes: int
    """What decoding a pixel costs, in scans of a JPEG (1.2 ns each)."""
    bytes_per_pixel: int
    """The most memory that decoding and converting a pixel takes."""
    read: str
    """What of a file is searched, for people."""
    limits: str = ""
    """Limits besides those of size, for people."""
    browsers: bool = True
    """Whether browsers show it."""
    extra: str = ""
    """The extra of the package that it needs."""
    inspect: Callable[[bytes], Inspection] = Inspection
    """Judges a file by its markers. Raises ``BrokenImage`` or ``UnsupportedImage``."""
    open: Callable[[Inspection], Image.Image] | None = None
    """Reads the header; by default Pillow's plugin does."""
    finish: Callable[[Image.Image, Inspection], Image.Image] = _as_it_is
    """Chooses the first frame of an opened picture whose size and cost are within the limits; may decode."""

    def opened(self, found: Inspection) -> Image.Image:
        """Read the header of a file. Raises whatever its library raises."""
        return (self.open or _opened(self.plugin))(found)
