"""Colours of wide gamuts, of print and of other gammas come out as the sRGB that they stand for."""

import numpy as np
import pytest
from PIL import Image

from tests.fuzz.pictures.formats import chunk
from tests.odd_pictures import profiles
from tests.odd_pictures.jpegs import jpegs
from tests.odd_pictures.pngs import GREY, GREY_ALPHA, RGB, code_points, gamma, icc, png, primaries
from tests.pictures import encoded, noise
from visualsearch.imaging.preprocessing import decode

COLOURS = [(200, 100, 50), (30, 160, 90), (60, 70, 200), (128, 128, 128), (255, 255, 255), (0, 0, 0)]
SRGB_MATRIX = profiles.xyz_of(profiles.SRGB, profiles.D65)


def light_of(colour) -> np.ndarray:
    share = np.array(colour) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def curve_of_srgb(light) -> np.ndarray:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def samples_in(gamut, curve, colour, white=profiles.D65) -> tuple[int, ...]:
    """The samples that stand for a colour of sRGB in a gamut."""
    light = np.linalg.solve(profiles.xyz_of(gamut, white), SRGB_MATRIX @ light_of(colour))
    return tuple((255 * curve(np.clip(light, 0, 1))).round().astype(int).tolist())


def power(exponent):
    return lambda light: light**exponent


def seen(data: bytes) -> list[int]:
    return decode(data).pixels.reshape(-1, 3).mean(0).round().astype(int).tolist()


def flat(samples, colour=RGB, depth=8, *more) -> bytes:
    return png(np.full((32, 32, len(samples)), samples), colour, depth, *more)


GAMUTS = {
    "Display P3": (profiles.P3, curve_of_srgb, profiles.D65, profiles.SRGB_CURVE),
    "Adobe RGB": (profiles.ADOBE, power(1 / 2.19921875), profiles.D65, profiles.gamma_curve(2.19921875)),
    "ProPhoto": (profiles.PROPHOTO, power(1 / 1.80078125), profiles.D50_XY, profiles.gamma_curve(1.80078125)),
}


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("gamut", GAMUTS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_wide_gamut_is_converted(gamut, colour, kind):
    of, curve, white, tone = GAMUTS[gamut]
    picture = Image.new("RGB", (32, 32), samples_in(of, curve, colour, white))
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    data = encoded(picture, kind, icc_profile=profiles.rgb_profile(of, tone, white), **options)
    assert seen(data) == pytest.approx(colour, abs=5 if gamut == "ProPhoto" else 3)


CHUNKS = {
    "cICP of Display P3": (profiles.P3, curve_of_srgb, [code_points(12, 13, 0, 1)]),
    "cICP of Rec. 2020 and a linear curve": (profiles.REC2020, power(1), [code_points(9, 8, 0, 1)]),
    "cICP over a profile": (profiles.P3, curve_of_srgb, [code_points(12, 13, 0, 1), icc(profiles.grey_profile(1))]),
    "gamma": (profiles.SRGB, power(1 / 1.8), [gamma(1 / 1.8)]),
    "gamma and primaries": (profiles.ADOBE, power(1 / 2.2), [gamma(1 / 2.2), primaries(profiles.ADOBE)]),
    "sRGB over gamma": (profiles.SRGB, curve_of_srgb, [gamma(1), chunk(b"sRGB", b"\0")]),
    "primaries alone, which say too little": (profiles.SRGB, curve_of_srgb, [primaries(profiles.P3)]),
    "code points of HDR, which are ignored": (profiles.SRGB, curve_of_srgb, [code_points(9, 16, 0, 1)]),
    "no gamma at all": (profiles.SRGB, curve_of_srgb, [gamma(0)]),
    "primaries of nothing": (profiles.SRGB, curve_of_srgb, [gamma(1), chunk(b"cHRM", bytes(32))]),
}


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("name", CHUNKS)
def test_the_chunks_of_a_png_tell_its_colours(name, colour):
    gamut, curve, chunks = CHUNKS[name]
    assert seen(flat(samples_in(gamut, curve, colour), RGB, 8, *chunks)) == pytest.approx(colour, abs=4)


@pytest.mark.parametrize(("grey", "light"), [(0, 0), (55, 128), (255, 255)])
def test_the_profile_of_a_grey_picture_counts(grey, light):
    profile = profiles.grey_profile(1)
    opaque = encoded(Image.new("L", (32, 32), grey), icc_profile=profile)
    clear = flat((257 * grey, 65535), GREY_ALPHA, 16, icc(profile))
    assert seen(opaque) == pytest.approx([light] * 3, abs=2)
    assert seen(clear) == pytest.approx([light] * 3, abs=2)


@pytest.mark.parametrize(
    ("inks", "colour"),
    [((0, 0, 0, 0), (255, 255, 255)), ((255, 0, 0, 0), (63, 160, 218)), ((0, 0, 0, 255), (39, 39, 39))],
)
def test_inks_come_out_as_their_profile_says(inks, colour):
    data = encoded(Image.new("CMYK", (32, 32), inks), quality=100, icc_profile=profiles.cmyk_profile())
    assert seen(data) == pytest.approx(colour, abs=4)


def test_inks_look_the_same_whichever_way_they_are_written():
    made = jpegs()
    pictures = [decode(made[f"JPEG, {name}"].data).pixels.astype(int) for name in ("CMYK", "YCCK", "CMYK progressive")]
    for other in pictures[1:]:
        assert np.abs(pictures[0] - other).mean() < 3


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_clear_grey_of_a_png_is_transparent_at_every_depth(depth):
    most = 2**depth - 1
    clear = chunk(b"tRNS", (most - 1).to_bytes(2, "big"))
    samples = np.full((32, 32, 1), most - 1)
    samples[8:24, 8:24] = most
    shown = decode(png(samples, GREY, depth, clear)).pixels
    assert shown[2, 2].tolist() == [0, 0, 0]
    assert shown[112, 112].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    "name", ["transparency", "gamma", "chromaticity", "icc_profile", "cicp", "grey", "exif", "srgb"]
)
@pytest.mark.parametrize("after", [False, True])
def test_a_text_of_a_png_is_taken_for_nothing_else(name, after):
    plain = png(np.asarray(noise(1, 32, 32), int), RGB)
    text = chunk(b"tEXt", name.encode() + b"\0" + b"1")
    at = plain.index(b"IEND" if after else b"IDAT") - 4
    assert np.array_equal(decode(plain[:at] + text + plain[at:]).pixels, decode(plain).pixels)
