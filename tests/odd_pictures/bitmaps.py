"""Odd BMPs and AVIFs."""

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.odd_pictures import exif, profiles
from tests.odd_pictures.odd_picture import SIZE, OddPicture, cutout, scene
from tests.pictures import encoded

UNCOMPRESSED, RUNS, MASKS = 0, 1, 3
MASKS_565 = struct.pack("<III", 0xF800, 0x7E0, 0x1F)


def bitmaps() -> dict[str, OddPicture]:
    """Odd BMPs and AVIFs by name."""
    return {**_bmps(), **_avifs()}


def bmp(depth: int, rows: bytes, coding: int = UNCOMPRESSED, more: bytes = b"", height: int = SIZE[1]) -> bytes:
    """A BMP of the scene's width; ``more`` is its masks or its palette. A negative height is from the top down."""
    colours = len(more) // 4 if depth <= 8 else 0
    info = struct.pack("<IiiHHIIiiII", 40, SIZE[0], height, 1, depth, coding, len(rows), 0, 0, colours, 0)
    begin = 14 + len(info) + len(more)
    return b"BM" + struct.pack("<IHHI", begin + len(rows), 0, 0, begin) + info + more + rows


def _rows(samples: NDArray[np.uint8], top_down: bool = False) -> bytes:
    """Rows of bytes, padded to a multiple of four."""
    ordered = samples if top_down else samples[::-1]
    return b"".join(row.tobytes().ljust(-(-row.nbytes // 4) * 4, b"\0") for row in ordered)


def _bmps() -> dict[str, OddPicture]:
    made = {**_of_colours(), **_of_palettes(), "alpha": _with_alpha(np.asarray(cutout()))}
    return {f"BMP, {name}": OddPicture(data, tolerance=1.5) for name, data in made.items()}


def _of_colours() -> dict[str, bytes]:
    pixels = np.asarray(scene())
    blue_first = pixels[..., ::-1]
    unused = np.zeros((*pixels.shape[:2], 1), np.uint8)
    return {
        "24 bits": bmp(24, _rows(blue_first)),
        "from the top down": bmp(24, _rows(blue_first, top_down=True), height=-SIZE[1]),
        "32 bits of which 8 are unused": bmp(32, _rows(np.concatenate([blue_first, unused], axis=2))),
        "16 bits": bmp(16, _rows(_packed(pixels, (5, 5, 5)))),
        "16 bits with masks": bmp(
            16, _rows(_packed(pixels, (5, 6, 5))), MASKS, struct.pack("<III", 0xF800, 0x7E0, 0x1F)
        ),
    }


def _packed(pixels: NDArray[np.uint8], bits: tuple[int, int, int]) -> NDArray[np.uint16]:
    """Samples of some bits each, packed into 16."""
    packed = np.zeros(pixels.shape[:2], np.uint16)
    for channel, count in enumerate(bits):
        packed = packed << count | pixels[..., channel] >> (8 - count)
    return packed.astype("<u2")


def _of_palettes() -> dict[str, bytes]:
    few = scene().quantize(16)
    index, colours = np.asarray(few), np.array(few.getpalette()).reshape(-1, 3)[:16]
    palette = np.pad(colours[:, ::-1], ((0, 0), (0, 1))).astype(np.uint8).tobytes()
    runs = b"".join(b"".join(bytes([1, value]) for value in row) + b"\0\0" for row in index[::-1]) + b"\0\1"
    return {
        "a palette of 8 bits": bmp(8, _rows(index), more=palette),
        "a palette of 4 bits": bmp(4, _rows(index[:, ::2] << 4 | index[:, 1::2]), more=palette),
        "two colours": encoded(scene().convert("1"), "BMP"),
        "runs": bmp(8, runs, RUNS, palette),
    }


def _with_alpha(clear: NDArray[np.uint8]) -> bytes:
    """A BMP whose header of version 4 has a mask for alpha."""
    width, height = SIZE
    rows = _rows(clear[..., [2, 1, 0, 3]])
    info = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, MASKS, len(rows), 0, 0, 0, 0)
    info += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(rows), 0, 0, 14 + len(info)) + info + rows


def _avifs() -> dict[str, OddPicture]:
    p3 = profiles.rgb_profile(profiles.P3, profiles.SRGB_CURVE)
    made = {
        "4:2:0": _avif(scene()),
        "4:4:4": _avif(scene(), subsampling="4:4:4"),
        "grey": _avif(scene().convert("L"), subsampling="4:0:0"),
        "narrow range": _avif(scene(), range="limited"),
        "Display P3": _avif(scene(), icc_profile=p3),
        "XMP 6": _avif(scene(), xmp=exif.xmp(6)),
    }
    made |= {f"EXIF {turn}": _avif(scene(), exif=exif.tiff(turn)) for turn in range(1, 9)}
    rough = {
        "alpha": _avif(cutout()),
        "premultiplied alpha": _avif(cutout(), alpha_premultiplied=True),
        "animated": _avif(scene(), save_all=True, append_images=[Image.new("RGB", SIZE)], duration=60_000),
    }
    # Chromium smooths the colours of a sequence less, and darkens what is partly transparent.
    return {f"AVIF, {name}": OddPicture(data, tolerance=2) for name, data in made.items()} | {
        f"AVIF, {name}": OddPicture(data, tolerance=11) for name, data in rough.items()
    }


def _avif(picture: Image.Image, **options) -> bytes:
    return encoded(picture, "AVIF", speed=10, quality=95, **options)
