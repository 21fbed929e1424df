"""Pictures with damage that hides no pixel: they are shown, and so they are searched."""

import zlib

import numpy as np

from tests.fuzz.pictures.formats import PNG_SIGNATURE, Part, chunk, chunks
from tests.odd_pictures.odd_picture import OddPicture, cutout, scene
from tests.odd_pictures.pngs import RGB, gamma, icc, png
from tests.pictures import encoded


def damaged() -> dict[str, OddPicture]:
    """Damaged pictures by name."""
    return {**_jpegs(), **_pngs(), **_others()}


def _jpegs() -> dict[str, OddPicture]:
    plain = encoded(scene(), quality=95)
    made = {
        "no end": plain[:-2],
        "half an end": plain[:-1],
        "100 KB after it": plain + bytes(100_000),
        "another JPEG after it": plain + encoded(cutout().convert("L"), quality=50),
        "a text before its first segment": plain[:2] + b"\xff\xfe\0\x06text" + plain[2:],
        "fill bytes between segments": plain.replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1),
    }
    return {f"JPEG, {name}": OddPicture(data) for name, data in made.items()}


def _pngs() -> dict[str, OddPicture]:
    samples = np.asarray(scene(), int)
    plain, bomb = png(samples, RGB), bytes(20_000_000)
    made = {
        "a text with a wrong checksum": png(samples, RGB, 8, _wrong(b"tEXt", b"a\0text")),
        "a size of pixels with a wrong checksum": png(samples, RGB, 8, _wrong(b"pHYs", bytes(9))),
        "a gamma with a wrong checksum": png(samples, RGB, 8, _wrong(b"gAMA", gamma(1)[8:12])),
        "a profile that unpacks to 20 MB": png(samples, RGB, 8, icc(bomb)),
        "a text that unpacks to 20 MB": png(samples, RGB, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bomb))),
        "no end": plain[:-12],
        "100 KB after it": plain + bytes(100_000),
        "an unknown chunk": png(samples, RGB, 8, chunk(b"xyZt", b"something")),
        "an empty piece of data": png(samples, RGB, 8, chunk(b"IDAT")),
        "its data in pieces of a byte": _in_pieces(plain),
    }
    return {f"PNG, {name}": OddPicture(data) for name, data in made.items()}


def _others() -> dict[str, OddPicture]:
    return {
        "WebP, 100 KB after it": OddPicture(encoded(scene(), "WEBP", lossless=True) + bytes(100_000)),
        "GIF, no end": OddPicture(encoded(scene(), "GIF")[:-1]),
        "GIF, 100 KB after it": OddPicture(encoded(scene(), "GIF") + bytes(100_000)),
        "BMP, 100 KB after it": OddPicture(encoded(scene(), "BMP") + bytes(100_000)),
    }


def _wrong(kind: bytes, data: bytes) -> bytes:
    """A chunk with a wrong checksum."""
    return chunk(kind, data, crc=1)


def _in_pieces(data: bytes) -> bytes:
    made: list[Part] = []
    for part in chunks(data):
        step = 1 if part.kind == b"IDAT" else max(1, len(part.data))
        made += [Part(part.kind, part.data[at : at + step]) for at in range(0, max(1, len(part.data)), step)]
    return PNG_SIGNATURE + b"".join(chunk(part.kind, part.data) for part in made)
