"""Odd animations and other pictures of frames: GIF, APNG and animated WebP, of which the first frame is searched."""

import struct

from PIL import Image

from tests.fuzz.pictures.formats import PNG_SIGNATURE, chunk, chunks, riff, riff_chunk, riff_chunks
from tests.odd_pictures.odd_picture import SIZE, OddPicture, cutout, scene
from tests.pictures import encoded, noise

FRAME = {"duration": 60_000}
"""Long enough that the browser shows the first frame when it is drawn."""


def animations() -> dict[str, OddPicture]:
    """Odd animations, and still GIFs, by name."""
    return {**_gifs(), **_apngs(), **_webps()}


def _others() -> list[Image.Image]:
    return [noise(seed, *SIZE) for seed in (11, 12)]


def _hole() -> Image.Image:
    """The scene, with nothing in the middle."""
    picture = scene().convert("RGBA")
    picture.paste((0, 0, 0, 0), (20, 20, 60, 50))
    return picture


def _gifs() -> dict[str, OddPicture]:
    few, more = scene().quantize(16), [one.quantize(16) for one in _others()]
    animated = {"save_all": True, "append_images": more, **FRAME}
    made = {
        "GIF": encoded(scene(), "GIF"),
        "GIF, grey": encoded(scene().convert("L"), "GIF"),
        "GIF, interlaced": encoded(few, "GIF", interlace=1),
        "GIF, two colours": encoded(scene().convert("1"), "GIF"),
        "GIF, a clear colour": encoded(_hole(), "GIF"),
        "GIF, animated": encoded(few, "GIF", **animated, loop=0),
        "GIF, animated once": encoded(few, "GIF", **animated),
        "GIF, animated with a clear colour": encoded(_hole(), "GIF", save_all=True, append_images=_others(), **FRAME),
        "GIF, animated, disposed of": encoded(few, "GIF", **animated, disposal=2),
        "GIF, a first frame smaller than its screen": _on_a_larger_screen(encoded(few, "GIF", interlace=0)),
        "GIF, a version of 1987": b"GIF87a" + encoded(few, "GIF", interlace=0)[6:],
    }
    return {name: OddPicture(data) for name, data in made.items()}


def _on_a_larger_screen(data: bytes) -> bytes:
    """A GIF whose frame lies at 10, 20 of a screen of 120 x 100."""
    at = data.index(b"\x2c\0\0\0\0" + struct.pack("<HH", *SIZE))
    screen = data[:6] + struct.pack("<HH", 120, 100) + data[10:at]
    return screen + b"\x2c" + struct.pack("<HH", 10, 20) + data[at + 5 :]


def _apngs() -> dict[str, OddPicture]:
    animated = {"save_all": True, "append_images": _others(), **FRAME}
    small = encoded(scene(), "PNG", **animated)
    made = {
        "APNG": small,
        "APNG whose ordinary picture is no frame": encoded(noise(13, *SIZE), "PNG", **animated, default_image=True),
        "APNG with alpha": encoded(cutout(), "PNG", **animated),
        "APNG of one frame": _one_frame(small),
    }
    return {name: OddPicture(data) for name, data in made.items()}


def _one_frame(data: bytes) -> bytes:
    """An APNG without all frames but the first."""
    kept, controls = [], 0
    for part in chunks(data):
        controls += part.kind == b"fcTL"
        if part.kind == b"acTL":
            kept.append(chunk(b"acTL", struct.pack(">II", 1, 0)))
        elif part.kind != b"fdAT" and not (part.kind == b"fcTL" and controls > 1):
            kept.append(chunk(part.kind, part.data))
    return PNG_SIGNATURE + b"".join(kept)


def _webps() -> dict[str, OddPicture]:
    animated = {"save_all": True, "append_images": _others(), "lossless": True, **FRAME}
    made = {
        "WebP, animated": encoded(scene(), "WEBP", **animated),
        "WebP, animated with alpha": encoded(cutout(), "WEBP", **animated),
        "WebP, animated on a colour": encoded(_hole(), "WEBP", **animated, background=(200, 0, 0, 255)),
        "WebP, a first frame smaller than its canvas": _on_a_larger_canvas(encoded(scene(), "WEBP", **animated)),
    }
    return {name: OddPicture(data) for name, data in made.items()}


def _on_a_larger_canvas(data: bytes) -> bytes:
    """An animated WebP of 120 x 100 whose first frame lies at 10, 20, with alpha around it."""
    made = []
    for part in riff_chunks(data):
        content = part.data
        if part.kind == b"VP8X":
            sides = (119).to_bytes(3, "little") + (99).to_bytes(3, "little")
            content = bytes([content[0] | 0x10]) + content[1:4] + sides
        elif part.kind == b"ANMF":
            content = (5).to_bytes(3, "little") + (10).to_bytes(3, "little") + content[6:]
        made.append(riff_chunk(part.kind, content))
    return riff(*made)
