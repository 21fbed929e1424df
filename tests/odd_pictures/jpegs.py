"""Odd JPEGs: every turn, every coding, colours of print and of wide gamuts, metadata that contradicts itself."""

from io import BytesIO

import numpy as np
from PIL import Image

from tests.fuzz.pictures.formats import segment
from tests.odd_pictures import exif, profiles
from tests.odd_pictures.odd_picture import OddPicture, scene
from tests.pictures import encoded, noise

EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
ADOBE_TRANSFORM_AT = 15
"""Bytes from the marker of Adobe's segment to its colour transform."""


def jpegs() -> dict[str, OddPicture]:
    """Odd JPEGs by name."""
    return {**_turned(), **_less_sound_exif(), **_codings(), **_print(), **_gamuts()}


def with_segments(data: bytes, *inserted: bytes) -> bytes:
    """A JPEG with segments before all others."""
    return data[:2] + b"".join(inserted) + data[2:]


def app1(content: bytes) -> bytes:
    """The segment of EXIF or XMP."""
    return segment(0xE1, content)


def _turned() -> dict[str, OddPicture]:
    plain, made = _plain(), {}
    for turn in range(1, 9):
        exif_of = app1(EXIF + exif.tiff(turn))
        other = app1(XMP + exif.xmp(9 - turn))
        made[f"JPEG, EXIF {turn}"] = OddPicture(with_segments(plain, exif_of))
        made[f"JPEG, EXIF {turn}, XMP {9 - turn}"] = OddPicture(with_segments(plain, exif_of, other))
    made["JPEG, XMP 6 alone"] = OddPicture(with_segments(plain, app1(XMP + exif.xmp(6))))
    made["JPEG, XMP 6, then EXIF 3"] = OddPicture(
        with_segments(plain, app1(XMP + exif.xmp(6)), app1(EXIF + exif.tiff(3)))
    )
    return made


def _less_sound_exif() -> dict[str, OddPicture]:
    plain, six = _plain(), exif.tiff(6)
    contents = {
        "little-endian": exif.tiff(6, order="<"),
        "orientation of kind LONG": exif.tiff(6, kind=exif.LONG),
        "little-endian orientation of kind LONG": exif.tiff(6, kind=exif.LONG, order="<"),
        "orientation of kind BYTE": exif.tiff(6, kind=exif.BYTE),
        "orientation of kind ASCII": exif.tiff(6, kind=exif.ASCII),
        "two orientations in one": exif.tiff(6, count=2),
        "no orientation in one": exif.tiff(6, count=0),
        "orientation 0": exif.tiff(0),
        "orientation 9": exif.tiff(9),
        "a directory far in": exif.tiff(6, at=200),
        "other entries first": exif.tiff(6, before=5),
        "a thumbnail's orientation alone": exif.thumbnails_alone(6),
        "cut in the entry": six[:16],
        "cut after the entry": six[:22],
        "a directory that begins after its end": six[:4] + (5000).to_bytes(4, "big") + six[8:],
        "another byte order than it says": b"II*\0" + six[4:],
        "no byte order": b"XX*\0" + six[4:],
        "another magic number": b"MM\0+" + six[4:],
        "more entries than it has": six[:8] + (500).to_bytes(2, "big") + six[10:],
        "nothing": b"",
    }
    made = {f"JPEG, EXIF with {name}": with_segments(plain, app1(EXIF + data)) for name, data in contents.items()}
    made |= {
        "JPEG, EXIF 6, then EXIF 3": with_segments(plain, app1(EXIF + six), app1(EXIF + exif.tiff(3))),
        "JPEG, broken EXIF, then EXIF 6": with_segments(plain, app1(EXIF + b"XX"), app1(EXIF + six)),
        "JPEG, EXIF whose name lacks a zero": with_segments(plain, app1(b"Exif\0" + six)),
        "JPEG, EXIF whose name ends in 0xFF": with_segments(plain, app1(b"Exif\0\xff" + six)),
        "JPEG, EXIF in lower case": with_segments(plain, app1(b"exif\0\0" + six)),
        "JPEG, EXIF in APP2": with_segments(plain, segment(0xE2, EXIF + six)),
        "JPEG, EXIF before its scan": _before_scan(plain, app1(EXIF + six)),
        "JPEG, EXIF after its end": plain + app1(EXIF + six),
    }
    return {name: OddPicture(data) for name, data in made.items()}


def _codings() -> dict[str, OddPicture]:
    picture = scene()
    preview = encoded(picture, "MPO", save_all=True, append_images=[noise(9, 96, 64)], quality=95)
    options = {
        "baseline": {},
        "progressive": {"progressive": True},
        "4:2:0": {"subsampling": 2},
        "4:2:2": {"subsampling": 1},
        "4:4:4": {"subsampling": 0},
        "with restart markers": {"restart_marker_blocks": 1},
        "progressive with restart markers": {"restart_marker_rows": 1, "progressive": True},
        "coarse": {"quality": 10},
    }
    made = {f"JPEG, {name}": encoded(picture, **{"quality": 95, **options}) for name, options in options.items()}
    grey = picture.convert("L")
    return {name: OddPicture(data, tolerance=1.5) for name, data in made.items()} | {
        "JPEG, grey": OddPicture(encoded(grey, quality=95)),
        "JPEG, grey progressive": OddPicture(encoded(grey, quality=95, progressive=True)),
        "JPEG, RGB by Adobe's marker": OddPicture(encoded(picture, quality=95, keep_rgb=True)),
        "JPEG, RGB by its components' names": OddPicture(_without_adobe(encoded(picture, quality=95, keep_rgb=True))),
        "JPEG, 1600x1200": OddPicture(encoded(noise(6, 1600, 1200), quality=90)),
        "JPEG, 1600x1200 progressive": OddPicture(encoded(noise(6, 1600, 1200), quality=90, progressive=True)),
        "JPEG, a preview after it": OddPicture(preview, tolerance=1.5),
        "JPEG, a gain map after it": OddPicture(_with_gain_map(picture)),
    }


def _print() -> dict[str, OddPicture]:
    inks, profile = _inks(), profiles.cmyk_profile()
    cmyk, ycck = encoded(inks, quality=95), _ycck(inks)
    profiled = encoded(inks, quality=95, icc_profile=profile)
    return {
        "JPEG, CMYK": OddPicture(cmyk, tolerance=1.5),
        "JPEG, CMYK without Adobe's marker": OddPicture(_without_adobe(cmyk), tolerance=1.5),
        "JPEG, CMYK progressive": OddPicture(encoded(inks, quality=95, progressive=True), tolerance=1.5),
        "JPEG, CMYK with a profile": OddPicture(profiled, tolerance=2.5),
        "JPEG, CMYK with a profile, without Adobe's marker": OddPicture(_without_adobe(profiled), tolerance=2.5),
        "JPEG, CMYK with a profile for RGB": OddPicture(encoded(inks, quality=95, icc_profile=_p3()), tolerance=1.5),
        "JPEG, YCCK": OddPicture(ycck, tolerance=1.5),
        "JPEG, YCCK with a profile": OddPicture(_ycck(inks, icc_profile=profile), tolerance=2.5),
        "JPEG, CMYK, EXIF 6": OddPicture(with_segments(cmyk, app1(EXIF + exif.tiff(6))), tolerance=1.5),
    }


def _gamuts() -> dict[str, OddPicture]:
    picture, grey = scene(), scene().convert("L")
    adobe = profiles.rgb_profile(profiles.ADOBE, profiles.gamma_curve(2.19921875))
    prophoto = profiles.rgb_profile(profiles.PROPHOTO, profiles.gamma_curve(1.8), profiles.D50_XY)
    swapped = profiles.rgb_profile(profiles.SRGB[1:] + profiles.SRGB[:1], profiles.SRGB_CURVE)
    bright = profiles.rgb_profile(profiles.SRGB, profiles.gamma_curve(1.0))
    made = {
        "sRGB": encoded(picture, quality=95, icc_profile=profiles.rgb_profile(profiles.SRGB, profiles.SRGB_CURVE)),
        "Display P3": encoded(picture, quality=95, icc_profile=_p3()),
        "Adobe RGB": encoded(picture, quality=95, icc_profile=adobe),
        "ProPhoto": encoded(picture, quality=95, icc_profile=prophoto),
        "a profile that swaps the channels": encoded(picture, quality=95, icc_profile=swapped),
        "linear light": encoded(picture, quality=95, icc_profile=bright),
        "grey with a profile for grey": encoded(grey, quality=95, icc_profile=profiles.grey_profile(1.0)),
        "grey with a profile for RGB": encoded(grey, quality=95, icc_profile=bright),
        "colour with a profile for grey": encoded(picture, quality=95, icc_profile=profiles.grey_profile(1.0)),
        "colour with a profile for CMYK": encoded(picture, quality=95, icc_profile=profiles.cmyk_profile()),
        "a cut profile": encoded(picture, quality=95, icc_profile=_p3()[:200]),
        "a profile of nothing": encoded(picture, quality=95, icc_profile=bytes(500)),
    }
    return {f"JPEG, {name}": OddPicture(data, tolerance=2) for name, data in made.items()}


def _plain() -> bytes:
    return encoded(scene(), quality=95)


def _p3() -> bytes:
    return profiles.rgb_profile(profiles.P3, profiles.SRGB_CURVE)


def _before_scan(data: bytes, inserted: bytes) -> bytes:
    at = data.index(b"\xff\xda")
    return data[:at] + inserted + data[at:]


def _inks() -> Image.Image:
    """The scene in CMYK with ink under every colour."""
    cmy = 255 - np.asarray(scene()).astype(int)
    black = cmy.min(axis=2, keepdims=True) // 2
    return Image.fromarray(np.concatenate([cmy - black, black], axis=2).astype(np.uint8), "CMYK")


def _ycck(inks: Image.Image, **options) -> bytes:
    """A JPEG in YCCK as Photoshop writes it: black inverted, and the other inks turned to luminance and colour."""
    *colours, black = inks.split()
    coded = Image.merge("RGB", colours).convert("YCbCr")
    # Pillow inverts what it writes, which only black needs.
    bands = [band.point(lambda value: 255 - value) for band in coded.split()]
    data = bytearray(encoded(Image.merge("CMYK", [*bands, black]), quality=95, **options))
    data[data.index(b"\xff\xee\x00\x0eAdobe") + ADOBE_TRANSFORM_AT] = 2
    return bytes(data)


def _without_adobe(data: bytes) -> bytes:
    at = data.index(b"\xff\xee\x00\x0eAdobe")
    return data[:at] + data[at + 16 :]


def _with_gain_map(picture: Image.Image) -> bytes:
    """A picture whose gain map, a second JPEG for bright screens, follows it."""
    out = BytesIO()
    noise(7, 48, 32).convert("L").save(out, "JPEG")
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" '
        b'hdrgm:GainMapMax="3" hdrgm:HDRCapacityMax="3"/></rdf:RDF></x:xmpmeta>'
    )
    return with_segments(encoded(picture, quality=95), app1(XMP + xmp)) + out.getvalue()
