"""Sound pictures of every variant that mutations begin with, small enough that thousands are tried in a minute."""

import struct
import zlib
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from tests.fuzz.pictures.formats import PNG_SIGNATURE, chunk
from tests.pictures import encoded, noise

HEIC = Path(__file__).parents[2] / "data" / "heic"
DEMO = Path(__file__).parents[3] / "demo" / "pictures"
DEMO_OF_EACH = 3
LARGEST_DEMO = 60_000
"""Bytes of the largest picture that is taken from the demo corpus."""
SIDES = (96, 72)


def exif(orientation: int = 6) -> bytes:
    """EXIF with an orientation and a few other tags."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010E] = "a picture"
    tags[0x011A] = 72.0
    tags[0x0128] = 2
    return tags.tobytes()


def profile() -> bytes:
    """An ICC profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@cache
def sound() -> dict[str, bytes]:
    """Pictures that are accepted, by name."""
    return {**_jpegs(), **_pngs(), **_webps(), **_others(), **_animations(), **_demo()}


@cache
def foreign() -> dict[str, bytes]:
    """Pictures that are refused for what they are."""
    return {kind: encoded(noise(1, *SIDES), kind) for kind in ("ICO", "PPM", "JPEG2000", "TGA")}


def _jpegs() -> dict[str, bytes]:
    picture = noise(1, *SIDES)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>'
    return {
        "jpeg": encoded(picture, quality=85),
        "grey jpeg": encoded(picture.convert("L"), quality=85),
        "cmyk jpeg": encoded(picture.convert("CMYK"), quality=85),
        "progressive jpeg": encoded(picture, quality=85, progressive=True),
        "progressive grey jpeg": encoded(picture.convert("L"), quality=50, progressive=True),
        "jpeg 4:4:4": encoded(picture, quality=95, subsampling=0),
        "jpeg with restarts": encoded(picture, quality=80, restart_marker_blocks=2),
        "progressive jpeg with restarts": encoded(picture, quality=80, restart_marker_rows=1, progressive=True),
        "jpeg with metadata": encoded(picture, exif=exif(), icc_profile=profile(), xmp=xmp, comment=b"a comment"),
        "mpo": encoded(picture, "MPO", save_all=True, append_images=[noise(2, *SIDES)]),
    }


def _pngs() -> dict[str, bytes]:
    picture = noise(2, *SIDES)
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a picture")
    text.add_text("Comment", "compressed " * 50, zip=True)
    text.add_itxt("XML:com.adobe.xmp", '<tiff:Orientation="3"/>', zip=True)
    deep = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    palette = picture.quantize(60)
    palette.info["transparency"] = bytes(range(60))
    return {
        "png": encoded(picture, "PNG"),
        "rgba png": encoded(picture.convert("RGBA"), "PNG"),
        "grey png": encoded(picture.convert("L"), "PNG"),
        "grey alpha png": encoded(picture.convert("LA"), "PNG"),
        "bilevel png": encoded(picture.convert("1"), "PNG"),
        "png of 16 bits": encoded(deep, "PNG"),
        "palette png": encoded(palette, "PNG", transparency=bytes(range(60))),
        "palette png of 2 bits": encoded(picture.quantize(4), "PNG", bits=2),
        "png with metadata": encoded(picture, "PNG", pnginfo=text, exif=exif(8), icc_profile=profile(), dpi=(72, 72)),
        "interlaced png": interlaced(picture),
    }


def _webps() -> dict[str, bytes]:
    picture = noise(3, *SIDES)
    clear = picture.convert("RGBA")
    clear.putalpha(noise(4, *SIDES).convert("L"))
    return {
        "webp": encoded(picture, "WEBP", quality=80),
        "webp with alpha": encoded(clear, "WEBP", quality=80),
        "lossless webp": encoded(picture, "WEBP", lossless=True),
        "lossless webp with alpha": encoded(clear, "WEBP", lossless=True, exact=True),
        "lossless webp with a palette": encoded(picture.quantize(12).convert("RGB"), "WEBP", lossless=True),
        "webp with metadata": encoded(picture, "WEBP", exif=exif(3), icc_profile=profile(), xmp=b"<x/>"),
    }


def _others() -> dict[str, bytes]:
    picture = noise(4, *SIDES)
    clear = picture.convert("RGBA")
    clear.putalpha(noise(5, *SIDES).convert("L"))
    compressions = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    return {
        "gif": encoded(picture, "GIF"),
        "interlaced gif with transparency": encoded(picture.quantize(16), "GIF", transparency=3, interlace=1),
        "bmp": encoded(picture, "BMP"),
        "palette bmp": encoded(picture.quantize(16), "BMP"),
        "avif": encoded(picture, "AVIF"),
        "avif with alpha": encoded(clear, "AVIF", exif=exif(3), icc_profile=profile()),
        **{f"{one} tiff": encoded(picture, "TIFF", compression=one) for one in compressions},
        "group4 tiff": encoded(picture.convert("1"), "TIFF", compression="group4"),
        "turned tiff": encoded(clear, "TIFF", exif=exif(6)),
        **{f"heic {path.stem}": path.read_bytes() for path in sorted(HEIC.iterdir())},
    }


def _animations() -> dict[str, bytes]:
    frames = [noise(seed, *SIDES) for seed in range(3)]
    more = {"save_all": True, "append_images": frames[1:]}
    made = {f"animated {kind.lower()}": encoded(frames[0], kind, **more) for kind in ("GIF", "PNG", "WEBP", "AVIF")}
    made["animated png with a default"] = encoded(frames[0], "PNG", default_image=True, **more)
    made["many pages of tiff"] = encoded(frames[0], "TIFF", **more)
    return made


def _demo() -> dict[str, bytes]:
    found = {}
    for ending in ("jpg", "png", "webp"):
        files = sorted(one for one in DEMO.rglob(f"*.{ending}") if one.stat().st_size <= LARGEST_DEMO)
        found |= {f"demo {one.name}": one.read_bytes() for one in files[:: len(files) // DEMO_OF_EACH]}
    return found


def interlaced(picture: Image.Image) -> bytes:
    """An interlaced PNG, which Pillow cannot write."""
    pixels = np.asarray(picture.convert("RGB"))
    steps = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    passes = [pixels[top::down, left::right] for top, left, down, right in steps]
    rows = b"".join(b"\0" + row.tobytes() for one in passes for row in one if row.size)
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 1)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")
    data = PNG_SIGNATURE + body
    assert Image.open(BytesIO(data)).convert("RGB").tobytes() == picture.tobytes()
    return data
