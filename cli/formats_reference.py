"""docs/formats.md out of the table of formats: `python -m cli.formats_reference` writes it anew."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

from visualsearch.domain.images import MAX_UPLOAD_BYTES, MIN_SIDE
from visualsearch.imaging.decoding_cost import DECODING_BYTES, PROGRESSIVE_BYTES, most_pixels
from visualsearch.imaging.formats.jpeg import MAX_MISSING_ROWS, UNSUPPORTED_FRAMES
from visualsearch.imaging.formats.others import OTHERS
from visualsearch.imaging.formats.refusals import unsupported
from visualsearch.imaging.formats.table import FORMATS
from visualsearch.settings import ROOT

if TYPE_CHECKING:
    from visualsearch.imaging.formats.format import Format

FILE = ROOT / "docs" / "formats.md"
MEGA = 1_000_000
WIDTH = 120
HEAD = f"""# Formats of picture files

What a browser shows is what is searched: upright, the first frame, the first page. A file is taken for what its first
bytes say, whatever its name is. `python -m cli.formats_reference` makes this page out of
[visualsearch/imaging/formats](../visualsearch/imaging/formats).

## Accepted
Every file: up to {MAX_UPLOAD_BYTES // 2**20} MB, and {MIN_SIDE} pixels or more on each side. The megapixels follow from
the memory that decoding takes, at most {DECODING_BYTES / 1e9:.1f} GB. A picture that takes much time or memory, and
every picture of some formats, is decoded in a process with limits of time and memory.

| format | media type | megapixels | how it is read | limits |
|---|---|---|---|---|
"""
AFTER = f"""
Browsers do not show {{unseen}}; the page shows their thumbnails, which are JPEG. A small box in a progressive JPEG
of over {DECODING_BYTES // PROGRESSIVE_BYTES // MEGA} megapixels needs all its pixels in full and is refused with a 413.

HEIC needs an extra, because HEVC is patented in some countries: `.venv/bin/pip install -r requirements/heic.lock`, or
`docker build --build-arg LOCK=heic .`. Its library, under the LGPL, decodes only. `make setup-dev` installs it.

## Damaged files
A file is accepted if every row of its pixels is there; {MAX_MISSING_ROWS} rows may be missing. So a JPEG may lack its
end marker and have anything behind it, and a PNG may have damaged chunks that no row needs. Damage within rows that are
there is shown as the library shows it.

| file | status | words |
|---|---|---|
| cut off | 422 | The file is cut off: of 240 rows of pixels about 16 are missing. |
| a PNG with a damaged row, palette or header | 422 | The PNG is damaged: a checksum is wrong |
| undecodable | 422 | The picture is damaged and cannot be decoded |
| over the limits of scans, chunks, blocks, boxes, tags | 422 | The file has more than 50,000 chunks |
| too large | 413 | The picture has 201,326,592 pixels; of a JPEG 200,000,000 are taken. |

## Refused
With a 415 and these words:

> {unsupported("an SVG drawing")}

The message names these kinds. For any other file it lists the accepted formats.

"""


def reference() -> str:
    """Return the page."""
    unseen = " and ".join(one.name for one in FORMATS if not one.browsers)
    kinds = (*UNSUPPORTED_FRAMES.values(), "a 12-bit JPEG", *(name for name, _ in OTHERS))
    named = "; ".join((*dict.fromkeys(kinds), "a TIFF or a BMP of an unusual kind, and what is unusual"))
    return HEAD + "".join(map(_line, FORMATS)) + AFTER.format(unseen=unseen) + fill(named, WIDTH) + ".\n"


def _line(one: Format) -> str:
    cells = (one.name, f"`{one.media_type}`", str(most_pixels(one) // MEGA), one.read, one.limits)
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Write the page."""
    FILE.write_text(reference())


if __name__ == "__main__":
    main()
