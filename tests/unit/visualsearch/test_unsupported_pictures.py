"""Files that are not accepted are named for what they are, and never called damaged."""

import struct
import zipfile
from io import BytesIO

import pytest
from PIL import Image

from tests.fuzz.pictures import crafted_jpegs
from tests.pictures import encoded, noise
from visualsearch.domain.errors import UnsupportedImage
from visualsearch.imaging.preprocessing import decode, dimensions

PICTURE = noise(1, 96, 72)


def archive():
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("a.txt", "text")
    return out.getvalue()


def tiff(*tags):
    """A TIFF of 96x72 with tags of one long value."""
    entries = sorted([(256, 96), (257, 72), *tags])
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4)


NAMED = {
    "a 12-bit JPEG": lambda: crafted_jpegs.jpeg_of(crafted_jpegs.with_frame(crafted_jpegs.parts_of(), precision=12)),
    "a lossless JPEG": lambda: crafted_jpegs.noise_scan(0xC3, 100, 1000),
    "a hierarchical JPEG": lambda: crafted_jpegs.noise_scan(0xC5, 100, 1000),
    "a JPEG-LS picture": lambda: crafted_jpegs.noise_scan(0xF7, 100, 1000),
    "a JPEG 2000 picture": lambda: encoded(PICTURE, "JPEG2000"),
    "a JPEG XL picture": lambda: b"\xff\x0a" + bytes(50),
    "an SVG drawing": lambda: b'\n<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "a PDF document": lambda: b"%PDF-1.7\n",
    "a PostScript document": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "a Photoshop document": lambda: b"8BPS\0\1" + bytes(20),
    r"an icon \(ICO\)": lambda: encoded(PICTURE, "ICO"),
    r"a picture of a Unix program \(PBM, PGM, PPM\)": lambda: encoded(PICTURE, "PPM"),
    r"a raw file of a camera \(Canon CR2\)": lambda: b"II*\0\x10\0\0\0CR\2\0" + bytes(50),
    r"a raw file of a camera \(Canon CR3\)": lambda: b"\0\0\0\x18ftypcrx " + bytes(50),
    r"a raw file of a camera \(Fujifilm RAF\)": lambda: b"FUJIFILMCCD-RAW 0201" + bytes(50),
    r"a raw file of a camera \(Panasonic RW2\)": lambda: b"IIU\0\x18\0\0\0" + bytes(50),
    r"a raw file of a camera \(DNG, NEF, ARW or the like\)": lambda: tiff((50706, 1)),
    "a raw file of a camera": lambda: tiff((254, 1), (330, 0)),
    r"a TIFF of an unusual kind \(compression 34712\)": lambda: tiff((258, 8), (259, 34712), (262, 1)),
    r"a TIFF of an unusual kind \(unknown pixel mode\)": lambda: tiff((258, 5), (259, 1), (262, 1)),
    r"a TIFF of an unusual kind \(pixels of mode F\)": lambda: encoded(Image.new("F", (96, 72)), "TIFF"),
    r"a BMP of an unusual kind \(compression \(4\)\)": lambda: bmp_of_a_jpeg(),
    "a HEIF picture coded by H.264": lambda: b"\0\0\0\x18ftypavci\0\0\0\0mif1avci" + bytes(50),
    "a HEIF picture of an unusual coding": lambda: b"\0\0\0\x18ftypmif1\0\0\0\0mif1vvic" + bytes(50),
    "a video": lambda: b"\0\0\0\x18ftypmp42" + bytes(50),
    "a sound recording": lambda: b"OggS" + bytes(50),
    "an archive": archive,
    "a web page": lambda: b"<!doctype html><html><body>no picture</body></html>",
    "an XML document": lambda: b"<?xml version='1.0'?><note/>",
}


def bmp_of_a_jpeg():
    data = bytearray(encoded(PICTURE, "BMP"))
    data[30] = 4
    return bytes(data)


@pytest.mark.parametrize("what", NAMED)
def test_a_file_that_is_not_accepted_is_named(what):
    for use in (decode, dimensions):
        with pytest.raises(UnsupportedImage, match=f"The file is {what}.*onvert it to JPEG, PNG or WebP") as refused:
            use(NAMED[what]())
        assert "damaged" not in str(refused.value)


def test_a_file_of_an_unknown_kind_is_told_what_is_accepted():
    with pytest.raises(UnsupportedImage, match="not a JPEG, PNG, WebP, GIF, AVIF, HEIC, TIFF or BMP picture"):
        decode(b"hello")
