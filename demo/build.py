"""Rebuild the demo pictures from Debian's package openclipart-png.

    apt-get download openclipart-png && dpkg-deb -x openclipart-png_*.deb unpacked
    python -m demo.build unpacked

provenance.csv lists the pictures. Each is trimmed, scaled into a box of 320 pixels and saved in the format of its name.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
LONGER_SIDE = 320
MARGIN = 0.03
"""Margin around the drawing, as a share of the longer side."""
PAPER = 245
"""Minimum value in all three channels of a pixel that counts as blank paper."""


def on_white(picture: Image.Image) -> Image.Image:
    """Flatten an RGBA picture on white, as a viewer would show it."""
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def trimmed(picture: Image.Image) -> Image.Image:
    """Trim the blank paper around the drawing of an RGBA picture, and shrink the result."""
    rows, columns = np.nonzero((np.asarray(on_white(picture)) < PAPER).any(2))
    left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    margin = round(MARGIN * max(right - left, bottom - top))
    box = (left - margin, top - margin, right + margin, bottom + margin)
    drawing = picture.crop((max(0, box[0]), max(0, box[1]), min(picture.width, box[2]), min(picture.height, box[3])))
    drawing.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.LANCZOS)
    return drawing


def save(picture: Image.Image, file: Path) -> None:
    """Save an RGBA picture: JPEG on white, PNG with a palette, WebP unchanged."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".jpg":
        on_white(picture).save(file, quality=88, optimize=True)
    elif file.suffix == ".png":
        picture.quantize(256, Image.Quantize.FASTOCTREE).save(file, optimize=True)
    else:
        picture.save(file, quality=82, method=6)


def main(unpacked: Path) -> None:
    """Write every picture that provenance.csv lists, and update its size and hash there."""
    table = HERE / "provenance.csv"
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        with Image.open(unpacked / row["original"]) as original:
            picture = trimmed(original.convert("RGBA"))
        file = HERE / row["file"]
        save(picture, file)
        row["width"], row["height"] = str(picture.width), str(picture.height)
        row["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
