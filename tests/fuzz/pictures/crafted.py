"""Files made to hurt a decoder or to be taken for something else, each with the status that it must get.

``FILES`` and ``BOMBS`` list them as (name, function that makes the file, statuses that are right).
"""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

from tests.fuzz.pictures import crafted_jpegs, crafted_others, crafted_pngs, crafted_webps, seeds
from tests.fuzz.pictures.formats import segment
from tests.fuzz.pictures.statuses import ACCEPTED, BROKEN, TOO_LARGE, UNSUPPORTED
from tests.pictures import encoded, jpeg, noise
from visualsearch.domain.images import MAX_UPLOAD_BYTES

KEPT = Path(__file__).parents[1] / "regressions"
Made = tuple[str, Callable[[], bytes], tuple[int, ...]]


def _zip() -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "text" * 100)
    return out.getvalue()


TRUNCATED = ("gif", "bmp", "avif", "heic picture", "tiff_lzw tiff", "raw tiff")
SCRIPT = b"<html><script>alert(1)</script></html>"
SOURCES = {
    "an svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9999999" height="9999999"/>',
    "an xml bomb": b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><svg>&c;</svg>',
    "a pdf": b"%PDF-1.7\n1 0 obj <</Type/Catalog>> endobj",
    "a web page": SCRIPT,
    "a zip archive": _zip(),
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n{} loop",
    "a program": b"\x7fELF" + bytes(200),
    "a movie": b"\0\0\0\x18ftypmp42" + bytes(500),
    "a wave file": b"RIFF\xff\xff\xff\x7fWAVEfmt " + bytes(500),
    "bytes of one kind": b"\xff" * 100_000,
    "a BOM before a picture": b"\xef\xbb\xbf" + jpeg(1),
    "a line before a picture": b"\r\n" + encoded(noise(1), "PNG"),
    "half a signature": b"\xff\xd8",
    "a letter": b"a",
}


def _foreign() -> Iterator[Made]:
    for name, data in SOURCES.items():
        yield name, lambda data=data: data, UNSUPPORTED
    for name in seeds.foreign():
        yield f"a picture as {name}", lambda name=name: seeds.foreign()[name], UNSUPPORTED
    for name in (one for one in seeds.sound() if "animated" in one or "many pages" in one):
        yield f"an {name}", lambda name=name: seeds.sound()[name], ACCEPTED
    yield "no byte", lambda: b"", BROKEN


def _full() -> Iterator[Made]:
    yield "a byte too many", lambda: jpeg(1) + bytes(MAX_UPLOAD_BYTES + 1 - len(jpeg(1))), TOO_LARGE
    yield "as many bytes as are taken", lambda: jpeg(1) + bytes(MAX_UPLOAD_BYTES - len(jpeg(1))), ACCEPTED


def _polyglots() -> Iterator[Made]:
    """Pictures that are something else too; they are taken as what their first bytes say."""
    kinds = {"JPEG": jpeg(2), "PNG": encoded(noise(2), "PNG"), "WEBP": encoded(noise(2), "WEBP")}
    others = {"zip": _zip(), "page": SCRIPT, "gif": b"GIF89a" + bytes(100), "pdf": SOURCES["a pdf"], "jpeg": jpeg(3)}
    for kind, data in kinds.items():
        for other, more in others.items():
            yield f"{kind} and {other}", lambda data=data, more=more: data + more, ACCEPTED
    page = segment(0xFE, SCRIPT)
    yield "JPEG whose comment is a page", lambda: jpeg(2)[:2] + page + jpeg(2)[2:], ACCEPTED
    yield "GIF header and JPEG", lambda: b"GIF89a" + jpeg(2), BROKEN


def _truncated() -> Iterator[Made]:
    """Sound pictures that end early, at every 16th of their length, and right after their header."""
    for name in ("jpeg", "progressive jpeg", "png", "interlaced png", "webp", "lossless webp", *TRUNCATED):
        for part in range(1, 16):
            yield (
                f"{part}/16 of a {name}",
                lambda name=name, part=part: (data := seeds.sound()[name])[: len(data) * part // 16],
                BROKEN,
            )


def _packed() -> Iterator[Made]:
    for name, data in (("gzip", zlib.compress(jpeg(1), wbits=31)), ("zlib", zlib.compress(jpeg(1)))):
        yield f"a picture in {name}", lambda data=data: data, UNSUPPORTED


def _kept() -> Iterator[Made]:
    """Files that broke something once. Their names begin with the status that they must get."""
    for path in sorted(KEPT.iterdir()):
        yield f"kept {path.name}", path.read_bytes, (int(path.name.partition("-")[0]),)


FILES: list[Made] = [
    *_kept(),
    *_foreign(),
    *_polyglots(),
    *_truncated(),
    *_packed(),
    *crafted_jpegs.FILES,
    *crafted_pngs.FILES,
    *crafted_webps.FILES,
    *crafted_others.FILES,
]
BOMBS: list[Made] = [*_full(), *crafted_jpegs.BOMBS, *crafted_pngs.BOMBS, *crafted_webps.BOMBS, *crafted_others.BOMBS]
"""Files that take long to make or to decode."""
