"""Writes ICC profiles: gamuts of three primaries, curves of grey, and a printer's inks as a table."""

import struct
from itertools import product

import numpy as np
from numpy.typing import NDArray

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = (0.3127, 0.3290)
D50_XY = (0.3457, 0.3585)
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
PROPHOTO = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001))
REC2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
SRGB_CURVE = (
    b"para"
    + bytes(4)
    + struct.pack(">HH5i", 3, 0, *(round(65536 * x) for x in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))
)
STEPS = 5
"""Amounts of each ink in the table of a printer's profile."""


def gamma_curve(gamma: float) -> bytes:
    """A curve of a power."""
    return b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + bytes(2)


def rgb_profile(primaries: tuple[tuple[float, float], ...], curve: bytes, white: tuple[float, float] = D65) -> bytes:
    """A profile of three primaries."""
    columns = xyz_of(primaries, white).T
    tags = {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def grey_profile(gamma: float) -> bytes:
    """A profile of grey alone."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": gamma_curve(gamma)})


def cmyk_profile() -> bytes:
    """A printer whose inks are duller than the ideal ones."""
    inks = np.array([[0.05, 0.35, 0.7], [0.75, 0.05, 0.3], [0.95, 0.85, 0.05], [0.02, 0.02, 0.02]])
    amounts = np.array(list(product(np.linspace(0, 1, STEPS), repeat=4)))
    linear = np.prod(1 - amounts[:, :, None] * (1 - inks[None]), axis=1)
    lab = _lab(linear @ xyz_of(SRGB, D65).T)
    coded = np.clip([2.55, 1, 1] * lab + [0, 128, 128], 0, 255).round().astype(np.uint8)
    table = b"mft1" + bytes(4) + bytes([4, 3, STEPS, 0]) + struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
    table += bytes(range(256)) * 4 + coded.tobytes() + bytes(range(256)) * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _description(), b"wtpt": _xyz(D50), **tags}
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name, at + len(body), len(value))
        body += value.ljust(-(-len(value) // 4) * 4, b"\0")
    header = struct.pack(">4xI4s4s4s6H4s", 0x02400000, kind, space, connection, 2026, 1, 1, 0, 0, 0, b"acsp")
    header += bytes(28) + _fixed(D50)
    rest = struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", 128 + len(rest)) + b"\0" * 0 + header.ljust(124, b"\0") + rest


def _description() -> bytes:
    return b"desc" + struct.pack(">II", 0, 5) + b"test\0" + bytes(4 + 4 + 2 + 1 + 67)


def _xyz(value: NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(value)


def _fixed(values: NDArray[np.float64]) -> bytes:
    return struct.pack(">3i", *(round(65536 * value) for value in values))


def xyz_of(primaries: tuple[tuple[float, float], ...], white: tuple[float, float]) -> NDArray[np.float64]:
    """The matrix from linear light of these primaries to XYZ under D50."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    source = np.array([white[0] / white[1], 1, (1 - sum(white)) / white[1]])
    scaled = columns * np.linalg.solve(columns, source)
    gain = np.diag((BRADFORD @ D50) / (BRADFORD @ source))
    return np.linalg.inv(BRADFORD) @ gain @ BRADFORD @ scaled


def _lab(xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio = xyz / D50
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.stack([116 * root[:, 1] - 16, 500 * (root[:, 0] - root[:, 1]), 200 * (root[:, 1] - root[:, 2])], axis=1)
