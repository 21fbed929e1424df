"""Writes EXIF, sound and less sound, as cameras and programs do."""

import struct

ORIENTATION, DESCRIPTION = 0x0112, 0x010E
BYTE, ASCII, SHORT, LONG = 1, 2, 3, 4


def tiff(
    orientation: int,
    *,
    order: str = ">",
    kind: int = SHORT,
    count: int = 1,
    at: int = 8,
    before: int = 0,
) -> bytes:
    """A TIFF header and a directory with an orientation, after ``before`` other entries."""
    value = {BYTE: "Bxxx", SHORT: "Hxx", LONG: "I", ASCII: "Bxxx"}[kind]
    entries = b"".join(struct.pack(f"{order}HHI4s", DESCRIPTION - one, ASCII, 2, b"a\0\0\0") for one in range(before))
    entries += struct.pack(f"{order}HHI", ORIENTATION, kind, count) + struct.pack(order + value, orientation)
    head = b"MM\0*" if order == ">" else b"II*\0"
    directory = struct.pack(f"{order}H", before + 1) + entries + bytes(4)
    return head + struct.pack(f"{order}I", at) + bytes(at - 8) + directory


def thumbnails_alone(orientation: int) -> bytes:
    """EXIF whose second directory, that of a thumbnail, has the only orientation."""
    first = struct.pack(">HHHI4sI", 1, DESCRIPTION, ASCII, 2, b"a\0\0\0", 26)
    second = struct.pack(">HHHIHxxI", 1, ORIENTATION, SHORT, 1, orientation, 0)
    return b"MM\0*" + struct.pack(">I", 8) + first + second


def xmp(orientation: int) -> bytes:
    """A packet of XMP with an orientation."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        f'tiff:Orientation="{orientation}"/></rdf:RDF></x:xmpmeta>'
    ).encode()
