"""Odd PNGs: every type of colour and depth, interlaced or not, with transparency, gamma, primaries and profiles."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from tests.fuzz.pictures.formats import PNG_SIGNATURE, chunk
from tests.odd_pictures import exif, profiles
from tests.odd_pictures.odd_picture import OddPicture, cutout, scene

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
NAMES = {GREY: "grey", RGB: "RGB", PALETTE: "palette", GREY_ALPHA: "grey and alpha", RGBA: "RGBA"}
KINDS = [
    *((GREY, depth) for depth in (1, 2, 4, 8, 16)),
    *((PALETTE, depth) for depth in (1, 2, 4, 8)),
    *((colour, depth) for colour in (RGB, GREY_ALPHA, RGBA) for depth in (8, 16)),
]
ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
"""First row, first column, and steps of both, of the seven passes of an interlaced picture."""


def pngs() -> dict[str, OddPicture]:
    """Odd PNGs by name."""
    return {**_kinds(), **_clear_colours(), **_turned(), **_colour_chunks(), **_profiled()}


def png(samples: NDArray[np.int_], colour: int, depth: int = 8, *more: bytes, interlaced: bool = False) -> bytes:
    """A PNG of samples [height, width, channels], with chunks before its data."""
    height, width = samples.shape[:2]
    passes = [samples[top::down, left::right] for top, left, down, right in ADAM7] if interlaced else [samples]
    rows = b"".join(b"\0" + _packed(row, depth) for one in passes if one.shape[1] for row in one)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    body = [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND")]
    return PNG_SIGNATURE + b"".join(body)


def samples_of(colour: int, depth: int) -> tuple[NDArray[np.int_], list[bytes]]:
    """The scene in samples of a kind [height, width, channels], and the palette that they need."""
    clear = colour in {GREY_ALPHA, RGBA}
    picture = cutout() if clear else scene()
    if colour == PALETTE:
        indexed = picture.quantize(2**depth)
        return np.asarray(indexed)[..., None].astype(int), [chunk(b"PLTE", bytes(indexed.getpalette() or []))]
    mode = {GREY: "L", RGB: "RGB", GREY_ALPHA: "LA", RGBA: "RGBA"}[colour]
    values = np.atleast_3d(np.asarray(picture.convert(mode))).astype(int)
    most = 2**depth - 1
    # A third of the finest step is added, so that 16 bits are no repeated byte.
    return np.clip((values * most + most // 3) // 255, 0, most), []


def _packed(row: NDArray[np.int_], depth: int) -> bytes:
    if depth == 16:
        return row.astype(">u2").tobytes()
    bits = np.unpackbits(row.astype(np.uint8).reshape(-1, 1), axis=1)[:, 8 - depth :]
    return np.packbits(bits.ravel()).tobytes()


def _kinds() -> dict[str, OddPicture]:
    made = {}
    for colour, depth in KINDS:
        samples, palette = samples_of(colour, depth)
        name = f"PNG, {NAMES[colour]} of {depth} bits"
        made[name] = OddPicture(png(samples, colour, depth, *palette))
        made[f"{name}, interlaced"] = OddPicture(png(samples, colour, depth, *palette, interlaced=True))
    return made


def _clear_colours() -> dict[str, OddPicture]:
    """A transparent colour, or alphas of a palette (tRNS)."""
    made = {}
    for depth in (1, 2, 4, 8, 16):
        samples, _ = samples_of(GREY, depth)
        made[f"PNG, a clear grey of {depth} bits"] = png(
            samples, GREY, depth, chunk(b"tRNS", struct.pack(">H", _common(samples)[0]))
        )
    for depth in (8, 16):
        samples, _ = samples_of(RGB, depth)
        samples[10:40, 20:60] = _common(samples)
        made[f"PNG, a clear colour of {depth} bits"] = png(
            samples, RGB, depth, chunk(b"tRNS", struct.pack(">3H", *_common(samples)))
        )
    near, _ = samples_of(RGB, 16)
    near[10:40, 20:60] = (0x1234, 0x5678, 0x9ABC)
    made["PNG, a clear colour that differs in its last bits"] = png(
        near, RGB, 16, chunk(b"tRNS", struct.pack(">3H", 0x1235, 0x5679, 0x9ABD))
    )
    for depth in (1, 2, 4, 8):
        samples, palette = samples_of(PALETTE, depth)
        alphas = np.linspace(0, 255, 2**depth).astype(np.uint8).tobytes()
        made[f"PNG, alphas of a palette of {depth} bits"] = png(
            samples, PALETTE, depth, *palette, chunk(b"tRNS", alphas)
        )
        made[f"PNG, alphas of half a palette of {depth} bits"] = png(
            samples, PALETTE, depth, *palette, chunk(b"tRNS", alphas[: 2 ** (depth - 1)])
        )
    return {name: OddPicture(data, tolerance=1.5) for name, data in made.items()}


def _turned() -> dict[str, OddPicture]:
    samples, _ = samples_of(RGB, 8)
    made = {f"PNG, EXIF {turn}": png(samples, RGB, 8, chunk(b"eXIf", exif.tiff(turn))) for turn in range(1, 9)}
    text = zlib.compress(b"\nexif\n 26\n" + (b"Exif\0\0" + exif.tiff(6)).hex().encode() + b"\n")
    plain = png(samples, RGB)
    made |= {
        "PNG, EXIF 6 after its data": plain[:-12] + chunk(b"eXIf", exif.tiff(6)) + plain[-12:],
        "PNG, EXIF 6 with a JPEG's prefix": png(samples, RGB, 8, chunk(b"eXIf", b"Exif\0\0" + exif.tiff(6))),
        "PNG, EXIF 6 in a text": png(samples, RGB, 8, chunk(b"zTXt", b"Raw profile type exif\0\0" + text)),
        "PNG, EXIF 6, then EXIF 3": png(samples, RGB, 8, chunk(b"eXIf", exif.tiff(6)), chunk(b"eXIf", exif.tiff(3))),
        "PNG, broken EXIF": png(samples, RGB, 8, chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff\x01\x12")),
        "PNG, XMP 6": png(samples, RGB, 8, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + exif.xmp(6))),
    }
    return {name: OddPicture(data) for name, data in made.items()}


def gamma(value: float) -> bytes:
    """The chunk that tells the power by which samples were made of light."""
    return chunk(b"gAMA", struct.pack(">I", round(100_000 * value)))


def primaries(of: tuple[tuple[float, float], ...]) -> bytes:
    """The chunk of the chromaticities, with the white of daylight."""
    flat = [number for pair in (profiles.D65, *of) for number in pair]
    return chunk(b"cHRM", struct.pack(">8I", *(round(100_000 * number) for number in flat)))


def code_points(*points: int) -> bytes:
    """The chunk of primaries, transfer, matrix and range by the numbers of H.273."""
    return chunk(b"cICP", bytes(points))


def _colour_chunks() -> dict[str, OddPicture]:
    samples, _ = samples_of(RGB, 8)
    grey, _ = samples_of(GREY, 8)
    deep, _ = samples_of(RGB, 16)
    alike = chunk(b"sRGB", b"\0")
    sets = {
        "gamma 1/2.2": [gamma(1 / 2.2)],
        "gamma 1": [gamma(1)],
        "gamma 1/1.8": [gamma(1 / 1.8)],
        "gamma 0": [gamma(0)],
        "gamma 1 and primaries of sRGB": [gamma(1), primaries(profiles.SRGB)],
        "gamma 1/2.2 and primaries of sRGB": [gamma(1 / 2.2), primaries(profiles.SRGB)],
        "gamma 1/2.2 and primaries of P3": [gamma(1 / 2.2), primaries(profiles.P3)],
        "primaries of P3 alone": [primaries(profiles.P3)],
        "gamma 1 and primaries of nothing": [gamma(1), chunk(b"cHRM", bytes(32))],
        "sRGB": [alike],
        "sRGB and gamma 1": [alike, gamma(1)],
        "sRGB and gamma 1 and primaries of P3": [gamma(1), primaries(profiles.P3), alike],
        "cICP of sRGB": [code_points(1, 13, 0, 1)],
        "cICP of Display P3": [code_points(12, 13, 0, 1)],
        "cICP of Display P3 over sRGB": [code_points(12, 13, 0, 1), alike],
        "cICP of Display P3 over a profile": [code_points(12, 13, 0, 1), icc(bytes(profiles.grey_profile(1)))],
        "cICP of Rec. 2020": [code_points(9, 14, 0, 1)],
        "cICP of Rec. 709": [code_points(1, 1, 0, 1)],
        "cICP of linear light": [code_points(1, 8, 0, 1)],
        "cICP of gamma 2.2": [code_points(1, 4, 0, 1)],
        "cICP of narrow range": [code_points(12, 13, 0, 0)],
        "cICP of a matrix": [code_points(12, 13, 1, 1)],
        "cICP of unknown numbers": [code_points(99, 99, 0, 1)],
        "cICP of PQ": [code_points(9, 16, 0, 1)],
        "cICP of HLG": [code_points(9, 18, 0, 1)],
    }
    made = {f"PNG, {name}": OddPicture(png(samples, RGB, 8, *more), tolerance=2) for name, more in sets.items()}
    return made | {
        "PNG, grey, gamma 1": OddPicture(png(grey, GREY, 8, gamma(1)), tolerance=2),
        "PNG, grey, gamma 1 and primaries": OddPicture(
            png(grey, GREY, 8, gamma(1), primaries(profiles.SRGB)), tolerance=2
        ),
        "PNG, 16 bits, gamma 1 and primaries": OddPicture(
            png(deep, RGB, 16, gamma(1), primaries(profiles.SRGB)), tolerance=2
        ),
        "PNG, RGBA, gamma 1 and primaries": OddPicture(
            png(samples_of(RGBA, 8)[0], RGBA, 8, gamma(1), primaries(profiles.SRGB)), tolerance=2
        ),
    }


def icc(profile: bytes, name: bytes = b"profile") -> bytes:
    """The chunk of a profile."""
    return chunk(b"iCCP", name + b"\0\0" + zlib.compress(profile))


def _profiled() -> dict[str, OddPicture]:
    p3 = icc(profiles.rgb_profile(profiles.P3, profiles.SRGB_CURVE))
    light = icc(profiles.rgb_profile(profiles.SRGB, profiles.gamma_curve(1)))
    dark = icc(profiles.grey_profile(1))
    made = {}
    for colour, depth in [(RGB, 8), (RGB, 16), (RGBA, 8), (RGBA, 16), (PALETTE, 8)]:
        samples, palette = samples_of(colour, depth)
        made[f"PNG, {NAMES[colour]} of {depth} bits in Display P3"] = png(samples, colour, depth, p3, *palette)
        made[f"PNG, {NAMES[colour]} of {depth} bits in linear light"] = png(samples, colour, depth, light, *palette)
    for colour, depth in [(GREY, 1), (GREY, 8), (GREY, 16), (GREY_ALPHA, 8), (GREY_ALPHA, 16)]:
        samples, _ = samples_of(colour, depth)
        made[f"PNG, {NAMES[colour]} of {depth} bits with a profile for grey"] = png(samples, colour, depth, dark)
        made[f"PNG, {NAMES[colour]} of {depth} bits with a profile for RGB"] = png(samples, colour, depth, light)
    samples, _ = samples_of(RGB, 8)
    made |= {
        "PNG, RGB with a profile for grey": png(samples, RGB, 8, dark),
        "PNG, RGB with a profile for CMYK": png(samples, RGB, 8, icc(profiles.cmyk_profile())),
        "PNG, a profile over gamma and primaries": png(samples, RGB, 8, gamma(1), primaries(profiles.SRGB), p3),
        "PNG, a profile over sRGB": png(samples, RGB, 8, chunk(b"sRGB", b"\0"), p3),
        "PNG, a profile of nothing over gamma and primaries": png(
            samples, RGB, 8, gamma(1), primaries(profiles.SRGB), icc(bytes(300))
        ),
    }
    return {name: OddPicture(data, tolerance=2) for name, data in made.items()}


def _common(samples: NDArray[np.int_]) -> tuple[int, ...]:
    """The sample values of a pixel in the middle."""
    middle: tuple[int, ...] = tuple(samples[samples.shape[0] // 2, samples.shape[1] // 2].tolist())
    return middle
