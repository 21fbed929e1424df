"""Build the training corpus of the shipped encoder from Debian and npm packages.

    python -m training.build_corpus [--into out/corpus] [--packages out/data]

Drawings are rasterised, and all pictures are shrunk to 256 pixels on white. For each file ``pictures.csv`` lists its
set, what it shows (``concept``) and its folder in the package (``category``). ``sources.csv`` lists the packages.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import resvg_py
from PIL import Image
from rich.progress import track

from evaluation.datasets import fetch
from training import package_pictures
from visualsearch.domain.errors import InvalidInput, VisualSearchError
from visualsearch.imaging.preprocessing import thumbnail

if TYPE_CHECKING:
    from evaluation.datasets.fetch import PackageSource
    from training.package_pictures import Found

SIDE = 256
"""Longer side of a stored picture, in pixels: a crop of two thirds of it still fills the encoder's 224."""
FIELDS = ("file", "set", "concept", "category")
TILES = 8
"""Maximum number of tiles of a large photograph, because few photographs have a free licence."""
LARGE = 1200
"""Minimum shorter side, in pixels, of a picture that is cut into tiles."""


def rendered(svg: str) -> bytes:
    """Rasterise an SVG drawing to a PNG file with a longer side of 256 pixels, on white.

    Raises ``InvalidInput`` if it is not a drawing.
    """
    try:
        plain = bytes(resvg_py.svg_to_bytes(svg_string=svg, background="#ffffff"))
        with Image.open(BytesIO(plain)) as image:
            return bytes(resvg_py.svg_to_bytes(svg_string=svg, background="#ffffff", zoom=SIDE / max(image.size)))
    except (ValueError, OSError) as error:
        raise InvalidInput(f"The drawing cannot be rasterised: {error}") from None


def made(found: Found) -> list[bytes]:
    """Return the JPEG files of a picture: one file, or the tiles of a large photograph; none if it is unreadable."""
    try:
        if isinstance(found.picture, str):
            return [thumbnail(rendered(found.picture), SIDE)]
        if found.picture.suffix == ".svg":
            return [thumbnail(rendered(found.picture.read_text(errors="replace")), SIDE)]
        return _tiles(found.picture.read_bytes())
    except InvalidInput:
        return []


def _tiles(data: bytes) -> list[bytes]:
    whole = thumbnail(data, 4 * LARGE)
    with Image.open(BytesIO(whole)) as image:
        if min(image.size) < LARGE:
            return [thumbnail(data, SIDE)]
        side = min(image.size) // 2
        across, down = image.width - side, image.height - side
        corners = [(across * (i % 4) // 3, down * (i // 4)) for i in range(TILES)]
        return [_jpeg(image.crop((x, y, x + side, y + side)).resize((SIDE, SIDE))) for x, y in corners]


def _jpeg(image: Image.Image) -> bytes:
    out = BytesIO()
    image.save(out, "JPEG", quality=95)
    return out.getvalue()


def _written(found: Found, into: Path) -> list[dict[str, str]]:
    rows = []
    for number, data in enumerate(made(found)):
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", found.name)[-80:]
        file = Path(found.source) / f"{stem}-{hashlib.sha256(data).hexdigest()[:8]}.jpg"
        (into / file).parent.mkdir(parents=True, exist_ok=True)
        (into / file).write_bytes(data)
        category = f"{found.source}:{found.name}" if number else found.category
        rows.append(dict(zip(FIELDS, (file.as_posix(), found.source, found.concept, category), strict=True)))
    return rows


def build(packages: Path, into: Path) -> tuple[int, int]:
    """Write the corpus; return the numbers of written and of unreadable pictures.

    Raises ``ConfigurationError`` if a package cannot be fetched.
    """
    for source in track(package_pictures.packages(), "Fetching"):
        fetch.fetch(source, packages)
    found = package_pictures.pictures(packages)
    into.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        results = pool.map(_written, found, [into] * len(found), chunksize=32)
        written = list(track(results, "Writing", total=len(found)))
    rows = sorted({row["file"]: row for row in chain.from_iterable(written)}.values(), key=lambda row: row["file"])
    _table(into / "pictures.csv", FIELDS, rows)
    licences = [{"package": _versioned(one), "licence": one.licence} for one in package_pictures.packages()]
    _table(into / "sources.csv", ("package", "licence"), licences)
    return len(rows), sum(not some for some in written)


def _versioned(source: PackageSource) -> str:
    """Return the name of a package with its version, as reported by Debian's client."""
    if source.is_npm:
        return source.package
    words = ["apt-cache", "show", "--no-all-versions", source.package]
    told = subprocess.run(words, capture_output=True, text=True, check=False).stdout  # noqa: S603
    return source.package + "".join(f" {line[9:]}" for line in told.splitlines() if line.startswith("Version: "))


def _table(file: Path, fields: tuple[str, ...], rows: list[dict[str, str]]) -> None:
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fields)
        writer.writeheader()
        writer.writerows(rows)


def main(words: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="training.build_corpus", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--into", type=Path, default=Path("out/corpus"), help="%(default)s")
    parser.add_argument("--packages", type=Path, default=fetch.DATA, help="where packages are kept; %(default)s")
    arguments = parser.parse_args(words)
    try:
        pictures, unreadable = build(arguments.packages, arguments.into)
    except VisualSearchError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(f"{pictures} pictures in {arguments.into}; {unreadable} could not be read")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
