"""Changes bytes anywhere in a file, without knowledge of its format."""

import struct
from random import Random

from tests.fuzz.pictures import seeds

INTERESTING = (0, 1, 2, 7, 8, 15, 16, 17, 127, 128, 255, 256, 257, 4095, 4096, 16383, 16384, 32767, 32768, 65535)
WIDE = (*INTERESTING, 65536, 2**24 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 50_000_000)
"""Numbers at which limits lie."""


def _flip_bits(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 2, 5, 50))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _set_number(random: Random, data: bytes) -> bytes:
    form = random.choice((">H", "<H", ">I", "<I", "B"))
    number = random.choice(WIDE) % 256 ** struct.calcsize(form)
    at = random.randrange(min(len(data), random.choice((64, 1024, len(data)))))
    return data[:at] + struct.pack(form, number) + data[at + struct.calcsize(form) :]


def _truncate(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data))]


def _remove_bytes(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + data[at + random.choice((1, 2, 4, 16, 500)) :]


def _insert_bytes(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + random.randbytes(random.choice((1, 2, 4, 16, 500))) + data[at:]


def _repeat_bytes(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + data[at : at + random.choice((1, 2, 16, 300))] * random.choice((2, 3, 50)) + data[at:]


def _blank_bytes(random: Random, data: bytes) -> bytes:
    at, length = random.randrange(len(data)), random.choice((1, 4, 64, 2000))
    return data[:at] + random.choice((b"\0", b"\xff")) * length + data[at + length :]


def _splice(random: Random, data: bytes) -> bytes:
    pictures = seeds.sound()
    other = pictures[random.choice(sorted(pictures))]
    return data[: random.randrange(len(data))] + other[random.randrange(len(other)) :]


def _append(random: Random, data: bytes) -> bytes:
    foreign = seeds.foreign()
    return data + random.choice((random.randbytes(100), data, bytes(5000), foreign[random.choice(sorted(foreign))]))


BYTES = (
    *(_flip_bits, _set_number, _truncate, _remove_bytes, _insert_bytes),
    *(_repeat_bytes, _blank_bytes, _splice, _append),
)
