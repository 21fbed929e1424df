"""Changes a GIF, BMP, TIFF, AVIF or HEIC with knowledge of where the numbers stand that its decoder believes."""

import struct
from collections.abc import Callable, Iterator
from random import Random

from tests.fuzz.pictures.byte_changes import BYTES, WIDE

CONTAINERS = {b"meta": 12, b"iprp": 8, b"ipco": 8, b"iref": 12, b"moov": 8, b"trak": 8, b"mdia": 8, b"minf": 8}


def _put(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _change_gif_header(random: Random, data: bytes) -> bytes:
    """Another canvas, palette or background than the frames have."""
    return _put(data, random.randrange(6, 13), bytes([random.choice(WIDE) % 256]))


def _change_gif_frame(random: Random, data: bytes) -> bytes:
    """Another place, size, palette or code size of the first frame."""
    at = data.index(b",", 13)
    return _put(data, at + random.randrange(1, 12), bytes([random.choice(WIDE) % 256]))


def _insert_gif_block(random: Random, data: bytes) -> bytes:
    at = data.index(b",", 13)
    content = random.randbytes(random.choice((0, 1, 4, 11, 255)))
    block = b"!" + bytes([random.choice((0x01, 0xF9, 0xFE, 0xFF, 0x00))]) + bytes([len(content)]) + content
    return data[:at] + block * random.choice((1, 3, 200)) + random.choice((b"\0", b"")) + data[at:]


def _change_bmp_header(random: Random, data: bytes) -> bytes:
    at = random.choice((10, 14, 18, 22, 26, 28, 30, 34, 46, 50))
    form = "<H" if at in {26, 28} else "<I"
    return _put(data, at, struct.pack(form, random.choice(WIDE) % 256 ** struct.calcsize(form)))


def _run_length_encoded(random: Random, data: bytes) -> bytes:
    """Claim that the rows are runs."""
    bits, kind = random.choice(((8, 1), (4, 2)))
    return _put(_put(data, 28, struct.pack("<H", bits)), 30, struct.pack("<I", kind))


def _change_tag(random: Random, data: bytes) -> bytes:
    """Another number, type, count or value of a TIFF's tag."""
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (number,) = struct.unpack_from(order + "H", data, directory)
    at = directory + 2 + 12 * random.randrange(number)
    place, form = random.choice(((0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H")))
    value = random.choice((*WIDE, 254, 256, 257, 258, 259, 262, 273, 277, 279, 284, 317, 322, 330, 338, 347, 530))
    return _put(data, at + place, struct.pack(order + form, value % 256 ** struct.calcsize("=" + form)))


def _change_directory(random: Random, data: bytes) -> bytes:
    """Another place or length of a TIFF's list of tags."""
    at = random.choice((4, int.from_bytes(data[4:8], "little" if data[:2] == b"II" else "big")))
    return _put(data, at, struct.pack(random.choice("<>") + "H", random.choice(WIDE) % 65_536))


def _boxes(data: bytes, begin: int, limit: int) -> Iterator[tuple[bytes, int, int]]:
    while begin + 8 <= limit:
        length, kind = struct.unpack_from(">I4s", data, begin)
        end = min(begin + length, limit) if length >= 8 else limit
        yield kind, begin, end
        if kind in CONTAINERS:
            yield from _boxes(data, begin + CONTAINERS[kind], end)
        begin = end


def _box(random: Random, data: bytes) -> tuple[bytes, int, int]:
    return random.choice(list(_boxes(data, 0, len(data))))


def _lie_about_box(random: Random, data: bytes) -> bytes:
    _, begin, _ = _box(random, data)
    return _put(data, begin, struct.pack(">I", random.choice(WIDE)))


def _rename_box(random: Random, data: bytes) -> bytes:
    (_, begin, _), (other, _, _) = _box(random, data), _box(random, data)
    return _put(data, begin + 4, random.choice((other, b"free", b"ispe", b"grid", b"meta", b"iloc", b"irot", b"clap")))


def _change_box(random: Random, data: bytes) -> bytes:
    _, begin, end = _box(random, data)
    content = data[begin + 8 : end] or b"\0"
    return (
        data[: begin + 8]
        + random.choice(BYTES)(random, content)[: len(content)].ljust(len(content), b"\0")
        + data[end:]
    )


def _repeat_box(random: Random, data: bytes) -> bytes:
    _, begin, end = _box(random, data)
    return data[:end] + data[begin:end] * random.choice((1, 5, 500)) + data[end:]


def _change_size(random: Random, data: bytes) -> bytes:
    sizes = [begin for kind, begin, _ in _boxes(data, 0, len(data)) if kind == b"ispe"]
    return _put(data, random.choice(sizes) + random.choice((12, 16)), struct.pack(">I", random.choice(WIDE)))


BOXES = (_lie_about_box, _rename_box, _change_box, _change_box, _repeat_box, _change_size)
STRUCTURES: dict[str, tuple[Callable[[Random, bytes], bytes], ...]] = {
    "GIF": (_change_gif_header, _change_gif_frame, _insert_gif_block),
    "BMP": (_change_bmp_header, _run_length_encoded),
    "TIFF": (_change_tag, _change_tag, _change_directory),
    "AVIF": BOXES,
    "HEIC": BOXES,
}
